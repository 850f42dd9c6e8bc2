/**
 * The passages' vectors: how close each passage is to a question.
 *
 * A passage's first row is its title and text, the second its text alone, and the next ones are its sentences. The last ones are
 * questions that it answers. Rows stay in 4 bits. A question's vector is rounded to 22-bit integers, so that products are summed
 * exactly and without conversions. `tinsmith.model.answers.ranking` does the same in Python.
 */

import { BLOCK_BYTES, BLOCK_VALUES, halfAt, rowBytes, ZERO_NIBBLE } from "./encoder.js";

/** Bytes of a block's 32 values, in words of 4 bytes. */
const BLOCK_WORDS = 4;

/** A block's 32 products of a nibble and an integer up to this bound fit in 32 bits. */
const QUESTION_BOUND = 2 ** 22 - 1;

/** The vectors of one encoder, row by row. */
class Rows {
  /**
   * @param {Uint8Array} packed
   * @param {number} dimension
   * @param {{mean: number, deviation: number}} cosines of a question and a passage in general
   */
  constructor(packed, dimension, { mean, deviation }) {
    const blocks = packed.length / BLOCK_BYTES;
    this.blocks = dimension / BLOCK_VALUES;
    this.mean = mean;
    this.deviation = deviation;
    this.scales = new Float32Array(blocks);
    const nibbles = new Uint8Array(blocks * (BLOCK_BYTES - 2));
    for (let block = 0; block < blocks; block++) {
      const at = block * BLOCK_BYTES;
      this.scales[block] = halfAt(packed, at);
      nibbles.set(packed.subarray(at + 2, at + BLOCK_BYTES), block * (BLOCK_BYTES - 2));
    }
    this.nibbles = new Int32Array(nibbles.buffer);
    this.question = new Int32Array(dimension);
    /** Sum over each block of the question, times the nibble of zero. */
    this.zeros = new Int32Array(this.blocks);
    this.questionStep = 0;
  }

  /** @param {Float32Array} vector */
  setQuestion(vector) {
    const { question, zeros } = this;
    let bound = 0;
    for (const value of vector) bound = Math.max(bound, Math.abs(value));
    this.questionStep = bound / QUESTION_BOUND;
    zeros.fill(0);
    for (let index = 0; index < question.length; index++) {
      question[index] = bound ? Math.round(vector[index] / this.questionStep) : 0;
      zeros[Math.floor(index / BLOCK_VALUES)] += ZERO_NIBBLE * question[index];
    }
  }

  /** @param {number} row @returns {number} its product with the question: the cosine, since both have unit length */
  cosine(row) {
    const { question, zeros, nibbles, scales, blocks } = this;
    let sum = 0;
    for (let block = 0; block < blocks; block++) {
      let products = 0;
      const start = (row * blocks + block) * BLOCK_WORDS;
      for (let word = 0; word < BLOCK_WORDS; word++) {
        const eight = nibbles[start + word];
        const low = block * BLOCK_VALUES + 4 * word;
        const high = low + BLOCK_VALUES / 2;
        products = (products + Math.imul(question[low], eight & 15)) | 0;
        products = (products + Math.imul(question[high], (eight >> 4) & 15)) | 0;
        products = (products + Math.imul(question[low + 1], (eight >> 8) & 15)) | 0;
        products = (products + Math.imul(question[high + 1], (eight >> 12) & 15)) | 0;
        products = (products + Math.imul(question[low + 2], (eight >> 16) & 15)) | 0;
        products = (products + Math.imul(question[high + 2], (eight >> 20) & 15)) | 0;
        products = (products + Math.imul(question[low + 3], (eight >> 24) & 15)) | 0;
        products = (products + Math.imul(question[high + 3], eight >>> 28)) | 0;
      }
      sum += ((products - zeros[block]) | 0) * scales[row * blocks + block];
    }
    return sum * this.questionStep;
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
  if (count < 1) return [];
  const first = Math.max(0, values.length - count);
  const bound = values.slice().sort()[first] ?? -Infinity;
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
 * @typedef {object} RowCounts rows of one passage in every index
 * @property {number} rows all of them, at least 2
 * @property {number} questions the last ones, which are vectors of questions
 *
 * @typedef {object} Limits
 * @property {number} sentenceCandidates passages whose sentences are compared, those whose first two rows are closest; of the
 *   others, sentences count as the mean of the first two
 * @property {number} questionMargin how much closer a passage's own question must be than its text to count in its place
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
    /** First row of each passage; then the number of rows. */
    this.starts = new Int32Array(passages + 1);
    /** First question of each passage, counted over all passages; then the number of questions. */
    this.questionStarts = new Int32Array(passages + 1);
    for (const [passage, { rows, questions }] of rowCounts.entries()) {
      this.starts[passage + 1] = this.starts[passage] + rows;
      this.questionStarts[passage + 1] = this.questionStarts[passage] + questions;
    }
    /** How close each of the passages' questions is. */
    this.questionCloseness = new Float64Array(this.questionStarts[passages]);
    this.indexes = indexes.map(({ name, packed, dimension, mean, deviation }) => {
      const bytes = this.starts[passages] * rowBytes(dimension);
      if (packed.length !== bytes) {
        throw new Error(`${name} has ${packed.length} bytes, but the vectors of the passages take ${bytes}.`);
      }
      return new Rows(packed, dimension, { mean, deviation });
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
    for (const [index, rows] of indexes.entries()) {
      rows.setQuestion(question[index]);
      this.#compareTexts(rows);
      const factor = 1 / (rows.deviation * indexes.length);
      for (let passage = 0; passage < closeness.length; passage++) {
        closeness[passage] += (cosines[passage] - rows.mean) * factor;
      }
      this.#addQuestions(rows, factor);
    }
    this.#preferQuestions();
    return closeness;
  }

  /** Add how close each of the passages' questions is by one encoder. @param {Rows} rows @param {number} factor */
  #addQuestions(rows, factor) {
    const { questionCloseness, questionStarts, starts } = this;
    for (let passage = 0; passage + 1 < starts.length; passage++) {
      const first = questionStarts[passage];
      const end = questionStarts[passage + 1];
      const row = starts[passage + 1] - (end - first);
      for (let question = first; question < end; question++) {
        questionCloseness[question] += (rows.cosine(row + question - first) - rows.mean) * factor;
      }
    }
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

  /** Set `cosines`: of each passage, the mean of its first two rows and its closest sentence. @param {Rows} rows */
  #compareTexts(rows) {
    const { cosines, starts, questionStarts } = this;
    for (let passage = 0; passage < cosines.length; passage++) {
      const row = starts[passage];
      cosines[passage] = (rows.cosine(row) + rows.cosine(row + 1)) / 2;
    }
    for (const passage of largest(cosines, this.limits.sentenceCandidates)) {
      const end = starts[passage + 1] - (questionStarts[passage + 1] - questionStarts[passage]);
      let best = -Infinity;
      for (let row = starts[passage] + 2; row < end; row++) best = Math.max(best, rows.cosine(row));
      if (best > -Infinity) cosines[passage] = (2 * cosines[passage] + best) / 3;
    }
  }
}
