// The status page: shows what the daemon's events tell, and how old it is when they stop.

import { draw, outages } from "./chart.js";
import { closeQuestion } from "./confirm.js";
import { byId, setState, setText, show, spell, spellRoles } from "./dom.js";
import { duration, moment, zone } from "./format.js";
import { Operator } from "./operator.js";
import { followLinks, showNumbers, showVerdict } from "./summary.js";
import { showIndices, showSources, showTables, showTasks } from "./tables.js";

const SILENCE = 15; // seconds without an event, after which the connection is taken for lost: beats come every five
const AGAIN = 4; // seconds to the next attempt where the browser makes none by itself
const HIDDEN = 60; // seconds after which a page that nobody sees stops watching

const operator = new Operator();
let source = null;
let latest = null; // the last status, and when it was heard of last, in the daemon's time and in this browser's
let heard = 0;
let away = null;
let titled = "cdc-daemon";

function open() {
  source?.close();
  source = new EventSource("events");
  heard = Date.now() / 1000;
  source.addEventListener("status", (event) => {
    const { at, status } = JSON.parse(event.data);
    latest = status;
    hear(at);
  });
  source.addEventListener("beat", (event) => hear(JSON.parse(event.data)));
  source.addEventListener("trend", (event) => showTrend(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    lose();
    if (source.readyState === EventSource.CLOSED) setTimeout(openUnlessHidden, AGAIN * 1000);
  });
}

function openUnlessHidden() {
  if (!document.hidden && (!source || source.readyState === EventSource.CLOSED)) open();
}

function hear(now) {
  heard = Date.now() / 1000;
  tellConnection("live", "Live");
  if (latest) showStatus(latest, now);
}

// Without a connection nothing on the page is of now, and nothing can be done: that is to be seen at once.
function lose(why = "No connection to the daemon", mark = "✕ no connection · ") {
  if (document.body.dataset.state === "lost") return;
  const old = `values of ${moment(heard)}`;
  tellConnection("lost", latest ? `Old: ${old}` : why);
  titleWith(mark);
  setText(byId("verdict"), latest ? `${why}: all below is old, ${old}.` : why);
  closeQuestion();
}

function tellConnection(state, text) {
  setState(byId("connection"), state);
  setState(document.body, state);
  setText(byId("connection-text"), text);
  byId("acting").disabled = state !== "live";
}

function titleWith(mark) {
  const title = `${mark}${titled}`;
  if (document.title !== title) document.title = title;
}

setInterval(() => {
  if (source && Date.now() / 1000 - heard > SILENCE) {
    lose();
    open();
  }
}, 1000);

document.addEventListener("visibilitychange", () => {
  clearTimeout(away);
  if (document.hidden) {
    away = setTimeout(() => {
      source?.close();
      source = null;
      lose("Not watched while the page is hidden", "– not watched · ");
    }, HIDDEN * 1000);
  } else if (!source) {
    open();
  }
});

function showStatus(status, now) {
  setText(byId("node"), status.node ?? "");
  setText(byId("version"), `version ${status.version}`);
  setText(byId("uptime"), `up ${uptime(now - status.started)}`);
  titled = spell(`${status.node ?? "cdc-daemon"} · cdc-daemon`);
  titleWith(showVerdict(status));
  showNumbers(status, now);
  showSources(byId("servers-table"), status);
  showTables(byId("tables-table"), status, now);
  showIndices(byId("indices-table"), status, operator.documents);
  showTasks(byId("tasks-table"), status.tasks ?? []);
  operator.follow(status);
}

// By the minute: nobody needs the seconds, and what does not change is not read out.
function uptime(value) {
  return value < 60 ? "less than a minute" : duration(Math.floor(value / 60) * 60).replace(" 0 s", "");
}

function showTrend(trend) {
  const lost = trend.lines.find((line) => line.name === "available");
  for (const place of document.querySelectorAll(".chart")) draw(place, trend, place.dataset.lines.split(" "), lost);
  show(byId("shaded"), outages(lost).length > 0);
}

for (const table of document.querySelectorAll("table")) spellRoles(table);
setText(byId("zone"), `times in ${zone()}`);
followLinks();
open();
