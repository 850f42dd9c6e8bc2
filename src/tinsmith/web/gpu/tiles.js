/**
 * Kernels that read a prompt: products of a tile of tokens with a tile of rows, whose weights are unpacked once for all of
 * them, and what lies between the products.
 *
 * @import { Placed } from "./buffers.js"
 * @import { HeadSizes } from "./attention.js"
 * @import { Source } from "./product.js"
 */

import { normArguments, rotationBindings, rotationFunction } from "./attention.js";
import { reads, STATE, sumOf, writes } from "./kernels.js";
import { activationFunction } from "./product.js";
import { runtimeMatrixFunctions } from "./weights.js";

const THREADS = 128;

/** Tokens and rows of a product's tile. */
export const TILE_TOKENS = 32;
export const TILE_ROWS = 64;

/** Queries and keys of a tile of attention. */
export const QUERIES = 16;
const KEYS = 32;

/** Four lines of WGSL. @param {(index: number) => string} line */
const unrolled = (line) => [0, 1, 2, 3].map(line).join("\n  ");

/** Four numbers at a time of the head that a score is summed over. */
const SLICE = 8;

/**
 * The product with one matrix. Its sizes and places are read from `shape`, so that all matrices of a format share a kernel;
 * `tileShape` makes it.
 *
 * @param {4 | 8} bits
 * @returns {Source} the sizes of its dispatches are tiles of rows, and tiles of tokens
 */
export function tileProductSource(bits) {
  const code = `
${STATE}
${SHAPE}
${runtimeMatrixFunctions(bits)}
var<workgroup> inputs: array<vec4f, ${8 * TILE_TOKENS}>;
var<workgroup> weights: array<vec4f, ${8 * TILE_ROWS}>;
fn put(token: u32, first_row: u32, sums: vec4f) {
  if (token >= state[0].count) { return; }
  for (var i = 0u; i < 4u; i++) {
    let row = first_row + 16u * i;
    if (row >= shape[0].rows) { return; }
    let at = token * shape[0].width + shape[0].result_at + row;
    var value = sums[i];
    if (shape[0].adds != 0u) { value += result[at]; }
    if (shape[0].has_bias != 0u) { value += bias[shape[0].result_at + row]; }
    result[at] = value;
  }
}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let first_row = group.x * ${TILE_ROWS}u;
  let first_token = group.y * ${TILE_TOKENS}u;
  let count = state[0].count;
  let blocks = shape[0].blocks;
  let column = thread % 16u;
  let own_token = first_token + 4u * (thread / 16u);
  ${unrolled((i) => `var sum${i} = vec4f();`)}
  for (var block = 0u; block < blocks; block++) {
    for (var i = thread; i < ${8 * TILE_TOKENS}u; i += ${THREADS}u) {
      let token = first_token + i / 8u;
      if (token < count) { inputs[(i % 8u) * ${TILE_TOKENS}u + i / 8u] = x[(token * blocks + block) * 8u + i % 8u]; }
    }
    for (var i = thread; i < ${8 * TILE_ROWS}u; i += ${THREADS}u) {
      let row = first_row + i / 8u;
      if (row < shape[0].rows) { weights[(i % 8u) * ${TILE_ROWS}u + i / 8u] = weights_of(row, block, i % 8u); }
    }
    workgroupBarrier();
    if (own_token < count) {
      for (var part = 0u; part < 8u; part++) {
        let at = part * ${TILE_ROWS}u + column;
        ${unrolled((i) => `let w${i} = weights[at + ${16 * i}u];`)}
        let from_token = part * ${TILE_TOKENS}u + own_token - first_token;
        ${unrolled((i) => `let v${i} = inputs[from_token + ${i}u];`)}
        ${unrolled((i) => `sum${i} += vec4f(dot(v${i}, w0), dot(v${i}, w1), dot(v${i}, w2), dot(v${i}, w3));`)}
      }
    }
    workgroupBarrier();
  }
  ${unrolled((i) => `put(own_token + ${i}u, first_row + column, sum${i});`)}
}`;
  const bindings = [
    reads("state", "array<State>"),
    reads("shape", "array<Shape>"),
    reads("x"),
    reads("wide", "array<vec4u>"),
    reads("words", "array<u32>"),
    writes("result"),
    reads("bias", "array<f32>"),
  ];
  return { name: "tile product", bindings, code, groups: 1 };
}

const SHAPE = `struct Shape {
  rows: u32, blocks: u32, width: u32, result_at: u32, packed_at: u32, scales_at: u32, zeros_at: u32, adds: u32, has_bias: u32
}`;

/**
 * @param {Placed} placed
 * @param {{width: number, resultAt: number, adds: boolean, hasBias: boolean}} output `width` numbers for each token, of which
 *   the matrix's begin at `resultAt`; whether they are added to what is there
 * @returns {Uint32Array<ArrayBuffer>}
 */
