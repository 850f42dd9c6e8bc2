/**
 * A visitor's feedback on answers. It stays in this browser: nothing here sends anything.
 *
 * @import { Rung } from "./messages.js"
 */

import { element, make, newButton } from "./elements.js";

/**
 * @typedef {"helpful" | "not helpful"} Vote
 *
 * @typedef {object} Rated an answer that can be rated
 * @property {string} question
 * @property {string} answer
 * @property {"owner" | "model" | "unknown"} from whose words the answer is; `unknown` says that there is no answer
 * @property {string} passage id of the passage; empty if there is none
 * @property {Rung | ""} rung empty if the answers were not searched for it
 *
 * @typedef {Rated & {id: string, time: string, vote: Vote}} Entry
 */

/** The oldest entries are dropped beyond this number. */
const MOST_ENTRIES = 500;

/** Longer texts are cut, so that the entries stay within what browsers keep. */
const MOST_CHARACTERS = 2000;

const NOT_KEPT = "This browser keeps nothing for this page: your feedback is gone when you close this tab.";
const UNREADABLE = "Feedback that was kept before could not be read, and was left out.";

/** The entries in the browser's local storage, or only in this tab where the browser keeps nothing. */
class FeedbackStore {
  /** Why feedback is not kept, or not complete; empty if all is well. */
  problem = "";

  /** @type {Entry[]} */
  #entries = [];

  /** Local storage is shared by all pages of an origin. */
  #key = `tinsmith feedback ${new URL("./", location.href).pathname}`;

  /** @returns {Entry[]} oldest first */
  read() {
    try {
      const text = localStorage.getItem(this.#key);
      if (this.problem !== NOT_KEPT) this.#entries = this.#parse(text ?? "[]");
    } catch {
      this.problem = NOT_KEPT; // storage is off, as in some private windows
    }
    return this.#entries;
  }

  /** @param {string} text @returns {Entry[]} */
  #parse(text) {
    /** @type {unknown} */
    let stored;
    try {
      stored = JSON.parse(text);
    } catch {
      stored = null;
    }
    const entries = Array.isArray(stored) ? stored.filter(isEntry) : [];
    if (!Array.isArray(stored) || entries.length < stored.length) this.problem = UNREADABLE;
    return entries;
  }

  /**
   * Replace the vote of an answer.
   *
   * @param {string} id
   * @param {Rated} rated
   * @param {Vote | null} vote null removes it
   */
  vote(id, rated, vote) {
    const others = this.read().filter((entry) => entry.id !== id);
    this.#write(vote ? [...others, entryOf(id, rated, vote)].slice(-MOST_ENTRIES) : others);
  }

  clear() {
    this.#write([]);
  }

  /** @param {Entry[]} entries */
  #write(entries) {
    this.#entries = entries;
    try {
      if (entries.length) localStorage.setItem(this.#key, JSON.stringify(entries));
      else localStorage.removeItem(this.#key);
      if (this.problem === NOT_KEPT || !entries.length) this.problem = "";
    } catch {
      this.problem = NOT_KEPT; // storage is off or full
    }
  }
}

/** @param {string} id @param {Rated} rated @param {Vote} vote @returns {Entry} */
function entryOf(id, { question, answer, from, passage, rung }, vote) {
  const cut = (/** @type {string} */ text) => text.slice(0, MOST_CHARACTERS);
  return {
    id,
    time: new Date().toISOString(),
    vote,
    question: cut(question),
    answer: cut(answer),
    from,
    passage,
    rung,
  };
}

/** @param {any} value @returns {value is Entry} */
function isEntry(value) {
  const names = ["id", "time", "vote", "question", "answer", "from", "passage", "rung"];
  return typeof value === "object" && value !== null && names.every((name) => typeof value[name] === "string");
}

/** @param {Entry[]} entries @returns {string} one JSON object per line */
function asLines(entries) {
  return entries.map((entry) => `${JSON.stringify(entry)}\n`).join("");
}

/** The feedback buttons, the link in the footer, and the dialog that it opens. */
export class Feedback {
  #store = new FeedbackStore();
  #dialog = /** @type {HTMLDialogElement} */ (element("feedback"));
  #link = /** @type {HTMLButtonElement} */ (element("feedback-link"));
  #deleteButton = /** @type {HTMLButtonElement} */ (element("feedback-delete"));

