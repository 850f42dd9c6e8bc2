/**
 * The turns of the conversation on the page.
 *
 * @import { Ranked } from "./messages.js"
 */

import { element, make, newButton } from "./elements.js";

/**
 * @typedef {object} Turn
 * @property {HTMLElement} item
 * @property {HTMLElement} body
 * @property {Ranked} [ranked] what to offer if the model gives no answer
 */

/** The page scrolls along with an answer while its end is closer than this. */
const NEAR_BOTTOM_PIXELS = 160;

const turns = element("turns");

/** @param {"user" | "assistant"} role @param {string} [text] @returns {Turn} */
export function addTurn(role, text = "") {
  const speaker = make("span", "unseen", role === "user" ? "You: " : "Answer: ");
  const body = make("div", "text", text);
  const item = make("li", `turn ${role}`, speaker, body);
  turns.append(item);
  item.scrollIntoView({ block: "end" });
  return { item, body };
}

export function lastTurn() {
  return turns.lastElementChild;
}

/** @param {Element} item a turn that was removed */
export function putBack(item) {
  turns.append(item);
}

export function removeTurns() {
  turns.replaceChildren();
}

export function isNearBottom() {
  const page = document.documentElement;
  return page.scrollHeight - page.scrollTop - page.clientHeight < NEAR_BOTTOM_PIXELS;
}

/**
 * Scroll a complete answer into view: its end, or its beginning if it is longer than the screen.
 *
 * @param {HTMLElement} item
 */
export function reveal(item) {
  const { scrollMarginTop, scrollMarginBottom } = getComputedStyle(item);
  const room = innerHeight - Number.parseFloat(scrollMarginTop) - Number.parseFloat(scrollMarginBottom);
  item.scrollIntoView({ block: item.offsetHeight > room ? "start" : "end" });
}

/** @param {string} text @returns {HTMLButtonElement} */
export function copyButton(text) {
  const copy = newButton("Copy", async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "The browser does not allow copying";
    }
    setTimeout(() => (copy.textContent = "Copy"), 2000);
  });
  return copy;
}
