/**
 * Attention of one token, for decoding. Each head's keys are cut into parts that run side by side; the product behind it
 * (product.js) joins them. The token's queries and keys are normed and rotated here, and its keys and values appended to the
 * cache, so that no dispatch is spent on it.
 *
 * @import { Binding } from "./kernels.js"
 * @import { Source } from "./product.js"
 */

import { reads, STATE, sumOf, writes } from "./kernels.js";

const THREADS = 128;

/** Most parts that the keys are cut into, and fewest and most keys of a part. */
export const PARTS = 16;
const FEWEST_KEYS = 32;
const MOST_KEYS = 256;

/** Threads that share a key's score. */
const SHARES = 4;

/**
 * @typedef {object} HeadSizes
 * @property {number} heads
 * @property {number} kvHeads
 * @property {number} headSize
 * @property {number} window
 * @property {number} scale
 * @property {{query: number, key: number, value: number}} at where queries, keys and values begin in their product
 * @property {{query: number | null, key: number | null}} norms epsilons
 */

/** How the keys that a token at `position` attends to are cut into parts. @param {number} window */
export function attentionParts(window) {
  const first = window ? `max(position + 1u, ${window}u) - ${window}u` : "0u";
  return `
struct Parts { first: u32, size: u32, count: u32 }
fn parts_of(position: u32) -> Parts {
  let first = ${first};
  let keys = position + 1u - first;
  let size = max(${FEWEST_KEYS}u, (keys + ${PARTS - 1}u) / ${PARTS}u);
  return Parts(first, size, (keys + size - 1u) / size);
}`;
}

/**
 * What joins the parts of a head: `span_of(head, count)`, its largest score and the sum of all weights relative to it, and
 * `share_of(head, part, span)`, a part's factor. They read `sizes`, and need `attentionParts`.
 */
export const SHARES_OF_PARTS = `
fn span_of(head: u32, count: u32) -> vec2f {
  var largest = -3.4e38;
  for (var part = 0u; part < count; part++) { largest = max(largest, sizes[head * ${PARTS}u + part].x); }
  var total = 0.0;
  for (var part = 0u; part < count; part++) {
    let size = sizes[head * ${PARTS}u + part];
    total += size.y * exp(size.x - largest);
  }
  return vec2f(largest, total);
}
fn share_of(head: u32, part: u32, span: vec2f) -> f32 { return exp(sizes[head * ${PARTS}u + part].x - span.x) / span.y; }`;

/** The number of parts that `attentionParts` makes. @param {number} position @param {number} window */
export function partCount(position, window) {
  const keys = window ? Math.min(window, position + 1) : position + 1;
  return Math.ceil(keys / Math.max(FEWEST_KEYS, Math.ceil(keys / PARTS)));
}

/**
 * `rotate(thread, position, at, norm_at, epsilon, target_at)`: puts a head of `projected` into `rotated` from `target_at` on,
 * normed with the weights in `norms` from `norm_at` on, unless that is negative, and rotated.
 *
 * @param {HeadSizes} sizes
 * @param {number} threads
 */
export function rotationFunction({ headSize, norms }, threads) {
  const half = headSize / 2;
  const hasNorms = norms.query !== null || norms.key !== null;
  const scale = `
  if (norm_at >= 0) {
    var squares = 0.0;
    for (var i = thread; i < ${headSize}u; i += ${threads}u) { squares += projected[at + i] * projected[at + i]; }
    scale = inverseSqrt(total_of(thread, squares) / ${headSize}.0 + epsilon);
  }`;
  const weigh = `
    if (norm_at >= 0) {
      low *= norms[u32(norm_at) + i];
      high *= norms[u32(norm_at) + i + ${half}u];
    }`;
  return `
${sumOf(threads)}
var<workgroup> rotated: array<f32, ${2 * headSize}>;
fn rotate(thread: u32, position: u32, at: u32, norm_at: i32, epsilon: f32, target_at: u32) {
  var scale = 1.0;
  ${hasNorms ? scale : ""}
  for (var i = thread; i < ${half}u; i += ${threads}u) {
    var low = projected[at + i] * scale;
    var high = projected[at + i + ${half}u] * scale;
    ${hasNorms ? weigh : ""}
    let turn = turns[position * ${half}u + i];
    rotated[target_at + i] = low * turn.x - high * turn.y;
    rotated[target_at + i + ${half}u] = high * turn.x + low * turn.y;
  }
  workgroupBarrier();
}`;
}

/** What `rotate` reads. @param {HeadSizes} sizes @returns {Binding[]} */
export function rotationBindings({ norms }) {
  const weights = norms.query !== null || norms.key !== null ? [reads("norms", "array<f32>")] : [];
  return [reads("projected", "array<f32>"), reads("turns", "array<vec2f>"), ...weights];
}

/** Arguments of `rotate` for the norm of queries or keys. @param {HeadSizes} sizes @param {"query" | "key"} part */
export function normArguments({ headSize, norms }, part) {
  const epsilon = norms[part];
  if (epsilon === null) return "-1, 0.0";
  return `${part === "key" && norms.query !== null ? headSize : 0}, ${epsilon}`;
}