  constructor() {
    this.#link.addEventListener("click", () => this.#open());
    element("feedback-close").addEventListener("click", () => this.#dialog.close());
    element("feedback-download").addEventListener("click", () => this.#download());
    this.#deleteButton.addEventListener("click", () => this.#delete());
    this.#dialog.addEventListener("close", () => this.#closed());
    addEventListener("storage", () => this.#update()); // another tab of this page
    this.#update();
  }

  /** @param {Rated} rated @returns {HTMLElement} two buttons to show below an answer */
  buttons(rated) {
    const id = newId();
    const buttons = { helpful: newButton("Helpful", () => {}), "not helpful": newButton("Not helpful", () => {}) };
    const status = make("span", "kept");
    status.setAttribute("role", "status");
    for (const [vote, button] of /** @type {[Vote, HTMLButtonElement][]} */ (Object.entries(buttons))) {
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => {
        const isPressed = button.getAttribute("aria-pressed") !== "true";
        for (const other of Object.values(buttons)) other.setAttribute("aria-pressed", "false");
        button.setAttribute("aria-pressed", String(isPressed));
        this.#store.vote(id, rated, isPressed ? vote : null);
        status.textContent = isPressed ? this.#store.problem || "Kept in this browser only" : "";
        this.#update();
      });
    }
    const group = make("span", "feedback-buttons", buttons.helpful, buttons["not helpful"], status);
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Was this answer helpful?");
    return group;
  }

  #update() {
    const entries = this.#store.read();
    this.#link.textContent = `Your feedback (${entries.length})`;
    this.#link.hidden = entries.length === 0 && !this.#dialog.open;
    if (this.#dialog.open) this.#show();
  }

  #open() {
    this.#show();
    this.#dialog.showModal();
  }

  #closed() {
    this.#update();
    if (this.#link.hidden) element("question").focus(); // the browser returns the focus to the link otherwise
  }

  #show() {
    const entries = this.#store.read();
    element("feedback-list").replaceChildren(...entries.toReversed().map(entryItem));
    element("feedback-problem").textContent = this.#store.problem;
    element("feedback-empty").hidden = entries.length > 0;
    for (const id of ["feedback-download", "feedback-delete"]) element(id).hidden = entries.length === 0;
    this.#deleteButton.textContent = "Delete all";
    this.#deleteButton.classList.remove("sure");
  }

  #download() {
    const file = new Blob([asLines(this.#store.read())], { type: "application/jsonl" });
    const link = make("a");
    link.href = URL.createObjectURL(file);
    link.download = "feedback.jsonl";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the download may start later
  }

  /** The first press asks, the second deletes. */
  #delete() {
    if (!this.#deleteButton.classList.contains("sure")) {
      this.#deleteButton.classList.add("sure");
      this.#deleteButton.textContent = "Delete all for good?";
      return;
    }
    this.#store.clear();
    for (const button of document.querySelectorAll(".feedback-buttons button")) {
      button.setAttribute("aria-pressed", "false");
    }
    for (const status of document.querySelectorAll(".feedback-buttons .kept")) status.textContent = "";
    this.#update();
    element("feedback-close").focus();
  }
}

function newId() {
  return crypto.getRandomValues(new Uint32Array(3)).join("-");
}

/** @param {Entry} entry @returns {HTMLLIElement} */
function entryItem({ time, vote, question, answer }) {
  const when = make("time", "", new Date(time).toLocaleString());
  when.dateTime = time;
  const facts = make("p", "quiet", vote === "helpful" ? "Helpful" : "Not helpful", " · ", when);
  return make("li", "", make("p", "asked", question), make("p", "", answer), facts);
}
