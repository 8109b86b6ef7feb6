// Keep settings in the browser; where it blocks site data, they last as long as the page.

const unkept = new Map(); // what the browser refused to keep

/** Return what is kept under a key, or null. `store` is "localStorage" or "sessionStorage". */
export function read(store, key) {
  if (unkept.has(key)) return unkept.get(key);
  try {
    return window[store].getItem(key); // naming the store is what throws where site data are blocked
  } catch {
    return null;
  }
}

export function write(store, key, value) {
  try {
    window[store].setItem(key, value);
    unkept.delete(key);
  } catch {
    unkept.set(key, value);
  }
}
