/**
 * The passages' vectors: how close each passage is to a question.
 *
 * A passage's first row is its title, wordings and text, the second its text alone, and the next ones are its sentences. The
 * last ones are questions that it answers. Rows stay in 4 bits. A question's vector is rounded to 22-bit integers and
 * multiplied once by every value that a byte of a row can have. A cosine is then an exact sum of table look-ups.
 * `tinsmith.model.answers.ranking` does the same in Python.
 */

import { BLOCK_BYTES, BLOCK_VALUES, halfAt, rowBytes, ZERO_NIBBLE } from "./encoder.js";

/** Values of a byte. */
const BYTES = 256;

/** Bytes of a block's numbers, and the same in words of 4 bytes. */
const BLOCK_PAIRS = BLOCK_VALUES / 2;
const BLOCK_WORDS = BLOCK_PAIRS / 4;

/** The sum of a block's 32 products of a number in 4 bits and an integer up to this bound fits in 32 bits. */
const QUESTION_BOUND = 2 ** 22 - 1;

/** A question's product with every value of every byte of a row, in exact integers. */
class Products {
  /** @param {number} dimension */
  constructor(dimension) {
    /** By byte of a row, then by its value. */
    this.table = new Int32Array((dimension / 2) * BYTES);
    /** Value of the integer 1. */
    this.step = 0;
  }

  /** @param {Float32Array} question its vector */
  set(question) {
    const bound = question.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    this.step = bound / QUESTION_BOUND;
    const rounded = Int32Array.from(question, (value) => (bound ? Math.round(value / this.step) : 0));
    for (let start = 0, at = 0; start < rounded.length; start += BLOCK_VALUES) {
      for (let pair = start; pair < start + BLOCK_PAIRS; pair++) {
        const [low, high] = [rounded[pair], rounded[pair + BLOCK_PAIRS]];
        for (let byte = 0; byte < BYTES; byte++) {
          this.table[at++] = low * ((byte & 15) - ZERO_NIBBLE) + high * ((byte >> 4) - ZERO_NIBBLE);
        }
      }
    }
  }
}

/** Rows of an index that are compared one after the other, stored together: twice as fast as in the index's order. */
class Rows {
  /**
   * @param {Uint8Array} packed the index
   * @param {number} dimension
   * @param {number[]} numbers of the rows
   */
  constructor(packed, dimension, numbers) {
    this.blocks = dimension / BLOCK_VALUES;
    this.scales = new Float32Array(numbers.length * this.blocks);
    const bytes = new Uint8Array(this.scales.length * BLOCK_PAIRS);
    let block = 0;
    for (const number of numbers) {
      const end = (number + 1) * rowBytes(dimension);
      for (let at = number * rowBytes(dimension); at < end; at += BLOCK_BYTES, block++) {
        this.scales[block] = halfAt(packed, at);
        bytes.set(packed.subarray(at + 2, at + BLOCK_BYTES), block * BLOCK_PAIRS);
      }
    }
    this.words = new Int32Array(bytes.buffer);
  }

  /** @param {number} row @param {Products} question @returns {number} the cosine, since both have unit length */
  cosine(row, { table, step }) {
    const { blocks, scales, words } = this;
    let sum = 0;
    let place = row * blocks * BLOCK_WORDS;
    for (let block = 0, at = 0; block < blocks; block++) {
      let products = 0;
      for (let word = 0; word < BLOCK_WORDS; word++, at += 4 * BYTES) {
        const bytes = words[place++];
        products = (products + table[at + (bytes & 255)]) | 0;
        products = (products + table[at + BYTES + ((bytes >> 8) & 255)]) | 0;
        products = (products + table[at + 2 * BYTES + ((bytes >> 16) & 255)]) | 0;
        products = (products + table[at + 3 * BYTES + (bytes >>> 24)]) | 0;
      }
      sum += products * scales[row * blocks + block];
    }
    return sum * step;
  }
}

/**
 * The places of the `count` largest values, the largest first; of equal values, the first.
 *
 * @param {Float64Array} values
 * @param {number} count
 * @returns {number[]}
 */
export function largest(values, count) {
  if (count < 1 || !values.length) return [];
  const bound = sortedValue(values.slice(), Math.max(0, values.length - count));
  const places = [];
  const equal = [];
  for (let place = 0; place < values.length; place++) {
    if (values[place] > bound) places.push(place);
    else if (values[place] === bound) equal.push(place);
  }
  places.push(...equal.slice(0, count - places.length));
  return places.sort((one, other) => values[other] - values[one] || one - other);
}

/**
 * Quickselect: Hoare, "Algorithm 65: Find", 1961. A full sort of 10,000 values takes eight times as long.
 *
 * @param {Float64Array} values get partly sorted
 * @param {number} place
 * @returns {number} the value that would be at a place if all were sorted
 */
function sortedValue(values, place) {
  let first = 0;
  let last = values.length - 1;
  while (first < last) {
    const pivot = values[place];
    let low = first;
    let high = last;
    while (low <= high) {
      while (values[low] < pivot) low++;
      while (values[high] > pivot) high--;
      if (low > high) break;
      [values[low], values[high]] = [values[high], values[low]];
      low++;
      high--;
    }
    if (high < place) first = low;
    if (low > place) last = high;
  }
  return values[place];
}

