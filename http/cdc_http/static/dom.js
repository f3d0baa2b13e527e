// Changing as little of the page as has changed: whoever reads, listens or has the focus is not disturbed.

const SVG = "http://www.w3.org/2000/svg";

// Characters that are not seen, or that turn the order of others around: a text must not look like another one. The
// joiners U+200C and U+200D stay, as scripts and emoji need them.
const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]|\p{Cs}/gu;

export const byId = (id) => document.getElementById(id);

// A text as it may be shown: characters that are not seen are written as escapes.
export function spell(text) {
  return String(text).replace(UNSEEN, (found) => `\\u${found.codePointAt(0).toString(16).padStart(4, "0")}`);
}

export function setText(element, text) {
  const spelt = spell(text);
  if (element.textContent !== spelt) element.textContent = spelt;
}

export function setState(element, state) {
  if (element.dataset.state !== state) element.dataset.state = state;
}

export function setLabel(element, text) {
  const spelt = spell(text);
  if (element.getAttribute("aria-label") !== spelt) element.setAttribute("aria-label", spelt);
}

export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.map((child) => (typeof child === "string" ? spell(child) : child)));
  return element;
}

export function makeSvg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const wholes = new WeakMap();

// A text that may be long: its first `most` characters, and a button that shows all of it.
export function setLong(element, text, most) {
  const whole = spell(text);
  if (wholes.get(element) === whole) return;
  wholes.set(element, whole);
  if (whole.length <= most) {
    element.textContent = whole;
    return;
  }
  const short = `${whole.slice(0, most).replace(/[\ud800-\udbff]$/, "")}…`;
  const shown = make("span", {}, short);
  const button = make("button", { type: "button", className: "more" });
  const tell = (all) => {
    shown.textContent = all ? whole : short;
    button.textContent = all ? "Show less" : `Show all ${whole.length.toLocaleString("en")} characters`;
    button.setAttribute("aria-expanded", String(all));
  };
  button.addEventListener("click", () => tell(button.getAttribute("aria-expanded") !== "true"));
  tell(false);
  element.replaceChildren(shown, " ", button);
}

// Bring the rows of a table's body, or the items of a list, to `entries`: each by its key, made once by `create` and
// brought up to date by `update`.
export function keyed(parent, entries, { key, create, update }) {
  const known = new Map([...parent.children].map((element) => [element.dataset.key, element]));
  entries.forEach((entry, at) => {
    const name = String(key(entry));
    let element = known.get(name);
    known.delete(name);
    if (!element) {
      element = create(entry);
      element.dataset.key = name;
    }
    if (parent.children[at] !== element) parent.insertBefore(element, parent.children[at] ?? null);
    update(element, entry);
  });
  for (const element of known.values()) element.remove();
}

// A table's row with a cell for each column. On a narrow screen a cell shows its column's name, which `aria-label`s
// need not repeat: the roles are spelt out because a table that is laid out as blocks loses its own.
export function makeRow(table) {
  const row = make("tr", { role: "row" });
  [...[...table.tHead.rows].at(-1).cells].forEach((column, at) => {
    const cell = make(at ? "td" : "th", { role: at ? "cell" : "rowheader", className: column.className });
    if (!at) cell.scope = "row";
    cell.dataset.label = column.dataset.label ?? column.textContent;
    row.append(cell);
  });
  return row;
}

export function spellRoles(table) {
  table.setAttribute("role", "table");
  for (const part of [table.tHead, ...table.tBodies]) part.setAttribute("role", "rowgroup");
  for (const row of table.tHead.rows) {
    row.setAttribute("role", "row");
    for (const column of row.cells) column.setAttribute("role", column.tagName === "TH" ? "columnheader" : "cell");
  }
}
