// Comboboxes for users and items, filled by the service's search.

import { at, get } from "./api.js";
import { combobox } from "./combobox.js";
import * as format from "./format.js";

const SHOWN = 12;

const search = (kind, prefix, signal) =>
  get(`v1/${kind}?${new URLSearchParams({ prefix, limit: String(SHOWN) })}`, signal);

export const userPicker = (label = "User", onpick) =>
  combobox({
    label,
    placeholder: "search by id",
    onpick,
    suggest: async (prefix, signal) =>
      (await search("users", prefix, signal)).users.map(({ user, reviews }) => ({
        value: user,
        text: user,
        detail: format.plural(reviews, "review"),
      })),
    unknown: () => "not among these: use as typed",
  });

export const itemPicker = (label = "Item", onpick) =>
  combobox({
    label,
    placeholder: "search by title or id",
    onpick,
    suggest: async (prefix, signal) =>
      (await search("items", prefix, signal)).items.map((item) => ({
        value: item.item,
        text: format.title(item),
        detail: [item.title && item.item, format.plural(item.reviews, "review")].filter(Boolean).join(" · "),
      })),
    unknown: () => "not among these: use as typed",
  });

/** The profile of an item or a user, or null where the service cannot tell: the page goes on with the id. */
export async function profile(kind, id, signal) {
  if (!id) return null;
  try {
    return await get(at(kind, id), signal);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return null;
  }
}
