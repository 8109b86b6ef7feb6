// Start the page: the address chooses the view; theme, run summary and API key belong to every view.

import { getKept, onKeyNeeded } from "./api.js";
import { h, put } from "./dom.js";
import * as format from "./format.js";
import { askForKey } from "./key.js";
import { parse } from "./route.js";
import { start as startTheme } from "./theme.js";
import { start as startTips } from "./tip.js";
import * as clusters from "./views/clusters.js";
import * as compare from "./views/compare.js";
import * as explain from "./views/explain.js";
import * as items from "./views/items.js";
import * as ratings from "./views/ratings.js";
import * as users from "./views/users.js";

const VIEWS = { explain, compare, clusters, items, users, ratings };
const main = document.getElementById("main");
let current = null;
let texts = true; // until the run says otherwise

/** Read the address; a run without texts recommends where another explains. */
function currentRoute() {
  const route = parse(location.hash);
  const writes = route.view === "explain" || route.view === "compare";
  return !texts && writes ? { ...route, view: "ratings" } : route;
}

function show() {
  const route = currentRoute();
  const first = current === null;
  const changed = current?.route.view !== route.view;
  const moved = changed || current.route.id !== route.id;
  if (changed) {
    current?.view.destroy();
    current = { view: VIEWS[route.view].create(), route };
    put(main, current.view.element);
  }
  current.route = route;
  mark(route.view);
  document.title = `${[VIEWS[route.view].name, route.id].filter(Boolean).join(" ")} · GaVaMoE`;
  // A new view begins at its heading; within a view the focus stays where the person left it.
  if (!first && changed) {
    window.scrollTo(0, 0);
    main.querySelector("h1").focus({ preventScroll: true });
  } else if (!first && moved && route.view === "clusters") {
    window.scrollTo(0, 0);
  }
  current.view.update(route);
}

function mark(view) {
  for (const entry of document.querySelectorAll("nav a[data-view]")) {
    if (entry.dataset.view === view || (entry.dataset.view === "explain" && view === "ratings")) entry.setAttribute("aria-current", "page");
    else entry.removeAttribute("aria-current");
  }
}

async function summarise() {
  try {
    const run = await getKept("v1/run");
    put(
      document.getElementById("run"),
      h("strong", {}, run.name),
      ` ${format.plural(run.users, "user")}, ${format.plural(run.items, "item")}, ${format.plural(run.reviews, "review")}; `,
      `${format.plural(run.clusters, "cluster")}`,
      run.texts !== false
        ? `; ${format.plural(run.layers, "layer")} of ${format.plural(run.experts, "expert")}, ${run.top_k} at work on each token.`
        : "; stage 1 alone, without texts.",
    );
    if (run.texts === false) withoutTexts();
  } catch (error) {
    put(document.getElementById("run"), error.message);
  }
}

/** Take away what leads to texts. */
function withoutTexts() {
  texts = false;
  document.body.dataset.texts = "none";
  document.querySelector('nav a[data-view="explain"]').textContent = ratings.name;
  document.querySelector('nav a[data-view="compare"]').remove();
  show();
}

startTheme();
startTips();
onKeyNeeded(askForKey);
window.addEventListener("hashchange", show);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address holds the view
  main.focus();
});
show();
summarise();