/** @param {HeadSizes} sizes @returns {Source} a workgroup for each head and part */
export function attentionSource(sizes) {
  const { heads, kvHeads, headSize, window, scale, at } = sizes;
  const fours = headSize / 4;
  const groups = Math.floor(THREADS / fours);
  const row = kvHeads * fours;
  const code = `
${STATE}
${attentionParts(window)}
${rotationFunction(sizes, THREADS)}
var<workgroup> scores: array<f32, ${MOST_KEYS}>;
var<workgroup> shares: array<f32, ${SHARES * MOST_KEYS}>;
var<workgroup> sums4: array<vec4f, ${THREADS}>;
fn rotated4(i: u32) -> vec4f { return vec4f(rotated[4u * i], rotated[4u * i + 1u], rotated[4u * i + 2u], rotated[4u * i + 3u]); }
fn value4(at: u32) -> vec4f { return vec4f(projected[at], projected[at + 1u], projected[at + 2u], projected[at + 3u]); }
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let position = state[0].position;
  let parts = parts_of(position);
  let head = group.x;
  let kv_head = head / ${heads / kvHeads}u;
  let begin = parts.first + group.y * parts.size;
  let end = min(begin + parts.size, position + 1u);
  let count = end - begin;
  let value_at = ${at.value}u + kv_head * ${headSize}u;
  rotate(thread, position, ${at.query}u + head * ${headSize}u, ${normArguments(sizes, "query")}, 0u);
  rotate(thread, position, ${at.key}u + kv_head * ${headSize}u, ${normArguments(sizes, "key")}, ${headSize}u);
  if (end == position + 1u && head % ${heads / kvHeads}u == 0u) {
    for (var i = thread; i < ${fours}u; i += ${THREADS}u) {
      let to = position * ${row}u + kv_head * ${fours}u + i;
      keys[to] = rotated4(${fours}u + i);
      values[to] = value4(value_at + 4u * i);
    }
  }
  for (var i = thread; i < count * ${SHARES}u; i += ${THREADS}u) {
    let key = begin + i / ${SHARES}u;
    let from_row = key * ${row}u + kv_head * ${fours}u;
    var share = 0.0;
    for (var four = i % ${SHARES}u; four < ${fours}u; four += ${SHARES}u) {
      // Other workgroups may be writing the newest key right now.
      if (key == position) { share += dot(rotated4(four), rotated4(${fours}u + four)); }
      else { share += dot(rotated4(four), keys[from_row + four]); }
    }
    shares[i] = share;
  }
  workgroupBarrier();
  var largest = -3.4e38;
  for (var i = thread; i < count; i += ${THREADS}u) {
    var score = 0.0;
    for (var share = 0u; share < ${SHARES}u; share++) { score += shares[i * ${SHARES}u + share]; }
    scores[i] = score * ${scale};
  }
  workgroupBarrier();
  for (var i = 0u; i < count; i++) { largest = max(largest, scores[i]); }
  var total = 0.0;
  workgroupBarrier();
  for (var i = thread; i < count; i += ${THREADS}u) {
    let weight = exp(scores[i] - largest);
    scores[i] = weight;
    total += weight;
  }
  total = total_of(thread, total);
  let four = thread % ${fours}u;
  var sum = vec4f();
  if (thread < ${groups * fours}u) {
    for (var i = thread / ${fours}u; i < count; i += ${groups}u) {
      let key = begin + i;
      if (key == position) { sum += scores[i] * value4(value_at + 4u * four); }
      else { sum += scores[i] * values[key * ${row}u + kv_head * ${fours}u + four]; }
    }
  }
  sums4[thread] = sum;
  workgroupBarrier();
  if (thread < ${fours}u) {
    for (var i = 1u; i < ${groups}u; i++) { sum += sums4[thread + i * ${fours}u]; }
    attended[(head * ${PARTS}u + group.y) * ${fours}u + thread] = sum;
  }
  if (thread == 0u) { sizes[head * ${PARTS}u + group.y] = vec2f(largest, total); }
}`;
  const bindings = [
    reads("state", "array<State>"),
    ...rotationBindings(sizes),
    writes("keys", "array<vec4f>"),
    writes("values", "array<vec4f>"),
    writes("attended", "array<vec4f>"),
    writes("sizes", "array<vec2f>"),
  ];
  return { name: "attention", bindings, code, groups: heads };
}

/**
 * Joins the parts of attention in a dispatch of its own, where the product behind it has too little memory to do so.
 *
 * @param {HeadSizes} sizes
 * @returns {Source} a workgroup for each head
 */
export function joinSource({ heads, headSize, window }) {
  const fours = headSize / 4;
  const threads = 64;
  const code = `
${STATE}
${attentionParts(window)}
${SHARES_OF_PARTS}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let parts = parts_of(state[0].position);
  let span = span_of(group.x, parts.count);
  for (var i = thread; i < ${fours}u; i += ${threads}u) {
    var value = vec4f();
    for (var part = 0u; part < parts.count; part++) {
      value += share_of(group.x, part, span) * attended[(group.x * ${PARTS}u + part) * ${fours}u + i];
    }
    joined[group.x * ${fours}u + i] = value;
  }
}`;
  const bindings = [
    reads("state", "array<State>"),
    reads("attended"),
    reads("sizes", "array<vec2f>"),
    writes("joined", "array<vec4f>"),
  ];
  return { name: "join", bindings, code, groups: heads };
}
