// The tables of servers, sources and mapped tables. Whatever comes in the data has its row.

import { keyed, make, makeRow, setState, setText } from "./dom.js";
import { ago, count, inUnit, moment, seconds } from "./format.js";

const OUTCOMES = ["indexed", "deleted", "superseded", "filtered", "dead_lettered"];

export function showSources(table, status) {
  const servers = Object.entries(status)
    .filter(([, value]) => typeof value?.available === "boolean")
    .map(([name, server]) => ({
      name: name[0].toUpperCase() + name.slice(1),
      state: server.available ? "there" : "away",
      since: server.since,
      facts: Object.entries(server)
        .filter(([title]) => !["available", "since"].includes(title))
        .map(([title, value]) => ({ title: title.replaceAll("_", " "), value, unit: typeof value === "number" ? "count" : "text" })),
    }));
  keyed(table.tBodies[0], [...servers, ...(status.sources ?? [])], {
    key: (source) => source.name,
    create: () => {
      const row = makeRow(table);
      row.cells[1].append(make("span", { className: "state" }));
      row.cells[3].append(make("ul", { className: "facts" }));
      return row;
    },
    update: (row, source) => {
      setText(row.cells[0], source.name);
      setText(row.cells[1].firstChild, source.state);
      setState(row.cells[1].firstChild, mood(source.state));
      setText(row.cells[2], moment(source.since));
      showFacts(row.cells[3].firstChild, source.facts);
    },
  });
}

function showFacts(list, facts) {
  const told = facts.filter((fact) => fact.value !== null && fact.value !== undefined && fact.value !== "");
  keyed(list, told, {
    key: (fact) => fact.title,
    create: (fact) => make("li", {}, make("span", { className: "what" }, fact.title), " ", make("span", { className: "value" })),
    update: (item, fact) => setText(item.lastChild, inUnit(fact.value, fact.unit)),
  });
}

export function mood(state) {
  if (["away", "failing", "failed"].includes(state)) return "critical";
  if (state === "paused" || (state.startsWith("waiting for") && !state.endsWith("its turn"))) return "warning";
  return "ok";
}

export function showTables(table, mappings, now) {
  keyed(table.tBodies[0], mappings ?? [], {
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
      setState(row.cells[9], mapping.documents.dead_lettered ? "critical" : "none");
    },
  });
}
