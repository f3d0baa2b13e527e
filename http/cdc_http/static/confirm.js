// A question before something is done that cannot be undone, or that has a price.

import { byId, setText } from "./dom.js";

let answer = null;

// Ask, and return whether the answer is yes.
export function confirm({ title, text, yes }) {
  const dialog = byId("confirm");
  closeQuestion();
  setText(byId("confirm-title"), title);
  setText(byId("confirm-text"), text);
  setText(byId("confirm-yes"), yes);
  const asked = new Promise((resolve) => {
    answer = resolve;
  });
  dialog.showModal();
  byId("confirm-no").focus();
  return asked;
}

// Take an open question back: the answer is no.
export function closeQuestion() {
  if (byId("confirm").open) byId("confirm").close("no");
}

byId("confirm-yes").addEventListener("click", () => byId("confirm").close("yes"));
byId("confirm-no").addEventListener("click", () => byId("confirm").close("no"));
byId("confirm").addEventListener("close", () => {
  answer?.(byId("confirm").returnValue === "yes");
  answer = null;
  byId("confirm").returnValue = "";
});