/**
 * @typedef {object} RowCounts rows of one passage in every index
 * @property {number} rows all of them, at least 2
 * @property {number} questions the last ones, which are vectors of questions
 *
 * @typedef {object} Limits
 * @property {number} sentenceCandidates passages whose sentences are compared, those whose first two rows are closest; of the
 *   others, sentences count as the mean of the first two
 * @property {number} questionMargin how much closer a passage's own question must be than its text to count in its place
 */

/**
 * @typedef {object} Index the vectors of one encoder
 * @property {Rows} texts two of each passage
 * @property {Rows} sentences
 * @property {Rows} questions
 * @property {Products} question the current one
 * @property {number} mean cosine of a question and a passage in general
 * @property {number} deviation of that cosine
 */

/** The vectors of all passages, from one or more encoders. */
export class Vectors {
  /**
   * @param {RowCounts[]} rowCounts of each passage
   * @param {{name: string, packed: Uint8Array, dimension: number, mean: number, deviation: number}[]} indexes
   * @param {Limits} limits
   * @throws {Error} if an index has other rows than the passages
   */
  constructor(rowCounts, indexes, limits) {
    const passages = rowCounts.length;
    this.limits = limits;
    /** First sentence of each passage, counted over all passages; then the number of sentences. */
    this.sentenceStarts = new Int32Array(passages + 1);
    /** The same for questions. */
    this.questionStarts = new Int32Array(passages + 1);
    /** Numbers of rows in an index. @type {Record<"texts" | "sentences" | "questions", number[]>} */
    const numbers = { texts: [], sentences: [], questions: [] };
    let row = 0;
    for (const [passage, { rows, questions }] of rowCounts.entries()) {
      const [firstQuestion, end] = [row + rows - questions, row + rows];
      numbers.texts.push(row++, row++);
      while (row < firstQuestion) numbers.sentences.push(row++);
      while (row < end) numbers.questions.push(row++);
      this.sentenceStarts[passage + 1] = numbers.sentences.length;
      this.questionStarts[passage + 1] = numbers.questions.length;
    }
    /** How close each of the passages' questions is. */
    this.questionCloseness = new Float64Array(numbers.questions.length);
    /** @type {Index[]} */
    this.indexes = indexes.map(({ name, packed, dimension, mean, deviation }) => {
      const bytes = row * rowBytes(dimension);
      if (packed.length !== bytes) {
        throw new Error(`${name} has ${packed.length} bytes, but the vectors of the passages take ${bytes}.`);
      }
      const rowsOf = (/** @type {keyof typeof numbers} */ kind) => new Rows(packed, dimension, numbers[kind]);
      const [texts, sentences, questions] = [rowsOf("texts"), rowsOf("sentences"), rowsOf("questions")];
      return { texts, sentences, questions, question: new Products(dimension), mean, deviation };
    });
    this.cosines = new Float64Array(passages);
    this.closeness = new Float64Array(passages);
  }

  /**
   * How close each passage is to a question, in standard deviations from what is usual: the mean over the encoders, of its text
   * or of the closest of its own questions.
   *
   * @param {Float32Array[]} question its vector, by encoder
   * @returns {Float64Array} by passage; overwritten by the next call
   */
  compare(question) {
    const { closeness, cosines, indexes, questionCloseness } = this;
    closeness.fill(0);
    questionCloseness.fill(0);
    for (const [number, index] of indexes.entries()) {
      index.question.set(question[number]);
      this.#compareTexts(index);
      const factor = 1 / (index.deviation * indexes.length);
      for (let passage = 0; passage < closeness.length; passage++) {
        closeness[passage] += (cosines[passage] - index.mean) * factor;
      }
      for (let row = 0; row < questionCloseness.length; row++) {
        questionCloseness[row] += (index.questions.cosine(row, index.question) - index.mean) * factor;
      }
    }
    this.#preferQuestions();
    return closeness;
  }

  /** Let a passage's closest question count where it is closer than the text by more than the margin. */
  #preferQuestions() {
    const { closeness, questionCloseness, questionStarts, limits } = this;
    for (let passage = 0; passage < closeness.length; passage++) {
      for (let question = questionStarts[passage]; question < questionStarts[passage + 1]; question++) {
        closeness[passage] = Math.max(closeness[passage], questionCloseness[question] - limits.questionMargin);
      }
    }
  }

  /** Set `cosines`: of each passage, the mean of its first two rows and its closest sentence. @param {Index} index */
  #compareTexts({ texts, sentences, question }) {
    const { cosines, limits, sentenceStarts } = this;
    for (let passage = 0; passage < cosines.length; passage++) {
      cosines[passage] = (texts.cosine(2 * passage, question) + texts.cosine(2 * passage + 1, question)) / 2;
    }
    for (const passage of largest(cosines, limits.sentenceCandidates)) {
      let best = -Infinity;
      for (let row = sentenceStarts[passage]; row < sentenceStarts[passage + 1]; row++) {
        best = Math.max(best, sentences.cosine(row, question));
      }
      if (best > -Infinity) cosines[passage] = (2 * cosines[passage] + best) / 3;
    }
  }
}
