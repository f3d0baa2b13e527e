// What only an operator may see and do: asked for with a token that stays in this tab.

import { confirm } from "./confirm.js";
import { byId, make, setText, show } from "./dom.js";
import { moment, parse, percent } from "./format.js";
import { Jobs } from "./jobs.js";
import { Letters } from "./letters.js";

const KEY = "cdc-daemon.token";
const COUNTED_EVERY = 60; // seconds between two counts of the indices' documents

const REFUSED = {
  401: "The token is not valid.",
  403: "The token does not allow this: it needs the scope admin.",
};

export class Operator {
  documents = new Map(); // by alias, what is told of its indices
  #token = sessionStorage.getItem(KEY);
  #asked = false; // whether it is known if the daemon takes tokens
  #status = null;
  #counted = 0;
  #indices = "";
  #letters = new Letters((...question) => this.#ask(...question));
  #jobs = new Jobs((...question) => this.#ask(...question));

  constructor() {
    byId("sign-in").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#signIn(byId("token").value.trim());
    });
    byId("sign-out").addEventListener("click", () => this.#signOut("Signed out."));
    byId("pause").addEventListener("click", () => (this.#status?.paused ? this.#resume() : this.#pause()));
  }

  // Take note of a new status: list again what has changed by it.
  async follow(status) {
    this.#status = status;
    this.#showPause();
    if (!this.#asked) await this.#begin();
    if (!this.#token || byId("signed-in").hidden) return;
    await Promise.all([this.#letters.follow(status), this.#jobs.follow(status), this.#countDocuments()]);
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
        "Administration is disabled, because the configuration has no tokens. To see dead letters, jobs and the " +
          "configuration here, set http.auth.tokens with a token of the scope admin, and restart the daemon.",
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
    if (await this.#enter()) byId("letters-title").focus();
  }

  async #enter() {
    const answer = await this.#ask("GET", "config");
    if (!answer) return false;
    sessionStorage.setItem(KEY, this.#token);
    byId("token").value = "";
    showConfig(byId("config").querySelector("dl"), answer.config);
    show(byId("sign-in"), false);
    show(byId("actions"), true);
    show(byId("signed-in"), true);
    this.#explain("");
    this.#tell("Signed in.");
    await Promise.all([this.#letters.list(this.#status), this.#jobs.list(this.#status), this.#countDocuments()]);
    return true;
  }

  #signOut(text) {
    const shown = this.#token !== null;
    this.#token = null;
    this.#counted = 0;
    this.documents.clear();
    sessionStorage.removeItem(KEY);
    this.#letters.clear();
    this.#jobs.clear();
    byId("config").querySelector("dl").replaceChildren();
    show(byId("signed-in"), false);
    show(byId("actions"), false);
    show(byId("sign-in"), true);
    this.#tell(text);
    if (shown) byId("token").focus();
  }

  // Ask an operator's question; undefined when there is no answer to use, which is told by `tell`.
  async #ask(method, path, tell = (text) => this.#tell(text)) {
    let answer;
    try {
      answer = await fetch(`admin/${path}`, { method, headers: { authorization: `Bearer ${this.#token}` } });
    } catch {
      tell("The daemon does not answer.");
      return undefined;
    }
    const content = await answer.text().then(parse).catch(() => ({}));
    if (answer.ok) return content;
    if (answer.status in REFUSED) this.#signOut(REFUSED[answer.status]);
    else tell(content.error ?? `The daemon answered ${answer.status}.`);
    return undefined;
  }

  #showPause() {
    const { paused, paused_by: by, paused_since: since } = this.#status;
    setText(byId("pause"), paused ? "Resume the commit log" : "Pause the commit log…");
    setText(byId("paused"), paused ? `The commit log is paused by ${by ?? "an operator"} since ${moment(since)}.` : "");
    show(byId("paused"), Boolean(paused));
  }

  async #pause() {
    const { cdc_raw: raw = {} } = this.#status ?? {};
    const full = raw.limit ? ` It is ${percent(raw.bytes / raw.limit)} full now.` : "";
    const text =
      `Changes then wait in cdc_raw, and no document is updated by them. When cdc_raw is full, Cassandra rejects ` +
      `writes.${full} Requests for rows continue. The status page shows who paused it. A restart of the daemon ends the pause.`;
    if (!(await confirm({ title: "Pause the commit log?", text, yes: "Pause" }))) return;
    const answer = await this.#ask("POST", "pause");
    if (answer) this.#tell(`The commit log is paused by ${answer.paused_by} since ${moment(answer.paused_since)}.`);
  }

  async #resume() {
    if (await this.#ask("POST", "resume")) this.#tell("The daemon reads the commit log again.");
  }

  // The search engine counts: seldom, and when there are other indices than before.
  async #countDocuments() {
    const [indices, now] = [JSON.stringify(this.#status?.indices), Date.now() / 1000];
    if (indices === this.#indices && now - this.#counted < COUNTED_EVERY) return;
    [this.#indices, this.#counted] = [indices, now];
    const answer = await this.#ask("GET", "indices", () => {});
    for (const index of answer?.indices ?? []) this.documents.set(index.alias, index);
  }

  #explain(text) {
    setText(byId("operator-text"), text);
    show(byId("operator-text"), text !== "");
  }

  #tell(text) {
    setText(byId("operator-result"), text);
  }
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
