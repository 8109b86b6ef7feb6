// Before the first paint: a page that turns from light to dark would flash.
try {
  const chosen = localStorage.getItem("gavamoe-theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch {
  // The browser blocks site data: the theme is that of the system.
}
