/**
 * One question with its replies, and the controls that grade them.
 *
 * @import { Criterion, Grade, Item, ReviewData, ReviewedFact, ReviewedItem, ReviewedReply } from "./review_progress.js"
 */

import { make } from "./elements.js";
import { markdown } from "./markdown.js";

/** The letter of a reply, by its place. */
const LETTERS = "ABCDE";

/** @param {Criterion} criterion @param {Grade} grade @returns {string} the key that gives a grade */
function keyOf(criterion, grade) {
  return criterion.grades.length === 2 ? grade.label[0].toUpperCase() : String(grade.value);
}

/** @param {string} text @returns {HTMLElement} */
function proseOf(text) {
  const prose = make("div", "prose");
  if (text.trim()) prose.append(markdown(text));
  else prose.append(make("p", "quiet", "(no text)"));
  return prose;
}

/** Shows an item, and changes its review as the rater answers. */
export class ItemView {
  /** Groups of controls that have to be answered now, in order. @type {{box: HTMLFieldSetElement, isDone: () => boolean}[]} */
  #asked = [];
  /** @type {HTMLInputElement | null} */
  #firstFact = null;
  #data;
  #item;
  #reviewed;
  #onChange;
  #goOn = make("button", "primary");

  /**
   * @param {ReviewData} data
   * @param {ReviewedItem} reviewed changed in place
   * @param {() => void} onChange called after each change
   */
  constructor(data, reviewed, onChange) {
    this.#data = data;
    this.#reviewed = reviewed;
    this.#item = /** @type {Item} */ (data.items.find(({ id }) => id === reviewed.id));
    this.#onChange = onChange;
    this.#goOn.type = "submit";
  }

  /** @returns {string} */
  get question() {
    return this.#item.question;
  }

