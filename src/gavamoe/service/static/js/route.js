// The view as part of the address: #/explain?user=u01&item=i07, #/users/u01, #/clusters/2.

const VIEWS = new Set(["explain", "compare", "clusters", "items", "users"]);

/** Read an address into {view, id, params}; anything unknown is the start page. */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [view, ...rest] = path.split("/");
  const params = Object.fromEntries(new URLSearchParams(query));
  if (!VIEWS.has(view)) return { view: "explain", id: "", params: {} };
  return { view, id: decode(rest.join("/")), params };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray per cent sign, typed by hand
  }
}

/** Write an address; empty parameters are left out. */
export function link(view, params = {}, id = "") {
  const query = new URLSearchParams(
    Object.entries(params).filter(([, value]) => value !== "" && value !== null && value !== undefined),
  );
  return `#/${view}${id ? `/${encodeURIComponent(id)}` : ""}${query.size ? `?${query}` : ""}`;
}

export const explainLink = (user, item, more) => link("explain", { user, item, ...more });
export const userLink = (user) => link("users", {}, user);
export const itemLink = (item) => link("items", {}, item);
export const clusterLink = (cluster) => link("clusters", {}, String(cluster));

/** Go to an address; `replace` leaves no entry to go back to. */
export function go(address, replace = false) {
  if (address === location.hash) {
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  } else if (replace) {
    history.replaceState(null, "", address);
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  } else {
    location.hash = address;
  }
}
