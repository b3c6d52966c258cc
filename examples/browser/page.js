// What one tab invalidates, all of this origin forget, by a message that holds the key and never a value.

import { createCache } from "donjon";
import { tabs } from "donjon/tabs";

const cache = createCache({ namespace: "shop", store: tabs(), defaultTtl: "10m" });
const element = (id) => document.getElementById(id);
let asked = 0;

async function load({ signal }) {
  element("asked").value = ++asked;
  const answer = await fetch("/price", { signal });
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  return answer.json();
}

/** Asks the server once, and again when some tab has changed the price. */
async function show() {
  element("price").value = await cache.getOrSet("price", load);
}

async function raise() {
  await fetch("/price", { method: "POST" });
  // First the change, then the invalidation: what another tab is loading meanwhile is not kept.
  await cache.delete("price");
  await show();
}

element("show").addEventListener("click", show);
element("raise").addEventListener("click", raise);
// Whoever comes back to a tab sees what is so, without asking the server if nothing has changed.
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && show());
await show();