  /** @param {string} back label of the button that goes back; empty for the first item @returns {Node[]} */
  parts(back) {
    const { system, reference } = this.#item;
    this.#asked = [];
    const isRevealed = this.#reviewed.isRevealed;
    /** @type {Node[]} */
    const nodes = [];
    if (system) {
      const told = make(
        "details",
        "told",
        make("summary", "", "What the assistant was told beforehand"),
        proseOf(system),
      );
      nodes.push(told);
    }
    if (isRevealed) {
      nodes.push(make("section", "reference", make("h2", "", "Reference answer, the owner’s own"), proseOf(reference)));
    }
    nodes.push(make("div", "replies", ...this.#reviewed.replies.map((_, at) => this.#reply(at))));
    if (isRevealed && this.#reviewed.facts.length) nodes.push(this.#facts());
    this.#goOn.textContent = isRevealed ? "Next question" : "Show the reference answer";
    const hint = make("span", "keys", make("kbd", "", "Enter"), " goes on");
    const actions = make("p", "actions", this.#goOn, hint);
    if (back) {
      const button = make("button", "plain", back);
      button.type = "button";
      button.dataset.action = "back";
      actions.append(button, make("span", "keys", make("kbd", "", "Backspace")));
    }
    nodes.push(actions);
    return nodes;
  }

  /** Move the focus to what has to be answered next, then to the facts or the button that goes on. @returns {boolean} whether all is answered */
  focusNext() {
    const open = this.#asked.find(({ isDone }) => !isDone());
    for (const { box } of this.#asked) box.classList.toggle("current", box === open?.box);
    const stop = open ? open.box.querySelector("input") : (this.#firstFact ?? this.#goOn);
    stop?.focus({ preventScroll: true });
    (open?.box ?? stop)?.scrollIntoView({ block: "nearest" });
    return !open;
  }

  /** @returns {Criterion[]} those asked for now: quality before the reference answer is seen, the others after */
  #criteria() {
    return this.#data.criteria.filter(({ name }) => (name === "quality") !== this.#reviewed.isRevealed);
  }

  /** @param {number} at place of the reply @returns {HTMLElement} */
  #reply(at) {
    const reply = this.#reviewed.replies[at];
    const text = this.#item.replies.find(({ name }) => name === reply.name)?.text ?? "";
    const section = make("section", "reply", make("h2", "", `Reply ${LETTERS[at]}`), proseOf(text));
    const quality = this.#data.criteria.find(({ name }) => name === "quality");
    const given = quality?.grades.find(({ value }) => value === reply.quality);
    if (this.#reviewed.isRevealed && quality && given) {
      section.append(make("p", "quiet", `${quality.title}: ${given.value}, ${given.label.toLowerCase()}`));
    }
    for (const criterion of this.#criteria()) section.append(this.#grades(criterion, reply, LETTERS[at]));
    return section;
  }

  /** @param {Criterion} criterion @param {ReviewedReply} reply @param {string} letter @returns {HTMLElement} */
  #grades(criterion, reply, letter) {
    const box = make("fieldset", "grades");
    const asked = make("span", "quiet", ` ${criterion.question}`);
    box.append(make("legend", "", `${criterion.title} of reply ${letter}`, asked));
    /** @param {Grade} grade */
    const give = (grade) => {
      reply[criterion.name] = grade.value;
      this.#onChange();
    };
    /** @type {Map<string, HTMLInputElement>} */
    const inputs = new Map();
    const options = make("div", "options");
    for (const grade of criterion.grades) {
      const input = make("input");
      input.type = "radio";
      input.name = `${criterion.name}-${reply.name}`;
      input.checked = reply[criterion.name] === grade.value;
      input.addEventListener("change", () => give(grade));
      inputs.set(keyOf(criterion, grade).toLowerCase(), input);
      const meaning = make("span", "", make("strong", "", grade.label), ` ${grade.meaning}`);
      options.append(make("label", "", input, make("kbd", "", keyOf(criterion, grade)), meaning));
    }
    box.append(options);
    box.addEventListener("keydown", (event) => {
      const input = event.ctrlKey || event.metaKey || event.altKey ? undefined : inputs.get(event.key.toLowerCase());
      if (!input) return;
      event.preventDefault();
      if (!input.checked) input.click();
      this.focusNext();
    });
    this.#asked.push({ box, isDone: () => reply[criterion.name] !== null });
    return box;
  }

  /** @returns {HTMLElement} the facts of the reference answer, which the rater confirms by going on */
  #facts() {
    const { facts } = this.#reviewed;
    const box = make("fieldset", "facts", make("legend", "", "What a right answer has to state"));
    box.append(
      make("p", "quiet", "Strike what it does not need. Add values that would be wrong, with semicolons between them."),
    );
    const inputs = facts.map((fact, at) => this.#fact(box, fact, at));
    this.#firstFact = inputs[0];
    box.addEventListener("keydown", (event) => {
      const isText = event.target instanceof HTMLInputElement && event.target.type === "text";
      const input =
        isText || event.ctrlKey || event.metaKey || event.altKey ? undefined : inputs[Number(event.key) - 1];
      if (!input) return;
      event.preventDefault();
      input.click();
    });
    return box;
  }

  /** @param {HTMLElement} box @param {ReviewedFact} fact @param {number} at @returns {HTMLInputElement} its checkbox */
  #fact(box, fact, at) {
    const input = make("input");
    input.type = "checkbox";
    input.checked = fact.is_confirmed ?? true;
    const forbidden = make("input");
    forbidden.type = "text";
    forbidden.value = fact.forbidden.join("; ");
    forbidden.placeholder = "wrong values";
    forbidden.setAttribute("aria-label", `Wrong values instead of ${fact.text}`);
    forbidden.maxLength = 500;
    const { about } = this.#item.facts[at];
    const words = make("span", "", fact.text, make("small", "quiet", about ? ` (${about})` : ""));
    const label = make("label", "", input, make("kbd", "", String(at + 1)), " ", words);
    box.append(make("div", "fact", label, forbidden));
    const read = () => {
      fact.is_confirmed = input.checked;
      fact.forbidden = forbidden.value
        .toWellFormed()
        .split(";")
        .map((text) => text.trim())
        .filter(Boolean)
        .slice(0, 20);
      this.#onChange();
    };
    input.addEventListener("change", read);
    forbidden.addEventListener("input", read);
    return input;
  }
}
