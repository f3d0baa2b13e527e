// The status page: shows what the daemon's events tell, and how old it is when they stop.

import { draw } from "./chart.js";
import { byId, keyed, make, setState, setText, show, spellRoles } from "./dom.js";
import { bytes, count, duration, moment, percent, rate, seconds } from "./format.js";
import { Operator } from "./operator.js";
import { showSources, showTables } from "./tables.js";

const SILENCE = 15; // seconds without an event, after which the connection is taken for lost: beats come every five
const AGAIN = 4; // seconds to the next attempt where the browser makes none by itself
const HIDDEN = 60; // seconds after which a page that nobody sees stops watching

const operator = new Operator();
let source = null;
let latest = null; // the last status, and when it was heard of last, in the daemon's time and in this browser's
let heard = 0;
let away = null;

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

function lose() {
  tellConnection("lost", latest ? `Connection lost, values of ${moment(heard)}` : "No connection to the daemon");
}

function tellConnection(state, text) {
  setState(byId("connection"), state);
  setState(document.body, state);
  setText(byId("connection-text"), text);
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
      lose();
    }, HIDDEN * 1000);
  } else if (!source) {
    open();
  }
});

function showStatus(status, now) {
  setText(byId("node"), status.node ?? "");
  setText(byId("version"), `version ${status.version}`);
  setText(byId("uptime"), `up ${uptime(now - status.started)}`);
  showVerdict(status);
  showNumbers(status);
  showSources(byId("sources"), status);
  showTables(byId("tables"), status.mappings, now);
  operator.follow(status);
}

// By the minute: nobody needs the seconds, and what does not change is not read out.
function uptime(value) {
  return value < 60 ? "less than a minute" : duration(Math.floor(value / 60) * 60).replace(" 0 s", "");
}

const STATES = { running: "Keeping up", starting: "Starting", stopping: "Stopping" };

function showVerdict(status) {
  const problems = status.problems ?? [];
  const [first] = problems;
  setText(byId("verdict"), first?.text ?? STATES[status.state] ?? status.state);
  setState(byId("verdict"), first?.severity ?? (status.state === "running" ? "ok" : "warning"));
  const others = problems.slice(1);
  show(byId("problems"), others.length > 0);
  keyed(byId("problems"), others, {
    key: (problem) => problem.text,
    create: (problem) => make("li", {}, problem.text),
    update: (item, problem) => setState(item, problem.severity),
  });
  const waits = first ? `${first.severity === "critical" ? "✕" : "!"} ` : "";
  const title = `${waits}${status.node ?? "cdc-daemon"} · cdc-daemon`;
  if (document.title !== title) document.title = title;
}

function showNumbers(status) {
  const { freshness = {}, cdc_raw: raw = {}, backlog = {} } = status;
  setText(byId("freshness-p50"), seconds(freshness.p50));
  setText(byId("freshness-p99"), seconds(freshness.p99));
  setText(byId("behind"), freshness.behind === 0 ? "0 s" : seconds(freshness.behind));
  setText(byId("behind-what"), freshness.behind === 0 ? "nothing waits" : "since the newest change shown");
  setText(byId("rate"), rate(status.rate?.documents));
  setText(byId("pending"), count(status.pending));
  const segments = `${count(backlog.segments)} segment${backlog.segments === 1 ? "" : "s"}`;
  const unread = backlog.bytes ? `, ${bytes(backlog.bytes)} unread in ${segments}` : "";
  setText(byId("backlog"), `keys wait${status.spooled ? `, ${count(status.spooled)} on disk` : ""}${unread}`);
  const share = raw.limit ? raw.bytes / raw.limit : null;
  setText(byId("raw"), share === null ? bytes(raw.bytes) : percent(share));
  setText(byId("raw-what"), share === null ? "its limit is not known" : `${bytes(raw.bytes)} of ${bytes(raw.limit)}`);
  const meter = byId("raw-meter");
  show(meter, share !== null);
  if (share !== null && meter.value !== share) {
    meter.value = share;
    meter.setAttribute("aria-valuetext", percent(share));
  }
}

function showTrend(trend) {
  const lost = trend.lines.find((line) => line.name === "available");
  for (const place of document.querySelectorAll(".chart")) draw(place, trend, place.dataset.lines.split(" "), lost);
}

for (const table of document.querySelectorAll("table")) spellRoles(table);
open();