export function tileShape({ matrix, packedAt, scalesAt, zerosAt }, { width, resultAt, adds, hasBias }) {
  const { rows, columns } = matrix;
  return Uint32Array.of(
    rows,
    columns / 32,
    width,
    resultAt,
    packedAt / 4,
    scalesAt,
    zerosAt,
    Number(adds),
    Number(hasBias),
  );
}

/**
 * The norm of every token's stream; a normed change is added to the stream first if `post` is the epsilon of its norm.
 *
 * @param {number} columns
 * @param {number} epsilon
 * @param {number | null} post
 * @returns {Source} its size is 1; the other one in tokens
 */
export function tileNormSource(columns, epsilon, post) {
  const fours = columns / 4;
  const add = `
  var change_squares = 0.0;
  for (var i = thread; i < ${fours}u; i += ${THREADS}u) { change_squares += dot(change[at + i], change[at + i]); }
  let change_scale = inverseSqrt(total_of(thread, change_squares) / ${columns}.0 + ${post});`;
  const code = `
${sumOf(THREADS)}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let at = group.y * ${fours}u;
  ${post === null ? "" : add}
  var squares = 0.0;
  for (var i = thread; i < ${fours}u; i += ${THREADS}u) {
    ${post === null ? "" : `stream[at + i] += change[at + i] * change_scale * norms[${fours}u + i];`}
    squares += dot(stream[at + i], stream[at + i]);
  }
  let scale = inverseSqrt(total_of(thread, squares) / ${columns}.0 + ${epsilon});
  for (var i = thread; i < ${fours}u; i += ${THREADS}u) { result[at + i] = stream[at + i] * scale * norms[i]; }
}`;
  const bindings = [
    writes("stream", "array<vec4f>"),
    reads("norms"),
    writes("result", "array<vec4f>"),
    ...(post === null ? [] : [reads("change")]),
  ];
  return { name: "tile norm", bindings, code, groups: 1 };
}

/**
 * The activation of the gate, times the other half.
 *
 * @param {number} inner
 * @param {{gate: number, up: number}} at
 * @param {string} activation
 * @returns {Source} its size is in `inner`; the other one in tokens
 */
export function tileGateSource(inner, at, activation) {
  const code = `
${activationFunction(activation)}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let i = group.x * ${THREADS}u + thread;
  if (i >= ${inner}u) { return; }
  let from_row = group.y * ${2 * inner}u + i;
  result[group.y * ${inner}u + i] = activation(both[from_row + ${at.gate}u]) * both[from_row + ${at.up}u];
}`;
  const bindings = [reads("both", "array<f32>"), writes("result")];
  return { name: "tile gate", bindings, code, groups: Math.ceil(inner / THREADS) };
}

/**
 * Norms and rotates the heads of queries and keys, and appends keys and values to the cache.
 *
 * @param {HeadSizes} sizes
 * @returns {Source} a workgroup for each head of queries and of keys; the other size is in tokens
 */
export function tileRotationSource(sizes) {
  const { heads, kvHeads, headSize, at } = sizes;
  const width = (heads + 2 * kvHeads) * headSize;
  const threads = 64;
  const code = `
${STATE}
${rotationFunction(sizes, threads)}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let position = state[0].position + group.y;
  let row = group.y * ${width}u;
  if (group.x < ${heads}u) {
    rotate(thread, position, row + ${at.query}u + group.x * ${headSize}u, ${normArguments(sizes, "query")}, 0u);
    let to = (group.y * ${heads}u + group.x) * ${headSize}u;
    for (var i = thread; i < ${headSize}u; i += ${threads}u) { queries[to + i] = rotated[i]; }
    return;
  }
  let head = group.x - ${heads}u;
  rotate(thread, position, row + ${at.key}u + head * ${headSize}u, ${normArguments(sizes, "key")}, 0u);
  let to = (position * ${kvHeads}u + head) * ${headSize}u;
  for (var i = thread; i < ${headSize}u; i += ${threads}u) {
    keys[to + i] = rotated[i];
    values[to + i] = projected[row + ${at.value}u + head * ${headSize}u + i];
  }
}`;
  const bindings = [
    reads("state", "array<State>"),
    ...rotationBindings(sizes),
    writes("queries"),
    writes("keys"),
    writes("values"),
  ];
  return { name: "tile rotation", bindings, code, groups: heads + kvHeads };
}

/**
 * Attention of a tile of queries of one head, over tiles of keys: sums are rescaled whenever a larger score turns up, so no
 * scores are kept.
 *
 * Source: M. Milakov and N. Gimelshein, Online normalizer calculation for softmax, 2018.
 *
 * @param {HeadSizes} sizes
 * @returns {Source} a workgroup for each head; the other size is in tiles of queries
 */
