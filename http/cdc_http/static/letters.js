// Dead letters: filtered, paged, replayed, dropped.

import { confirm } from "./confirm.js";
import { byId, keyed, make, makeRow, setLabel, setLong, setText, show } from "./dom.js";
import { count, moment, tell } from "./format.js";

const LISTED = 25;
const AT_ONCE = 200; // letters replayed by one request of many
const KEY = 120; // characters shown at first of a key
const STORY = 300; // and of a message, and of a document or row
const REASONS = 5; // different reasons for which letters stay that are told

export class Letters {
  #ask;
  #pages = [null]; // of each page up to the present one, the id that its letters are below; null for the newest
  #newest = 0; // the highest id on the first page
  #known = null; // how many there were when they were listed last
  #rows = byId("letters-table").tBodies[0];
  #filters = [...byId("letters-tools").querySelectorAll("select")];

  constructor(ask) {
    this.#ask = (method, path) => ask(method, path, (text) => this.#tell(text));
    for (const select of this.#filters) {
      select.addEventListener("change", () => {
        this.#pages = [null];
        this.list();
      });
    }
    byId("letters-newer").addEventListener("click", () => this.#turn(() => this.#pages.pop()));
    byId("letters-older").addEventListener("click", () => this.#turn(() => this.#pages.push(this.#oldest)));
    byId("replay-all").addEventListener("click", () => this.#replayAll());
    byId("drop-all").addEventListener("click", () => this.#dropAll());
  }

  async follow(status) {
    if (status.dead_letters !== this.#known) await this.list(status);
  }

  clear() {
    this.#pages = [null];
    this.#known = null;
    this.#rows.replaceChildren();
    for (const select of this.#filters) select.replaceChildren();
    this.#tell("");
  }

  async list(status = null) {
    if (status) this.#known = status.dead_letters ?? null;
    const below = this.#pages.at(-1);
    const page = new URLSearchParams({ ...this.#chosen, limit: LISTED, ...(below === null ? {} : { below }) });
    const answer = await this.#ask("GET", `dead-letters?${page}`);
    if (!answer) return;
    const letters = answer.dead_letters;
    if (!letters.length && this.#pages.length > 1) {
      this.#pages = [null]; // the page is gone, as its letters are
      await this.list();
      return;
    }
    if (below === null) this.#newest = letters[0]?.id ?? 0;
    this.#showFilters(answer);
    const every = Math.max(answer.total, sum(answer.reasons, this.#chosen.reason));
    const before = every - answer.total;
    setText(byId("letters-count"), `${count(every)} kept now${this.#isFiltered ? " that match" : ""}`);
    setText(byId("letters-none"), this.#isFiltered ? "None match." : "There are none: every change was written.");
    show(byId("letters-none"), !letters.length);
    show(byId("letters-table"), letters.length > 0);
    show(byId("letters-tools"), letters.length > 0 || this.#isFiltered);
    show(byId("letters-pages"), every > LISTED);
    setText(byId("letters-range"), `${count(before + 1)} to ${count(before + letters.length)} of ${count(every)}, newest first`);
    byId("letters-newer").disabled = this.#pages.length < 2;
    byId("letters-older").disabled = answer.total <= letters.length;
    for (const [id, verb, more] of [["replay-all", "Replay", ""], ["drop-all", "Drop", "…"]]) {
      setText(byId(id), `${verb} ${this.#isFiltered ? `the ${count(every)} that match` : "all"}${more}`);
      byId(id).disabled = !letters.length;
    }
    keyed(this.#rows, letters, {
      key: (letter) => letter.id,
      create: (letter) => this.#makeLetter(letter),
      update: showLetter,
    });
  }

  get #chosen() {
    return Object.fromEntries(this.#filters.map((select) => [select.dataset.filter, select.value]).filter(([, value]) => value));
  }

  get #isFiltered() {
    return Object.keys(this.#chosen).length > 0;
  }

  get #oldest() {
    return this.#rows.rows[this.#rows.rows.length - 1]?.dataset.key ?? null;
  }

  async #turn(move) {
    move();
    await this.list();
    byId("letters-title").focus({ preventScroll: true });
    byId("letters").scrollIntoView({ block: "start" });
  }

  // What there is to choose from; what is chosen stays, also when no letter has it any more.
  #showFilters(answer) {
    for (const select of this.#filters) {
      const chosen = select.value;
      const found = answer[`${select.dataset.filter}s`];
      if (chosen && !(chosen in found)) found[chosen] = 0;
      keyed(select, [["", null], ...Object.entries(found)], {
        key: ([name]) => name,
        create: ([name]) => make("option", { value: name }),
        update: (option, [name, number]) => setText(option, name ? `${cut(name)} (${count(number)})` : "any"),
      });
    }
  }

  #makeLetter(letter) {
    const row = makeRow(byId("letters-table"));
    const [, table, reason, key, acts] = row.cells;
    const name = letter.table ? `${letter.keyspace}.${letter.table}` : "–";
    setText(table, name);
    reason.append(make("strong"), make("span", { className: "detail" }));
    key.append(make("code"), make("code", { className: "detail" }));
    for (const [verb, act, more] of [["Replay", () => this.#replay(letter.id, row), ""], ["Drop", () => this.#drop(letter.id, name, row), "…"]]) {
      const button = make("button", { type: "button", className: verb === "Drop" ? "danger" : "" }, `${verb}${more}`);
      setLabel(button, `${verb} dead letter ${letter.id} of ${name}`);
      button.addEventListener("click", () => this.#act(row, act));
      acts.append(button);
    }
    return row;
  }

  // Do something to a letter, and put the focus on what is in its place then.
  async #act(row, act) {
    const button = document.activeElement;
    const at = [...this.#rows.rows].indexOf(row);
    await act();
    if (document.contains(button)) {
      button.focus();
      return;
    }
    const left = this.#rows.rows;
    (left[Math.min(at, left.length - 1)]?.querySelector(".acts button") ?? byId("letters-title")).focus();
  }

  async #replay(id, row) {
    setDisabled(row, true);
    this.#tell(`Replaying dead letter ${id}.`);
    const answer = await this.#ask("POST", `dead-letters/${id}/replay`);
    setDisabled(row, false);
    if (!answer) return;
    this.#tell(answer.outcome === "replayed" ? `Dead letter ${id} was replayed.` : `Dead letter ${id} stays: ${whyNot(answer)}`);
    await this.list();
  }

  async #drop(id, name, row) {
    const text = `It is deleted for good. The document stays as it is in the search engine until its row in ${name} changes or is compared.`;
    if (!(await confirm({ title: `Drop dead letter ${id}?`, text, yes: "Drop" }))) return;
    setDisabled(row, true);
    const answer = await this.#ask("DELETE", `dead-letters/${id}`);
    setDisabled(row, false);
    if (answer) this.#tell(`Dead letter ${id} was dropped.`);
    await this.list();
  }

  // Drop what was there when it was asked for: letters that are set aside meanwhile stay.
  async #dropAll() {
    const wanted = new URLSearchParams({ ...this.#chosen, below: this.#newest + 1 });
    const asked = await this.#ask("POST", `dead-letters/drop?${wanted}&dry_run=true`);
    if (!asked) return;
    const noun = letters(asked.dropped);
    const text = "They are deleted for good. Their documents stay as they are in the search engine until their rows change or are compared.";
    if (!(await confirm({ title: `Drop ${noun}?`, text, yes: `Drop ${noun}` }))) return;
    const answer = await this.#ask("POST", `dead-letters/drop?${wanted}`);
    if (answer) this.#tell(`${letters(answer.dropped)} dropped.`);
    await this.list();
    byId("letters-title").focus();
  }

  // Replay page by page, so that it is seen how far it is, and stays within what one request may take.
  async #replayAll() {
    const button = byId("replay-all");
    button.disabled = true;
    const wanted = new URLSearchParams({ ...this.#chosen, limit: AT_ONCE });
    let [replayed, from] = [0, 0];
    const staying = new Map();
    while (from !== null) {
      if (from) wanted.set("above", from);
      const answer = await this.#ask("POST", `dead-letters/replay?${wanted}`);
      if (!answer) break;
      replayed += answer.replayed;
      from = answer.next;
      for (const letter of answer.letters.filter((each) => each.outcome !== "replayed")) note(staying, letter);
      const left = [...staying.values()].reduce((all, each) => all + each.number, 0);
      this.#tell(`${count(replayed)} replayed, ${count(left)} stay${from === null ? "." : " so far."}`, explain(staying));
    }
    button.disabled = false;
    await this.list();
  }

  #tell(text, list = null) {
    const place = byId("letters-result");
    if (!place.firstChild) place.append(make("p"));
    setText(place.firstChild, text);
    place.children[1]?.remove();
    if (list) place.append(list);
  }
}

// Letters that stay, by their reasons.
function note(staying, letter) {
  const reason = letter.outcome === "waiting" ? "not written in time" : (letter.reason ?? "fails as before");
  const known = staying.get(reason) ?? { number: 0, example: letter };
  known.number += 1;
  staying.set(reason, known);
}

function explain(staying) {
  if (!staying.size) return null;
  const most = [...staying].sort(([, one], [, other]) => other.number - one.number);
  const items = most.slice(0, REASONS).map(([reason, { number, example }]) => {
    const item = make("li", {}, make("strong", {}, `${count(number)} ${reason}: `), make("span"));
    setLong(item.lastChild, `${example.message ?? "no more is known"} (dead letter ${example.id}${number > 1 ? ", for example" : ""})`, STORY);
    return item;
  });
  if (most.length > REASONS) items.push(make("li", {}, `and ${count(most.length - REASONS)} other reasons`));
  return make("ul", { className: "reasons" }, ...items);
}

function showLetter(row, letter) {
  const [when, , reason, key] = row.cells;
  setText(when, moment(letter.last_at));
  setText(reason.firstChild, letter.reason);
  const attempts = letter.attempts > 1 ? ` (${count(letter.attempts)} times)` : "";
  const mutations = letter.count > 1 ? ` (${count(letter.count)} mutations)` : "";
  setLong(reason.lastChild, `${letter.detail.message ?? letter.detail.error ?? ""}${mutations}${attempts}`, STORY);
  setLong(key.firstChild, tellKey(letter), KEY);
  setLong(key.lastChild, letter.document ?? letter.row ?? "", STORY);
}

function tellKey(letter) {
  const parts = Object.entries(letter.key ?? {});
  if (parts.length) return parts.map(([column, value]) => `${column} ${typeof value === "string" ? value : tellValue(value)}`).join(", ");
  if (letter.detail.id) return String(letter.detail.id);
  return letter.partition_key ?? (letter.segment_id ? `${letter.segment_id}:${letter.position}` : "–");
}

function tellValue(value) {
  return value !== null && typeof value === "object" ? JSON.stringify(value) : String(value);
}

function whyNot(answer) {
  const reason = [answer.reason, answer.message].filter(Boolean).join(": ") || "it fails as before.";
  return answer.outcome === "waiting" ? `it could not be written in time (${reason}).` : reason;
}

function setDisabled(row, disabled) {
  for (const button of row.querySelectorAll(".acts button")) button.disabled = disabled;
}

function sum(counts, only) {
  return only ? (counts[only] ?? 0) : Object.values(counts).reduce((all, each) => all + each, 0);
}

function letters(number) {
  return `${count(number)} dead letter${number === 1 ? "" : "s"}`;
}

function cut(name) {
  return name.length > 48 ? `${name.slice(0, 47)}…` : tell(name);
}
