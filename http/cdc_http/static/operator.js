// What only an operator may see and do: asked for with a token that stays in this tab.

import { byId, keyed, make, makeRow, setState, setText, show } from "./dom.js";
import { count, moment, percent } from "./format.js";
import { mood } from "./tables.js";

const KEY = "cdc-daemon.token";
const LISTED = 25;
const SHOWN = 200; // characters shown of a letter's document or row
const AT_ONCE = 200; // dead letters replayed by one request of many
const EVERY = 2; // seconds between two looks at jobs that are under way

const REFUSED = {
  401: "The token is not valid.",
  403: "The token does not allow to act on the daemon: it needs the scope admin.",
};

export class Operator {
  #token = sessionStorage.getItem(KEY);
  #asked = false; // whether it is known if the daemon takes tokens
  #status = null;
  #letters = null; // how many there were when they were listed last
  #jobs = null;
  #looked = 0;

  constructor() {
    byId("sign-in").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#signIn(byId("token").value.trim());
    });
    byId("sign-out").addEventListener("click", () => this.#signOut("Signed out."));
    byId("pause").addEventListener("click", () => this.#pause());
    byId("replay-all").addEventListener("click", () => this.#replayAll());
  }

  // Take note of a new status: list again what has changed by it.
  async follow(status) {
    this.#status = status;
    this.#showActions();
    if (!this.#asked) await this.#begin();
    if (!this.#token || byId("signed-in").hidden) return;
    if (status.dead_letters !== this.#letters) await this.#listLetters();
    const due = Date.now() / 1000 - this.#looked > EVERY;
    if (jobsOf(status) !== this.#jobs || (status.open_jobs && due)) await this.#listJobs();
  }

  async #begin() {
    this.#asked = true;
    if (this.#token) {
      await this.#enter();
      return;
    }
    const answer = await fetch("admin/config").catch(() => null);
    if (answer?.status === 403) {
      this.#explain(
        "Acting on the daemon is off, because its configuration says nobody who may. To see dead letters, jobs and the " +
          "configuration here, set http.auth.tokens with a token of the scope admin, and start the daemon anew.",
      );
    } else if (answer?.status === 401) {
      this.#explain("Dead letters, jobs and the configuration are for operators.");
      show(byId("sign-in"), true);
    } else {
      this.#asked = false; // the daemon starts or stops: the next status asks again
    }
  }

  async #signIn(token) {
    if (!token) return;
    this.#token = token;
    if (await this.#enter()) {
      sessionStorage.setItem(KEY, token);
      byId("token").value = "";
      byId("letters-title").focus();
    }
  }

  async #enter() {
    const answer = await this.#ask("GET", "config");
    if (!answer) return false;
    showConfig(byId("config").querySelector("dl"), answer.config);
    show(byId("sign-in"), false);
    show(byId("actions"), true);
    show(byId("signed-in"), true);
    this.#explain("");
    this.#tell("Signed in.");
    await Promise.all([this.#listLetters(), this.#listJobs()]);
    return true;
  }

  #signOut(text) {
    const shown = this.#token !== null;
    this.#token = this.#letters = this.#jobs = null;
    sessionStorage.removeItem(KEY);
    for (const name of ["letters", "jobs"]) byId(name).tBodies[0].replaceChildren();
    byId("config").querySelector("dl").replaceChildren();
    show(byId("signed-in"), false);
    show(byId("actions"), false);
    show(byId("sign-in"), true);
    this.#tell(text);
    if (shown) byId("token").focus();
  }

  // Ask an operator's question; undefined when there is no answer to use, which is told.
  async #ask(method, path) {
    let answer;
    try {
      answer = await fetch(`admin/${path}`, { method, headers: { authorization: `Bearer ${this.#token}` } });
    } catch {
      this.#tell("The daemon does not answer.");
      return undefined;
    }
    if (answer.ok) return answer.json();
    const told = await answer.json().catch(() => ({}));
    if (answer.status in REFUSED) this.#signOut(REFUSED[answer.status]);
    else this.#tell(told.error ?? `The daemon answered ${answer.status}.`);
    return undefined;
  }

  #showActions() {
    setText(byId("pause"), this.#status?.paused ? "Resume the commit log" : "Pause the commit log");
  }

  async #pause() {
    const answer = await this.#ask("POST", this.#status?.paused ? "resume" : "pause");
    if (answer) this.#tell(answer.paused ? "The commit log is paused." : "The commit log is followed again.");
  }

  async #listLetters() {
    this.#letters = this.#status?.dead_letters ?? null;
    const answer = await this.#ask("GET", `dead-letters?limit=${LISTED}`);
    if (!answer) return;
    const letters = answer.dead_letters;
    setText(byId("letters-count"), answer.total > letters.length ? `newest ${letters.length} of ${count(answer.total)}` : count(answer.total));
    show(byId("letters-none"), !letters.length);
    show(byId("letters"), letters.length > 0);
    show(byId("letters-all"), answer.total > 1);
    keyed(byId("letters").tBodies[0], letters, {
      key: (letter) => letter.id,
      create: (letter) => this.#makeLetter(letter),
      update: showLetter,
    });
  }

  #makeLetter(letter) {
    const row = makeRow(byId("letters"));
    const [, table, reason, key, action] = row.cells;
    const name = letter.table ? `${letter.keyspace}.${letter.table}` : "–";
    setText(table, name);
    reason.append(make("strong"), make("span", { className: "detail" }));
    key.append(make("code", {}, tellKey(letter)), make("code", { className: "detail" }));
    const button = make("button", { type: "button" }, "Replay");
    button.setAttribute("aria-label", `Replay dead letter ${letter.id} of ${name}`);
    button.addEventListener("click", () => this.#replay(letter.id, button));
    action.append(button);
    return row;
  }

  async #replay(id, button) {
    button.disabled = true;
    const rows = [...byId("letters").tBodies[0].rows];
    const at = rows.findIndex((row) => row.contains(button));
    this.#tell(`Replaying dead letter ${id}.`);
    const answer = await this.#ask("POST", `dead-letters/${id}/replay`);
    button.disabled = false;
    if (!answer) return;
    this.#tell(answer.outcome === "replayed" ? `Dead letter ${id} was replayed.` : `Dead letter ${id} stays: ${whyNot(answer)}`);
    await this.#listLetters();
    if (document.contains(button)) {
      button.focus();
      return;
    }
    const left = byId("letters").tBodies[0].rows;
    (left[Math.min(at, left.length - 1)]?.querySelector("button") ?? byId("letters-title")).focus();
  }

  // Replay page by page, so that it is seen how far it is, and stays within what one request may take.
  async #replayAll() {
    const button = byId("replay-all");
    button.disabled = true;
    let [replayed, left, from] = [0, 0, 0];
    while (from !== null) {
      const answer = await this.#ask("POST", `dead-letters/replay?limit=${AT_ONCE}${from ? `&above=${from}` : ""}`);
      if (!answer) break;
      replayed += answer.replayed;
      left += answer.failed + answer.waiting;
      from = answer.next;
      this.#tell(`${count(replayed)} replayed, ${count(left)} stay${from === null ? "." : " so far."}`);
    }
    button.disabled = false;
    if (this.#token) await this.#listLetters();
  }

  async #listJobs() {
    this.#jobs = jobsOf(this.#status);
    this.#looked = Date.now() / 1000;
    const answers = await Promise.all(["jobs", "sync-jobs"].map((path) => this.#ask("GET", `${path}?limit=${LISTED}`)));
    if (answers.includes(undefined)) return;
    const jobs = answers.flatMap((answer) => answer.jobs).sort((one, other) => other.created - one.created);
    const open = this.#status?.open_jobs;
    setText(byId("jobs-count"), open ? `${count(open)} open` : "");
    show(byId("jobs-none"), !jobs.length);
    show(byId("jobs"), jobs.length > 0);
    keyed(byId("jobs").tBodies[0], jobs, {
      key: (job) => job.job,
      create: (job) => makeJob(byId("jobs"), job),
      update: showJob,
    });
  }

  #explain(text) {
    setText(byId("operator-text"), text);
    show(byId("operator-text"), text !== "");
  }

  #tell(text) {
    setText(byId("operator-result"), text);
  }
}