export function tileAttentionSource({ heads, kvHeads, headSize, window, scale }) {
  const fours = headSize / 4;
  const lines = Math.floor(THREADS / fours);
  const each = Math.ceil(QUERIES / lines);
  const first = window ? `max(first_position + 1u, ${window}u) - ${window}u` : "0u";
  const isSeen = `key <= position${window ? ` && key + ${window}u > position` : ""}`;
  const code = `
${STATE}
var<workgroup> query_slice: array<vec4f, ${QUERIES * SLICE}>;
var<workgroup> key_slice: array<vec4f, ${KEYS * SLICE}>;
var<workgroup> weights: array<f32, ${QUERIES * KEYS}>;
var<workgroup> largest: array<f32, ${QUERIES}>;
var<workgroup> factors: array<f32, ${QUERIES}>;
var<workgroup> totals: array<f32, ${QUERIES}>;
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let head = group.x;
  let kv_head = head / ${heads / kvHeads}u;
  let first_query = group.y * ${QUERIES}u;
  let count = min(${QUERIES}u, state[0].count - first_query);
  let first_position = state[0].position + first_query;
  let end = first_position + count;
  let query = thread / 8u;
  let column = thread % 8u;
  let position = first_position + query;
  let four = thread % ${fours}u;
  let line = thread / ${fours}u;
  var sums: array<vec4f, ${each}>;
  if (thread < ${QUERIES}u) { largest[thread] = -1e30; totals[thread] = 0.0; }
  for (var begin = ${first}; begin < end; begin += ${KEYS}u) {
    var scores = vec4f();
    for (var slice = 0u; slice < ${fours}u; slice += ${SLICE}u) {
      for (var i = thread; i < ${QUERIES * SLICE}u; i += ${THREADS}u) {
        let at = slice + i % ${SLICE}u;
        var value = vec4f();
        if (i / ${SLICE}u < count && at < ${fours}u) {
          value = queries[((first_query + i / ${SLICE}u) * ${heads}u + head) * ${fours}u + at];
        }
        query_slice[(i % ${SLICE}u) * ${QUERIES}u + i / ${SLICE}u] = value;
      }
      for (var i = thread; i < ${KEYS * SLICE}u; i += ${THREADS}u) {
        let at = slice + i % ${SLICE}u;
        let key = begin + i / ${SLICE}u;
        var value = vec4f();
        if (key < end && at < ${fours}u) { value = keys[(key * ${kvHeads}u + kv_head) * ${fours}u + at]; }
        key_slice[(i % ${SLICE}u) * ${KEYS}u + i / ${SLICE}u] = value;
      }
      workgroupBarrier();
      for (var i = 0u; i < ${SLICE}u; i++) {
        let q = query_slice[i * ${QUERIES}u + query];
        let at = i * ${KEYS}u + column;
        scores += vec4f(dot(q, key_slice[at]), dot(q, key_slice[at + 8u]), dot(q, key_slice[at + 16u]), dot(q, key_slice[at + 24u]));
      }
      workgroupBarrier();
    }
    for (var j = 0u; j < 4u; j++) {
      let key = begin + column + 8u * j;
      weights[query * ${KEYS}u + column + 8u * j] = select(-1e30, scores[j] * ${scale}, ${isSeen});
    }
    workgroupBarrier();
    if (thread < ${QUERIES}u) {
      var most = largest[thread];
      for (var i = 0u; i < ${KEYS}u; i++) { most = max(most, weights[thread * ${KEYS}u + i]); }
      factors[thread] = exp(largest[thread] - most);
      largest[thread] = most;
    }
    workgroupBarrier();
    for (var j = 0u; j < 4u; j++) {
      let at = query * ${KEYS}u + column + 8u * j;
      let key = begin + column + 8u * j;
      weights[at] = select(0.0, exp(weights[at] - largest[query]), ${isSeen});
    }
    workgroupBarrier();
    if (thread < ${QUERIES}u) {
      var total = totals[thread] * factors[thread];
      for (var i = 0u; i < ${KEYS}u; i++) { total += weights[thread * ${KEYS}u + i]; }
      totals[thread] = total;
    }
    for (var j = 0u; j < ${each}u; j++) {
      let own = line + j * ${lines}u;
      if (own < ${QUERIES}u) { sums[j] *= factors[own]; }
    }
    let keys_here = min(${KEYS}u, end - begin);
    for (var i = 0u; i < keys_here; i++) {
      let value = values[((begin + i) * ${kvHeads}u + kv_head) * ${fours}u + four];
      for (var j = 0u; j < ${each}u; j++) {
        let own = line + j * ${lines}u;
        if (own < ${QUERIES}u) { sums[j] += weights[own * ${KEYS}u + i] * value; }
      }
    }
    workgroupBarrier();
  }
  for (var j = 0u; j < ${each}u; j++) {
    let own = line + j * ${lines}u;
    if (own < count && line < ${lines}u) {
      attended[((first_query + own) * ${heads}u + head) * ${fours}u + four] = sums[j] / totals[own];
    }
  }
}`;
  const bindings = [
    reads("state", "array<State>"),
    reads("queries"),
    reads("keys"),
    reads("values"),
    writes("attended", "array<vec4f>"),
  ];
  return { name: "tile attention", bindings, code, groups: heads };
}
