// What counts most: whether all is well, what is not and where that leads, and the figures of now.

import { byId, keyed, make, setLabel, setState, setText, show, spell } from "./dom.js";
import { bytes, count, moment, percent, rate, seconds } from "./format.js";

const STATES = { running: "Keeping up", starting: "Starting", stopping: "Stopping" };

// Show the problems; return the mark of the gravest for the title.
export function showVerdict(status) {
  const problems = status.problems ?? [];
  const [first] = problems;
  setText(byId("verdict"), first?.text ?? STATES[status.state] ?? status.state);
  const state = first?.severity ?? (status.state === "running" ? "ok" : "warning");
  setState(byId("verdict"), state);
  setState(byId("headline"), state);
  showLinks(byId("verdict-links"), first ?? {});
  const others = problems.slice(1);
  show(byId("problems"), others.length > 0);
  keyed(byId("problems"), others, {
    key: (problem) => problem.text,
    create: (problem) => make("li", {}, make("span", {}, problem.text), make("span", { className: "links" })),
    update: (item, problem) => {
      setState(item, problem.severity);
      showLinks(item.lastChild, problem);
    },
  });
  return first ? `${first.severity === "critical" ? "✕" : "!"} ` : "";
}

// Where a problem leads: its section of this page and of the runbook, as far as it names them.
function showLinks(place, { section, runbook, text }) {
  const links = [
    [section && byId(section) ? `#${section}` : "", "Show"],
    [runbook ? `runbook#${encodeURIComponent(runbook)}` : "", "Runbook"],
  ].filter(([href]) => href);
  keyed(place, links, {
    key: ([href]) => href,
    create: ([href, name]) => make("a", { href }, name),
    update: (link, [, name]) => setLabel(link, `${name}: ${spell(text)}`),
  });
}

// A link to a section opens what is folded there and moves the focus; to one that is shown to operators only, it leads
// to where they sign in.
export function followLinks() {
  document.addEventListener("click", (event) => {
    const href = event.target.closest?.("a")?.getAttribute("href") ?? "";
    let section = href.startsWith("#") && byId(href.slice(1));
    if (!section) return;
    if (section.closest("[hidden]")) section = byId("operator");
    event.preventDefault();
    for (const folded of section.querySelectorAll("details")) if (section.id === "tasks") folded.open = true;
    section.querySelector("h2")?.focus({ preventScroll: true });
    section.scrollIntoView({ block: "start" });
  });
}

export function showNumbers(status, now) {
  showLateness(status, now);
  const { cdc_raw: raw = {}, backlog = {} } = status;
  setText(byId("rate"), rate(status.rate?.documents));
  setText(byId("pending"), count(status.pending));
  const segments = `${count(backlog.segments)} segment${backlog.segments === 1 ? "" : "s"}`;
  const unread = backlog.bytes ? `, ${bytes(backlog.bytes)} unread in ${segments}` : "";
  setText(byId("backlog"), `changed keys${status.spooled ? `, ${count(status.spooled)} more on disk` : ""}${unread}`);
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

// The largest figure is how late documents are now. While they are late, the freshness of those that were written
// before is small: it tells nothing of those that wait.
function showLateness(status, now) {
  const { behind = null, late = false, p50, p99 } = status.freshness ?? {};
  const missing = ["cassandra", "elasticsearch"].filter((name) => status[name]?.available === false);
  const isLate = late || (missing.length > 0 && behind > 0);
  const state = isLate ? "critical" : missing.length || behind === null ? "warning" : "ok";
  const shownUpTo = `every change up to ${moment(now - behind)} is in the search engine, later ones wait`;
  setState(byId("lateness"), state);
  setText(byId("lateness-title"), isLate ? "Documents are late by" : "Documents are");
  if (isLate) setText(byId("behind"), seconds(behind));
  else setText(byId("behind"), behind === null ? "not known yet" : "up to date");
  if (isLate) setText(byId("behind-what"), shownUpTo);
  else if (behind === null) setText(byId("behind-what"), "until the first changes are read");
  else setText(byId("behind-what"), behind > 0 ? `at most ${seconds(behind)} behind Cassandra` : "nothing waits");
  setState(byId("freshness"), isLate || behind === null ? "old" : "now");
  setText(byId("freshness-title"), isLate ? "Freshness of what was written in the last minute" : "Freshness in the last minute");
  setText(byId("freshness-p50"), seconds(p50));
  setText(byId("freshness-p99"), seconds(p99));
}
