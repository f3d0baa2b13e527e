// Changing as little of the page as has changed: whoever reads, listens or has the focus is not disturbed.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setState(element, state) {
  if (element.dataset.state !== state) element.dataset.state = state;
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
  element.append(...children);
  return element;
}

export function makeSvg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
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
  const columns = [...table.tHead.rows[0].cells];
  const row = make("tr", { role: "row" });
  columns.forEach((column, at) => {
    const cell = make(at ? "td" : "th", { role: at ? "cell" : "rowheader", className: column.className });
    if (!at) cell.scope = "row";
    cell.dataset.label = column.textContent;
    row.append(cell);
  });
  return row;
}

export function spellRoles(table) {
  table.setAttribute("role", "table");
  for (const part of [table.tHead, ...table.tBodies]) part.setAttribute("role", "rowgroup");
  table.tHead.rows[0].setAttribute("role", "row");
  for (const column of table.tHead.rows[0].cells) column.setAttribute("role", "columnheader");
}
