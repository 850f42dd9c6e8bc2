/**
 * Answers in the owner's own words: finds the passages that fit a question, and says how sure it is of the first.
 *
 *     import { Answers } from "https://example.org/answers.js";
 *     const answers = await Answers.open("https://example.org/model/answers/", { PreTrainedTokenizer, ort });
 *     const { rung, passages } = await answers.lookUp("How long do you keep my order?");
 *
 * `PreTrainedTokenizer` comes from Transformers.js and `ort` is onnxruntime-web; both run in the page, and nothing is sent.
 * `tinsmith.model.answers` does the same in Python.
 *
 * @import { Fallback, Passage, RankedPassage, Rung } from "./messages.js"
 * @import { Kind } from "./small_talk.js"
 *
 * @typedef {object} Libraries
 * @property {typeof import("@huggingface/transformers").PreTrainedTokenizer} PreTrainedTokenizer
 * @property {Pick<typeof import("onnxruntime-web"), "InferenceSession" | "Tensor">} ort
 *
 * @typedef {object} EncoderFacts an encoder's files and how its vectors are compared
 * @property {string} name
 * @property {string} graph
 * @property {string} weights
 * @property {string} layout
 * @property {string} tokenizer
 * @property {string} index
 * @property {string} query_prefix text before every question
 * @property {number} max_question_tokens longer questions are cut, so that a pasted page takes no longer
 * @property {number} mean cosine of a question and a passage in general
 * @property {number} deviation of that cosine
 *
 * @typedef {object} Ladder when an answer is sure, likely or unsure
 * @property {Record<keyof Features | "bias", number>} weights of the logistic model of the confidence
 * @property {number} sure lowest confidence of that rung
 * @property {number} likely lowest confidence of that rung
 * @property {number} min_closeness lowest closeness of the best passage. A passage that was found with the previous question
 *   must also be this much closer to the follow-up alone than the average passage is
 *
 * @typedef {object} Settings content of `answers.json`
 * @property {EncoderFacts[]} encoders
 * @property {string} passages
 * @property {number} candidates how many of the closest passages are scored
 * @property {number} sentence_candidates see vectors.js
 * @property {number} question_margin see vectors.js
 * @property {number} lexical weight of the overlap in the score
 * @property {Ladder} ladder
 * @property {Fallback} fallback who replies when unsure
 * @property {string} unknown the owner's words for "I do not know"
 * @property {Kind[]} small_talk kinds of small talk among the owner's own questions
 *
 * @typedef {object} Features what the confidence is estimated from
 * @property {number} closeness of the first passage
 * @property {number} lead of its score over the second's
 * @property {number} lead_of_five of its score over the fifth's, or over the last one's
 *
 * @typedef {object} Scored a candidate
 * @property {number} index of the passage
 * @property {number} score
 * @property {number} closeness
 * @property {number} overlap
 *
 * @typedef {object} Ranking
 * @property {Rung} rung
 * @property {number} confidence estimated probability that the first passage is right; 0 if it fits only the previous question
 * @property {Features} features
 * @property {boolean} usedPrevious whether the question was read together with the previous one
 * @property {RankedPassage[]} passages at most five, best first
 * @property {number} milliseconds
 *
 * @typedef {object} Content downloaded answers
 * @property {Settings} settings
 * @property {Map<string, Uint8Array>} files by name
 */

import { contentOf, Encoder, jsonOf } from "./encoder.js";
import { Overlap } from "./overlap.js";
import { folderUrl, Store } from "./store.js";
import { largest, Vectors } from "./vectors.js";

const SETTINGS = "answers.json";

/** Passages that are offered. */
const MAX_OFFERED = 5;

/** Place of the passage that `lead_of_five` looks at. */
const FIFTH = 5;

/**
 * Download everything that answers need.
 *
 * @param {Pick<Store, "file">} folder gives verified files by name
 * @returns {Promise<Content>}
 */
export async function fetchAnswers(folder) {
  /** @type {Content["files"]} */
  const files = new Map();
  const fetchFile = async (/** @type {string} */ name) => {
    files.set(name, new Uint8Array(await (await folder.file(name)).arrayBuffer()));
  };
  await fetchFile(SETTINGS);
  const settings = /** @type {Settings} */ (jsonOf(files, SETTINGS));
  const names = settings.encoders.flatMap(({ graph, weights, layout, tokenizer, index }) => [
    graph,
    layout,
    tokenizer,
    weights,
    index,
  ]);
  await Promise.all([settings.passages, ...names].map(fetchFile));
  return { settings, files };
}

/** The owner's passages, and what ranks them. */
export class Answers {
  /**
   * Download and open answers.
   *
   * @param {string | URL | Pick<Store, "file">} folder the address of the folder, or what gives its files
   * @param {Libraries} libraries
   * @param {(progress: {file: string, loaded: number, total: number}) => void} [onProgress] bytes of one file; only for an address
   * @returns {Promise<Answers>}
   * @throws {Error} if a file is missing or damaged, or an encoder cannot run
   */
  static async open(folder, libraries, onProgress) {
    if (typeof folder !== "string" && !(folder instanceof URL)) {
      return Answers.create(await fetchAnswers(folder), libraries);
    }
    const store = await Store.open(folderUrl(folder), onProgress);
    const answers = await Answers.create(await fetchAnswers(store), libraries);
    await store.finish();
    return answers;
  }

  /**
   * Open downloaded answers.
   *
   * @param {Content} content
   * @param {Libraries} libraries
   * @returns {Promise<Answers>}
   */
  static async create({ settings, files }, libraries) {
    const encoders = [];
    for (const facts of settings.encoders) encoders.push(await Encoder.create(facts, files, libraries));
    const answers = new Answers(settings, files, encoders);
    // The first run of a graph and of a loop is slow, and fails if the device cannot run it.
    if (answers.passages.length) await answers.lookUp(answers.passages[0].title);
    return answers;
  }

