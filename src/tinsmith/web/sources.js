/**
 * The source line below words of the owner.
 *
 * @import { Passage } from "./messages.js"
 */

import { make } from "./elements.js";

const DATE = new Intl.DateTimeFormat("en-GB", { dateStyle: "long", timeZone: "UTC" });

/** @param {Passage} passage @returns {string} its title as visitors see it */
export function titleOf({ kind, title }) {
  return kind === "document" ? title.replaceAll(" > ", " › ") : title;
}

/**
 * Whether the title is the beginning of the text. It is where the owner did not agree to publish questions.
 *
 * @param {Passage} passage
 */
export function isTitleInText({ title, text }) {
  return lettersOf(text).startsWith(lettersOf(title));
}

/** @param {string} markdown @returns {string} its letters and digits, without numbers of lists and addresses of links */
function lettersOf(markdown) {
  return markdown
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/^\s*\d+[.)]\s+/gm, "")
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]/gu, "");
}

/** @param {string} text @returns {string} the same address if it is a web page's, else empty */
export function webAddress(text) {
  const url = URL.canParse(text) ? new URL(text) : null;
  return url && ["http:", "https:"].includes(url.protocol) ? url.href : "";
}

/**
 * Where the words of `passage` stand: document and place, or category and question, with date and link.
 *
 * @param {Passage} passage
 * @param {string} owner name of the owner
 * @returns {HTMLElement}
 */
export function sourceLine(passage, owner) {
  const { date, url } = passage.source;
  const [first, ...others] = passage.kind === "document" ? documentParts(passage) : answerParts(passage, owner);
  const address = webAddress(url);
  const line = make("p", "source", "Source: ", address ? link(first, address) : first);
  for (const part of others) line.append(" · ", part);
  if (date) line.append(" · ", dateElement(date));
  return line;
}

/** @param {Passage} passage @returns {string[]} */
function documentParts(passage) {
  const { name, place } = passage.source;
  const file = name.split("/").at(-1) || name;
  return [file || titleOf(passage), place.replaceAll(" > ", " › ")].filter(Boolean);
}

/** @param {Passage} passage @param {string} owner @returns {string[]} never empty */
function answerParts(passage, owner) {
  const question = isTitleInText(passage) ? "" : `answer to “${passage.title.trim()}”`;
  const parts = [passage.category, question].filter(Boolean);
  return parts.length ? parts : [`the answers of ${owner}`];
}

/** @param {string} text @param {string} address @returns {HTMLAnchorElement} opens a new tab, so that the chat stays */
function link(text, address) {
  const anchor = make("a", "", text, make("span", "unseen", " (opens a new tab)"));
  anchor.href = address;
  anchor.target = "_blank";
  anchor.rel = "noopener noreferrer nofollow";
  return anchor;
}

/** @param {string} date ISO 8601 @returns {HTMLTimeElement | string} */
function dateElement(date) {
  const day = /^\d{4}-\d{2}-\d{2}/.exec(date)?.[0];
  const time = day ? new Date(`${day}T00:00:00Z`) : null;
  if (!day || !time || Number.isNaN(time.getTime())) return date;
  const made = make("time", "", DATE.format(time));
  made.dateTime = day;
  return made;
}
