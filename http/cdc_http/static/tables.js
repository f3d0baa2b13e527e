// The tables that everybody sees: servers and sources, mapped tables, indices, scheduled tasks. Whatever comes in the
// data has its row.

import { byId, keyed, make, makeRow, setLong, setState, setText, show } from "./dom.js";
import { ago, count, inUnit, moment, seconds, tell } from "./format.js";

const OUTCOMES = ["indexed", "deleted", "marked", "superseded", "filtered", "dead_lettered"];
const FACT = 160; // characters shown of a fact

export function showSources(table, status) {
  const servers = Object.entries(status)
    .filter(([, value]) => typeof value?.available === "boolean")
    .map(([name, server]) => ({
      name: name[0].toUpperCase() + name.slice(1),
      state: server.available ? "available" : "unavailable",
      since: server.since,
      facts: Object.entries(server)
        .filter(([title]) => !["available", "since"].includes(title))
        .map(([title, value]) => ({ title: title.replaceAll("_", " "), value, unit: typeof value === "number" ? "count" : "text" })),
    }));
  showStates(table, [...servers, ...(status.sources ?? [])]);
}

export function showTasks(table, tasks) {
  showStates(table, tasks);
  const failing = tasks.filter((task) => mood(task.state) === "critical").length;
  const noun = `${count(tasks.length)} task${tasks.length === 1 ? "" : "s"} of the daemon's own`;
  setText(byId("tasks-summary"), tasks.length ? `${noun}, ${failing ? `${count(failing)} failing` : "none failing"}` : "None yet");
}

function showStates(table, entries) {
  keyed(table.tBodies[0], entries, {
    key: (entry) => entry.name,
    create: () => {
      const row = makeRow(table);
      row.cells[1].append(make("span", { className: "state" }));
      row.cells[3].append(make("ul", { className: "facts" }));
      return row;
    },
    update: (row, entry) => {
      setText(row.cells[0], entry.name);
      setText(row.cells[1].firstChild, entry.state);
      setState(row.cells[1].firstChild, mood(entry.state));
      setText(row.cells[2], moment(entry.since));
      showFacts(row.cells[3].firstChild, entry.facts);
    },
  });
}

// Facts of now, then those that are counted since the daemon's start, behind a word that says so.
function showFacts(list, facts) {
  const told = facts.filter((fact) => fact.value !== null && fact.value !== undefined && fact.value !== "");
  const counted = told.filter((fact) => fact.since_start);
  const mark = counted.length ? [{ title: "since start:", value: null }] : [];
  keyed(list, [...told.filter((fact) => !fact.since_start), ...mark, ...counted], {
    key: (fact) => fact.title,
    create: (fact) => make("li", {}, make("span", { className: "what" }, fact.title), " ", make("span", { className: "value" })),
    update: (item, fact) => {
      if (fact.value !== null) setLong(item.lastChild, inUnit(fact.value, fact.unit), FACT);
    },
  });
}

export function mood(state) {
  if (["unavailable", "failing", "failed", "missing"].includes(state)) return "critical";
  if (["paused", "cancelled"].includes(state) || state.includes("lacks changes")) return "warning";
  return state.startsWith("waiting for") && !state.endsWith("its turn") ? "warning" : "ok";
}

export function showTables(table, status, now) {
  setText(byId("counted-since"), status.started ? ` (${moment(status.started)})` : "");
  const letters = status.dead_letters;
  setText(byId("kept-letters"), letters === undefined ? "" : `Dead letters kept now: ${count(letters)}.`);
  setState(table, status.freshness?.late ? "late" : "now");
  keyed(table.tBodies[0], status.mappings ?? [], {
    key: (mapping) => mapping.name,
    create: () => {
      const row = makeRow(table);
      row.cells[1].append(make("span"), make("span", { className: "to" }, " → "), make("span"));
      return row;
    },
    update: (row, mapping) => {
      setText(row.cells[0], mapping.name);
      setText(row.cells[1].firstChild, mapping.table);
      setText(row.cells[1].lastChild, mapping.alias);
      setText(row.cells[2], seconds(mapping.p50));
      setText(row.cells[3], seconds(mapping.p99));
      setText(row.cells[4], ago(mapping.newest_write, now));
      OUTCOMES.forEach((outcome, at) => setText(row.cells[5 + at], count(mapping.documents[outcome] ?? 0)));
    },
  });
}

const PHASES = { building: "second is being built", kept: "former is kept", dropping: "second is being deleted" };

// `documents` are the numbers of documents by alias, which operators alone are told.
export function showIndices(table, status, documents) {
  const typesOf = (alias) => (status.mappings ?? []).filter((mapping) => mapping.alias === alias).map((mapping) => mapping.name);
  const indices = status.indices ?? [];
  show(table, indices.length > 0);
  show(byId("indices-none"), !indices.length);
  keyed(table.tBodies[0], indices, {
    key: (pair) => pair.alias,
    create: () => {
      const row = makeRow(table);
      row.cells[2].append(make("span", { className: "state" }), make("span", { className: "detail" }));
      return row;
    },
    update: (row, pair) => {
      const counted = documents.get(pair.alias);
      setText(row.cells[0], pair.alias);
      setText(row.cells[1], typesOf(pair.alias).join(", ") || "–");
      setText(row.cells[2].firstChild, stateOf(pair));
      setState(row.cells[2].firstChild, pair.trouble ? "critical" : mood(stateOf(pair)));
      setLong(row.cells[2].lastChild, pair.trouble ? tell(pair.trouble) : "", FACT);
      setText(row.cells[3], pair.live ?? "–");
      setText(row.cells[4], count(counted?.live_documents));
      setText(row.cells[5], pair.other ?? "–");
      setText(row.cells[6], count(counted?.other_documents));
    },
  });
}

function stateOf(pair) {
  if (pair.trouble) return "takes no writes";
  if (!pair.live) return "missing";
  const found = [PHASES[pair.phase] ?? "live"];
  if (["building", "kept"].includes(pair.phase) && !pair.written) found.push("not written to");
  if (pair.behind) found.push("lacks changes");
  return found.join(", ");
}
