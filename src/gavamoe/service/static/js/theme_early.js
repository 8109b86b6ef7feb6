// Before the first paint: a page that turns from light to dark would flash.
{
  const chosen = localStorage.getItem("gavamoe-theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
}