  /**
   * @param {Settings} settings
   * @param {Map<string, Uint8Array>} files
   * @param {Encoder[]} encoders
   */
  constructor(settings, files, encoders) {
    this.settings = settings;
    this.encoders = encoders;
    const stored = /** @type {(Passage & {wordings: string[], rows: number, question_rows: number})[]} */ (
      jsonOf(files, settings.passages)
    );
    /** @type {Passage[]} */
    this.passages = stored.map(({ id, kind, title, text, category, source }) => ({
      id,
      kind,
      title,
      text,
      category,
      source,
    }));
    const indexes = encoders.map(({ facts, dimension }) => {
      const { index: name, mean, deviation } = facts;
      return { name, packed: contentOf(files, name), dimension, mean, deviation };
    });
    this.vectors = new Vectors(
      stored.map(({ rows, question_rows: questions }) => ({ rows, questions })),
      indexes,
      { sentenceCandidates: settings.sentence_candidates, questionMargin: settings.question_margin },
    );
    this.overlap = new Overlap(stored.map(comparedText));
  }

  /**
   * Rank the passages for a question.
   *
   * @param {string} question
   * @param {string[]} [previousQuestions] of the same conversation, in order; a follow-up is read with the last of them
   * @returns {Promise<Ranking>}
   */
  async lookUp(question, previousQuestions = []) {
    const startedAt = performance.now();
    const ranking = await this.#rankWithPrevious(question, previousQuestions.at(-1));
    return { ...ranking, milliseconds: performance.now() - startedAt };
  }

  /**
   * @param {string} question
   * @param {string | undefined} previous the previous question
   * @returns {Promise<Omit<Ranking, "milliseconds">>}
   */
  async #rankWithPrevious(question, previous) {
    const alone = await this.#rank(question);
    if (!previous || alone.ranking.rung === "sure") return { ...alone.ranking, usedPrevious: false };
    const together = await this.#rank(joined(previous, question));
    if (together.ranking.confidence <= alone.ranking.confidence) return { ...alone.ranking, usedPrevious: false };
    const ranking = { ...together.ranking, usedPrevious: true };
    // Words of the previous question must not answer this one.
    const answersThis = prominence(alone.closeness, together.best) >= this.settings.ladder.min_closeness;
    return answersThis ? ranking : { ...ranking, rung: "unsure", confidence: 0 };
  }

  /**
   * @param {string} question
   * @returns {Promise<{ranking: Omit<Ranking, "milliseconds" | "usedPrevious">, best: number, closeness: Float64Array}>} with the
   *   index of the best passage, and the closeness of all
   */
  async #rank(question) {
    const vectors = [];
    for (const encoder of this.encoders) vectors.push(await encoder.vectorOf(question));
    const closeness = this.vectors.compare(vectors).slice();
    const scored = this.#score(question, closeness);
    const features = featuresOf(scored);
    const confidence = scored.length ? confidenceOf(features, this.settings.ladder) : 0;
    const rung = scored.length ? rungOf(features, confidence, this.settings.ladder) : "unsure";
    const offered = scored.slice(0, MAX_OFFERED);
    const passages = offered.map(({ index, ...scores }) => ({ passage: this.passages[index], ...scores }));
    return { ranking: { rung, confidence, features, passages }, best: scored[0]?.index ?? -1, closeness };
  }

  /** @param {string} question @param {Float64Array} closeness @returns {Scored[]} best first */
  #score(question, closeness) {
    const { candidates, lexical } = this.settings;
    this.overlap.setQuestion(question);
    return largest(closeness, candidates)
      .map((index) => {
        const overlap = this.overlap.of(index);
        return { index, score: closeness[index] + lexical * overlap, closeness: closeness[index], overlap };
      })
      .sort((one, other) => other.score - one.score);
  }
}

/**
 * The words that overlap is measured on. The title of an answer is a question, which may not be published.
 *
 * @param {Passage & {wordings: string[]}} passage
 */
function comparedText({ kind, title, text, wordings }) {
  return joined(kind === "answer" ? "" : title, text, ...wordings);
}

/** @param {string[]} texts @returns {string} that are ranked as one */
function joined(...texts) {
  return texts.filter(Boolean).join(" ");
}

/** @param {Float64Array} closeness @param {number} passage @returns {number} how much closer it is than the average passage */
function prominence(closeness, passage) {
  return closeness[passage] - closeness.reduce((sum, value) => sum + value, 0) / closeness.length;
}

/** @param {Scored[]} scored best first @returns {Features} */
function featuresOf(scored) {
  if (!scored.length) return { closeness: 0, lead: 0, lead_of_five: 0 };
  const [{ closeness, score }] = scored;
  const scoreAt = (/** @type {number} */ place) => scored[Math.min(place, scored.length) - 1].score;
  return { closeness, lead: score - scoreAt(2), lead_of_five: score - scoreAt(FIFTH) };
}

/** @param {Features} features @param {Ladder} ladder */
function confidenceOf({ closeness, lead, lead_of_five }, { weights }) {
  const gained = weights.closeness * closeness + weights.lead * lead + weights.lead_of_five * lead_of_five;
  return 1 / (1 + Math.exp(-(weights.bias + gained)));
}

/** @param {Features} features @param {number} confidence @param {Ladder} ladder @returns {Rung} */
function rungOf({ closeness }, confidence, { sure, likely, min_closeness }) {
  if (closeness < min_closeness) return "unsure";
  if (confidence >= sure) return "sure";
  return confidence >= likely ? "likely" : "unsure";
}
