// Jobs: backfills, comparisons and requests for many rows, how far they are, and their end.

import { confirm } from "./confirm.js";
import { byId, keyed, make, makeRow, setLabel, setLong, setState, setText, show } from "./dom.js";
import { count, moment, percent } from "./format.js";
import { mood } from "./tables.js";

const LISTED = 25;
const EVERY = 2; // seconds between two looks at jobs that are under way
const STORY = 300; // characters shown at first of a message
const LISTS = { table: "jobs", sync: "sync-jobs" }; // the two kinds of jobs, by where they are asked for

export class Jobs {
  #ask;
  #known = null;
  #looked = 0;
  #status = null;
  #table = byId("jobs-table");

  constructor(ask) {
    this.#ask = (method, path) => ask(method, path, (text) => this.#tell(text));
  }

  async follow(status) {
    const due = Date.now() / 1000 - this.#looked > EVERY;
    if (signOf(status) !== this.#known || (status.open_jobs && due)) await this.list(status);
  }

  clear() {
    this.#known = null;
    this.#table.tBodies[0].replaceChildren();
    this.#tell("");
  }

  async list(status = this.#status) {
    this.#status = status;
    this.#known = signOf(status);
    this.#looked = Date.now() / 1000;
    const answers = await Promise.all(Object.values(LISTS).map((path) => this.#ask("GET", `${path}?limit=${LISTED}`)));
    if (answers.includes(undefined)) return;
    const jobs = Object.values(LISTS)
      .flatMap((list, at) => answers[at].jobs.map((job) => ({ ...job, list })))
      .sort((one, other) => other.created - one.created);
    const open = status?.open_jobs;
    setText(byId("jobs-count"), open ? `${count(open)} open` : "");
    show(byId("jobs-none"), !jobs.length);
    show(this.#table, jobs.length > 0);
    keyed(this.#table.tBodies[0], jobs, {
      key: (job) => job.job,
      create: (job) => this.#makeJob(job),
      update: showJob,
    });
  }

  #makeJob(job) {
    const row = makeRow(this.#table);
    row.cells[0].append(make("span", {}, nameOf(job)), make("code", { className: "detail" }, job.job));
    row.cells[1].append(make("span", { className: "state" }));
    const progress = make("progress", { max: 1 });
    setLabel(progress, `Progress of ${nameOf(job)}`);
    row.cells[2].append(progress, make("span", { className: "detail" }));
    const button = make("button", { type: "button", className: "danger" }, "Cancel…");
    setLabel(button, `Cancel ${nameOf(job)}, job ${job.job}`);
    button.addEventListener("click", () => this.#cancel(job, button));
    row.cells[5].append(button);
    return row;
  }

  async #cancel(job, button) {
    const text = "The job ends now. Its in-flight rows are still written, and documents that it has written remain.";
    if (!(await confirm({ title: `Cancel ${nameOf(job)}?`, text, yes: "Cancel the job" }))) return;
    button.disabled = true;
    const answer = await this.#ask("POST", `${job.list}/${encodeURIComponent(job.job)}/cancel`);
    button.disabled = false;
    if (answer) this.#tell(answer.state === "cancelled" ? `Job ${job.job} is cancelled.` : `Job ${job.job} had ended: ${answer.state}.`);
    await this.list();
    byId("jobs-title").focus({ preventScroll: true });
  }

  #tell(text) {
    setText(byId("jobs-result"), text);
  }
}

// What tells that jobs have to be listed again: one more, or one that has ended.
function signOf(status) {
  return `${status?.open_jobs} ${status?.newest_job}`;
}

function nameOf(job) {
  return `${job.kind} ${job.object_type ?? job.options.types?.join(", ") ?? ""}`;
}

function showJob(row, job) {
  setText(row.cells[1].firstChild, job.state);
  setState(row.cells[1].firstChild, mood(job.state));
  const [progress, told] = row.cells[2].children;
  const share = job.state === "done" ? 1 : (job.fraction ?? (job.total ? job.settled / job.total : 0));
  if (progress.value !== share) progress.value = share;
  const done = job.ranges ? [job.ranges.done, job.ranges.total, "ranges"] : [job.settled, job.total, "ids"];
  setText(told, `${percent(share)}, ${count(done[0])} of ${count(done[1])} ${done[2]}`);
  setLong(row.cells[3], job.message ?? result(job), STORY);
  setText(row.cells[4], moment(job.started ?? job.created));
  show(row.cells[5].firstChild, ["queued", "running"].includes(job.state));
}

// What a job has done: the counts that it gives, whatever they are called, and of their zeros only the first.
function result(job) {
  const numbers = { ...job.counts, rows: job.rows, ...job.report, failed: job.failed };
  return Object.entries(numbers)
    .filter(([, value], at) => typeof value === "number" && (value || !at))
    .map(([name, value]) => `${count(value)} ${name.replaceAll("_", " ")}`)
    .join(", ");
}
