/**
 * How each rung of the ladder looks: whose words an answer is in, its passage, and the buttons for other passages.
 *
 * @import { Passage, RankedPassage } from "./messages.js"
 */

import { make, newButton } from "./elements.js";
import { markdown } from "./markdown.js";
import { isTitleInText, sourceLine, titleOf } from "./sources.js";

/** Passages behind "Other answers". */
const MOST_MORE = 3;

/** @param {string} owner name of the owner @returns {HTMLElement} mark above the owner's words */
export function ownerMark(owner) {
  return make("p", "mark owners", `Word for word from ${owner}`);
}

/** @param {string} owner name of the owner @returns {HTMLElement} mark above an answer of the model */
export function modelMark(owner) {
  return make("p", "mark models", `Written by the model, not by ${owner}: check it`);
}

/**
 * A passage in the owner's words, with its source.
 *
 * @param {Passage} passage
 * @param {string} owner name of the owner
 * @param {boolean} isCertain false puts "Closest to your question" above it
 * @returns {HTMLElement[]}
 */
export function passageView(passage, owner, isCertain) {
  const words = make("div", "text quoted", markdown(passage.text));
  const parts = [ownerMark(owner), words, sourceLine(passage, owner)];
  if (!isCertain) parts.splice(1, 0, closestHeading(passage));
  return parts;
}

/** @param {Passage} passage @returns {HTMLElement} with the title, unless the text begins with it */
function closestHeading(passage) {
  const heading = make("p", "closest", "Closest to your question:");
  if (!isTitleInText(passage)) heading.append(" ", make("strong", "", titleOf(passage)));
  return heading;
}

/**
 * Buttons that show other passages than the one in a turn.
 *
 * @param {RankedPassage[]} passages best first
 * @param {number} count how many to offer at once
 * @param {boolean} hasMore whether a button shows further ones
 * @param {(passage: Passage) => void} onChoose
 * @returns {{offered: HTMLElement[], toggle: HTMLElement[], more: HTMLElement[]}} each empty or with one element
 */
export function otherPassages(passages, count, hasMore, onChoose) {
  const [first, rest] = [passages.slice(0, count), passages.slice(count, count + MOST_MORE)];
  const offered = first.length ? [choices("Did you mean:", first, onChoose)] : [];
  if (!hasMore || !rest.length) return { offered, toggle: [], more: [] };
  const more = choices("Other answers:", rest, onChoose);
  return { offered, toggle: [toggleFor(more)], more: [more] };
}

/**
 * Buttons that ask the owner's suggested questions.
 *
 * @param {string[]} questions
 * @param {(question: string) => void} onChoose
 * @returns {HTMLElement}
 */
export function suggestions(questions, onChoose) {
  return buttonList(
    "You could ask:",
    questions.map((text) => ({ text, onClick: () => onChoose(text) })),
  );
}

/** @param {string} label @param {RankedPassage[]} passages @param {(passage: Passage) => void} onChoose */
function choices(label, passages, onChoose) {
  return buttonList(
    label,
    passages.map(({ passage }) => ({ text: titleOf(passage), onClick: () => onChoose(passage) })),
  );
}

/** @param {string} label @param {{text: string, onClick: () => void}[]} buttons @returns {HTMLElement} */
function buttonList(label, buttons) {
  const list = make("ul", "questions");
  for (const { text, onClick } of buttons) {
    const button = newButton("", onClick, "");
    button.append(make("span", "", text));
    list.append(make("li", "", button));
  }
  const box = make("div", "choices", make("p", "label", label), list);
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", label);
  return box;
}

/** @param {HTMLElement} box that the button shows and hides; hidden at first @returns {HTMLButtonElement} */
function toggleFor(box) {
  box.hidden = true;
  const toggle = newButton("Other answers", () => {
    box.hidden = !box.hidden;
    toggle.setAttribute("aria-expanded", String(!box.hidden));
    if (!box.hidden) box.scrollIntoView({ block: "nearest" });
  });
  toggle.setAttribute("aria-expanded", "false");
  return toggle;
}
