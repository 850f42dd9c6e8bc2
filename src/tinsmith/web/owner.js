/**
 * The owner's view: what was found for a question, its scores, and why the page answered as it did.
 *
 * @import { Answers, Ranked, RankedPassage } from "./messages.js"
 */

import { make } from "./elements.js";
import { titleOf } from "./sources.js";

/** @typedef {"sure" | "likely" | "unknown" | "model" | "chosen"} Outcome what the page showed */

/**
 * @param {Ranked} ranked
 * @param {Answers} answers
 * @param {Outcome} outcome
 * @returns {HTMLDetailsElement} to show below an answer
 */
export function ownerView(ranked, answers, outcome) {
  const { confidence, milliseconds, passages, usedPrevious, rung } = ranked;
  const { sure, likely, minCloseness } = answers.thresholds;
  const facts = make("dl");
  const rows = [
    ["Rung", rung],
    ["Confidence", `${number(confidence)} (sure from ${number(sure)}, likely from ${number(likely)})`],
    ["Closeness", passages.length ? `${number(passages[0].closeness)} (at least ${number(minCloseness)})` : "none"],
    ["Search", `${milliseconds.toFixed(0)} ms among ${answers.passages} passages`],
  ];
  for (const [name, value] of rows) facts.append(make("dt", "", name), make("dd", "", value));
  const summary = make("summary", "", "Why this answer");
  const why = make("p", "", reason(ranked, answers, outcome));
  if (usedPrevious) why.append(" The question was read together with the previous one.");
  return make("details", "owner-view", summary, why, facts, table(passages));
}

/** @param {number} value */
function number(value) {
  return value.toFixed(2).replace("-", "−");
}

/** @param {Ranked} ranked @param {Answers} answers @param {Outcome} outcome @returns {string} a sentence */
function reason({ confidence, passages, rung, usedPrevious }, { thresholds }, outcome) {
  if (outcome === "chosen") return "The visitor chose this passage from the buttons.";
  if (!passages.length) return "There is no passage to show.";
  const { sure, likely, minCloseness } = thresholds;
  const chance = `The first passage is right with an estimated probability of ${number(confidence)}`;
  if (rung === "sure") return `${chance}, and ${number(sure)} is enough to show it as the answer.`;
  if (rung === "likely") {
    return `${chance}: at least ${number(likely)}, but below ${number(sure)}, so it is shown as the closest one.`;
  }
  const shown = outcome === "model" ? "the model answered" : "the page says that it does not know";
  if (usedPrevious && !confidence) return `The first passage fits only the previous question, so ${shown}.`;
  if (passages[0].closeness < minCloseness) {
    return `The question is far from everything on this site: ${number(passages[0].closeness)} is below the least \
closeness of ${number(minCloseness)}, so ${shown}.`;
  }
  return `${chance}, below ${number(likely)}, so ${shown}.`;
}

/** @param {RankedPassage[]} ranked @returns {HTMLElement} a table that can be scrolled without a mouse */
function table(ranked) {
  const head = make("tr");
  for (const name of ["Passage", "Score", "Closeness", "Overlap"]) {
    const cell = make("th", "", name);
    cell.scope = "col";
    head.append(cell);
  }
  const body = make("tbody");
  for (const { passage, score, closeness, overlap } of ranked) {
    const { name, place } = passage.source;
    const source = make("span", "quiet", [name, place].filter(Boolean).join(", "));
    const row = make("tr", "", make("td", "", titleOf(passage), make("br"), source));
    for (const value of [score, closeness, overlap]) row.append(make("td", "", number(value)));
    body.append(row);
  }
  const box = make("div", "wide", make("table", "", make("thead", "", head), body));
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "Closest passages");
  return box;
}