function showLetter(row, letter) {
  const [when, , reason, key] = row.cells;
  setText(when, moment(letter.last_at));
  setText(reason.firstChild, letter.reason);
  const attempts = letter.attempts > 1 ? ` (${count(letter.attempts)} times)` : "";
  const mutations = letter.count > 1 ? ` (${count(letter.count)} mutations)` : "";
  setText(reason.lastChild, `${letter.detail.message ?? letter.detail.error ?? ""}${mutations}${attempts}`);
  const start = letter.document ?? letter.row ?? "";
  setText(key.lastChild, start.length > SHOWN ? `${start.slice(0, SHOWN)}…` : start);
}

function tellKey(letter) {
  const parts = Object.entries(letter.key ?? {});
  if (parts.length) return parts.map(([column, value]) => `${column} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
  if (letter.detail.id) return letter.detail.id;
  return letter.partition_key ?? (letter.segment_id ? `${letter.segment_id}:${letter.position}` : "–");
}

function whyNot(answer) {
  return answer.outcome === "waiting" ? "it could not be settled in time." : (answer.message ?? answer.reason ?? "it fails as before.");
}

// What tells that jobs have to be listed again: one more, or one that has ended.
function jobsOf(status) {
  return `${status?.open_jobs} ${status?.newest_job}`;
}

function nameOf(job) {
  return `${job.kind} ${job.object_type ?? job.options.types?.join(", ") ?? ""}`;
}

function makeJob(table, job) {
  const row = makeRow(table);
  row.cells[0].append(make("span", {}, nameOf(job)), make("code", { className: "detail" }, job.job));
  row.cells[1].append(make("span", { className: "state" }));
  const progress = make("progress", { max: 1 });
  progress.setAttribute("aria-label", `Progress of ${nameOf(job)}`);
  row.cells[2].append(progress, make("span", { className: "detail" }));
  return row;
}

function showJob(row, job) {
  setText(row.cells[1].firstChild, job.state);
  setState(row.cells[1].firstChild, mood(job.state));
  const [progress, told] = row.cells[2].children;
  const share = job.state === "done" ? 1 : (job.fraction ?? (job.total ? job.settled / job.total : 0));
  if (progress.value !== share) progress.value = share;
  const done = job.ranges ? [job.ranges.done, job.ranges.total, "ranges"] : [job.settled, job.total, "ids"];
  setText(told, `${percent(share)}, ${count(done[0])} of ${count(done[1])} ${done[2]}`);
  setText(row.cells[3], job.message ?? result(job));
  setText(row.cells[4], moment(job.started ?? job.created));
}

// What a job has done: the counts that it gives, whatever they are called, and of their zeros only the first.
function result(job) {
  const numbers = { ...job.counts, rows: job.rows, ...job.report, failed: job.failed };
  return Object.entries(numbers)
    .filter(([, value], at) => typeof value === "number" && (value || !at))
    .map(([name, value]) => `${count(value)} ${name.replaceAll("_", " ")}`)
    .join(", ");
}

function showConfig(list, config) {
  list.replaceChildren(
    ...Object.entries(config).flatMap(([name, value]) => {
      const term = make("dt", {}, name);
      if (value === null || typeof value !== "object") return [term, make("dd", {}, value === null ? "none" : String(value))];
      if (Array.isArray(value) && value.every((each) => each === null || typeof each !== "object")) {
        return [term, make("dd", {}, value.length ? value.join(", ") : "none")];
      }
      const inner = make("dl");
      showConfig(inner, value);
      return [term, make("dd", {}, Object.keys(value).length ? inner : "none")];
    }),
  );
}
