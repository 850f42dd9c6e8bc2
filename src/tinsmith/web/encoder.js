/**
 * Encoders: small networks that turn a text into a vector of unit length, so that texts of similar meaning are close.
 *
 * An encoder's file holds its word table and matrices in 4 bits. Word rows stay packed until a text needs them; matrices
 * are unpacked once, to the levels that the graph multiplies in INT8. `tinsmith.model.answers` does the same in Python.
 *
 * @import { InferenceSession } from "onnxruntime-web"
 * @import { Libraries, EncoderFacts } from "./answers.js"
 *
 * @typedef {object} Matrix
 * @property {number} rows
 * @property {number} columns a multiple of 32
 * @property {number} at offset of its packed rows in the encoder's file, in bytes
 * @property {number} levels_at offset of its levels, int8 (columns, rows), in the graph's data
 * @property {number} scales_at offset of its scales, one float per row, in the graph's data
 *
 * @typedef {object} Layout what an encoder's file holds
 * @property {number} vocabulary
 * @property {number} dimension
 * @property {{at: number}} words packed rows
 * @property {{at: number, count: number}} positions rows of halves
 * @property {number} data_bytes size of the graph's data
 * @property {Matrix[]} matrices
 * @property {{at: number, bytes: number, to: number}[]} copies bytes of the graph's data that are stored as they are
 */

import { halfValues, transpose } from "./unpack.js";

/** Values of a block of a packed row. */
export const BLOCK_VALUES = 32;

/** A block's float16 scale and 32 values of 4 bits: a byte holds value j in its low half and value j + 16 in its high half. */
export const BLOCK_BYTES = 18;

/** Value of a nibble whose number is zero. */
export const ZERO_NIBBLE = 8;

const MAX_LEVEL = 127;

/** Rows that are transposed together, so that neighbours in memory are written together. */
const TILE_ROWS = 64;

/** @param {number} columns @returns {number} bytes of a packed row */
export function rowBytes(columns) {
  return (columns / BLOCK_VALUES) * BLOCK_BYTES;
}

/** @param {Uint8Array} bytes @param {number} at @returns {number} the float16 at an offset */
export function halfAt(bytes, at) {
  return halfValues[bytes[at] | (bytes[at + 1] << 8)];
}

/** An encoder, ready to run. */
export class Encoder {
  /**
   * @param {EncoderFacts} facts
   * @param {Map<string, Uint8Array>} files the answers' files, by name
   * @param {Libraries} libraries
   * @returns {Promise<Encoder>}
   * @throws {Error} if a file does not fit its layout, or ONNX Runtime cannot run the graph
   */
  static async create(facts, files, libraries) {
    const { ort, PreTrainedTokenizer } = libraries;
    const [weights, graph] = [contentOf(files, facts.weights), contentOf(files, facts.graph)];
    const layout = /** @type {Layout} */ (jsonOf(files, facts.layout));
    const session = await ort.InferenceSession.create(graph, {
      executionProviders: ["wasm"], // a text is too small for a GPU to be faster
      externalData: [{ path: `${facts.name}.data`, data: unpackMatrices(layout, weights) }],
      logSeverityLevel: 3,
    });
    const definition = /** @type {object} */ (jsonOf(files, facts.tokenizer));
    // Without added tokens, a visitor's text that spells a special token is read as text.
    const tokenizer = new PreTrainedTokenizer({ ...definition, added_tokens: [] }, {});
    return new Encoder(facts, layout, weights, (text) => tokenizer.encode(text), session, ort);
  }

  /**
   * @param {EncoderFacts} facts
   * @param {Layout} layout
   * @param {Uint8Array} weights
   * @param {(text: string) => number[]} tokenize
   * @param {InferenceSession} session
   * @param {Libraries["ort"]} ort
   */
  constructor(facts, layout, weights, tokenize, session, ort) {
    const { dimension, vocabulary, words, positions } = layout;
    this.facts = facts;
    this.dimension = dimension;
    this.tokenize = tokenize;
    this.session = session;
    this.ort = ort;
    // Copies, so that the packed matrices can be freed.
    this.words = weights.slice(words.at, words.at + vocabulary * rowBytes(dimension));
    this.positions = weights.slice(positions.at, positions.at + 2 * positions.count * dimension);
    this.maxTokens = Math.min(facts.max_question_tokens, positions.count);
  }

  /** @param {string} question @returns {Promise<Float32Array>} of unit length */
  async vectorOf(question) {
    const ids = this.tokenIds(question);
    const embeddings = new Float32Array(ids.length * this.dimension);
    for (const [position, id] of ids.entries()) this.#embed(id, position, embeddings);
    const input = new this.ort.Tensor("float32", embeddings, [1, ids.length, this.dimension]);
    const { vector } = await this.session.run({ embeddings: input });
    return /** @type {Float32Array} */ (vector.data);
  }

  /** @param {string} question @returns {number[]} with the special tokens at both ends; a long question loses its end */
  tokenIds(question) {
    const ids = this.tokenize(this.facts.query_prefix + question);
    return ids.length > this.maxTokens ? [...ids.slice(0, this.maxTokens - 1), ids[ids.length - 1]] : ids;
  }

  /** Write the sum of a token's row and its position's row. @param {number} id @param {number} position @param {Float32Array} embeddings */
  #embed(id, position, embeddings) {
    const { dimension, words, positions } = this;
    const target = embeddings.subarray(position * dimension, (position + 1) * dimension);
    let at = id * rowBytes(dimension);
    for (let block = 0; block < dimension; block += BLOCK_VALUES, at += BLOCK_BYTES) {
      const scale = halfAt(words, at);
      for (let index = 0; index < BLOCK_VALUES / 2; index++) {
        const pair = words[at + 2 + index];
        target[block + index] = ((pair & 15) - ZERO_NIBBLE) * scale;
        target[block + index + BLOCK_VALUES / 2] = ((pair >> 4) - ZERO_NIBBLE) * scale;
      }
    }
    for (let index = 0; index < dimension; index++) {
      target[index] += halfAt(positions, 2 * (position * dimension + index));
    }
  }
}

/** @param {Map<string, Uint8Array>} files @param {string} name @returns {Uint8Array} */
export function contentOf(files, name) {
  const content = files.get(name);
  if (!content) throw new Error(`The answers have no file ${name}.`);
  return content;
}

/** @param {Map<string, Uint8Array>} files @param {string} name @returns {unknown} */
export function jsonOf(files, name) {
  const text = new TextDecoder().decode(contentOf(files, name));
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${name} is not JSON; it begins with: ${text.slice(0, 60)}`);
  }
}

/**
 * The buffer that a graph's initializers refer to.
 *
 * @param {Layout} layout
 * @param {Uint8Array} weights content of the encoder's file
 * @returns {Uint8Array}
 */
export function unpackMatrices(layout, weights) {
  const data = new Uint8Array(layout.data_bytes);
  for (const matrix of layout.matrices) unpackMatrix(matrix, weights, data);
  for (const { at, bytes, to } of layout.copies) data.set(weights.subarray(at, at + bytes), to);
  return data;
}

/** @param {Matrix} matrix @param {Uint8Array} weights @param {Uint8Array} data */
function unpackMatrix({ rows, columns, at, levels_at, scales_at }, weights, data) {
  if (at + rows * rowBytes(columns) > weights.length || levels_at + rows * columns > data.length) {
    throw new Error("The encoder's file is shorter than its layout says.");
  }
  const levels = data.subarray(levels_at, levels_at + rows * columns);
  const scales = new Float32Array(data.buffer, scales_at, rows);
  const tile = new Uint8ClampedArray(TILE_ROWS * columns);
  for (let start = 0; start < rows; start += TILE_ROWS) {
    const count = Math.min(TILE_ROWS, rows - start);
    for (let row = 0; row < count; row++) {
      scales[start + row] = unpackRow(weights, at + (start + row) * rowBytes(columns), columns, tile, row * columns);
    }
    transpose(tile, count, columns, levels, rows, start);
  }
}

/** Levels of the 16 nibbles of the current block, as the bytes of int8. */
const table = new Uint8Array(16);

/**
 * Write a row's levels to `tile` from `target` on.
 *
 * @param {Uint8Array} weights
 * @param {number} at
 * @param {number} columns
 * @param {Uint8ClampedArray} tile
 * @param {number} target
 * @returns {number} the step between levels
 */
function unpackRow(weights, at, columns, tile, target) {
  const bound = rowBound(weights, at, columns);
  const step = bound ? Math.fround(bound / MAX_LEVEL) : 1;
  for (let block = 0; block < columns; block += BLOCK_VALUES, at += BLOCK_BYTES) {
    const scale = halfAt(weights, at);
    for (let nibble = 0; nibble < 16; nibble++) {
      const level = Math.floor(((nibble - ZERO_NIBBLE) * scale) / step + 0.5);
      table[nibble] = Math.max(-MAX_LEVEL, Math.min(MAX_LEVEL, level));
    }
    for (let index = 0; index < BLOCK_VALUES / 2; index++) {
      const pair = weights[at + 2 + index];
      tile[target + block + index] = table[pair & 15];
      tile[target + block + index + BLOCK_VALUES / 2] = table[pair >> 4];
    }
  }
  return step;
}

/** @param {Uint8Array} weights @param {number} at @param {number} columns @returns {number} the largest magnitude of a row */
function rowBound(weights, at, columns) {
  let bound = 0;
  for (const end = at + rowBytes(columns); at < end; at += BLOCK_BYTES) {
    let farthest = 0;
    for (let index = at + 2; index < at + BLOCK_BYTES; index++) {
      const pair = weights[index];
      farthest = Math.max(farthest, Math.abs((pair & 15) - ZERO_NIBBLE), Math.abs((pair >> 4) - ZERO_NIBBLE));
    }
    bound = Math.max(bound, farthest * Math.abs(halfAt(weights, at)));
  }
  return bound;
}
