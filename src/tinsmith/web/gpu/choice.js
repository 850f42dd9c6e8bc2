/**
 * The first and last dispatch of a token: its row of the embedding, and the choice of the next one.
 *
 * @import { Placed } from "./buffers.js"
 * @import { Source } from "./product.js"
 */

import { reads, STATE, writes } from "./kernels.js";
import { BEST } from "./product.js";
import { matrixFunctions } from "./weights.js";

const THREADS = 256;
const EMBED_THREADS = 64;

/** Most tokens to choose among. */
export const MOST_TOP = 64;

/**
 * Rows of the embedding.
 *
 * @param {Placed} placed
 * @param {number} scale
 * @returns {Source} its size is 1; the other one in tokens
 */
export function embedSource(placed, scale) {
  const { columns } = placed.matrix;
  const code = `
${matrixFunctions("rows", placed)}
@compute @workgroup_size(${EMBED_THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = tokens[group.y];
  for (var i = thread; i < ${columns / 4}u; i += ${EMBED_THREADS}u) {
    let block = i / 8u;
    let centred = four_rows(row * ${columns / 32}u + block, i % 8u) - zero_rows(row, block);
    stream[group.y * ${columns / 4}u + i] = centred * scale_rows(row, block) * ${scale};
  }
}`;
  const bindings = [
    reads("tokens", "array<u32>"),
    reads("wide", "array<vec4u>"),
    reads("words", "array<u32>"),
    writes("stream", "array<vec4f>"),
  ];
  return { name: "embed", bindings, code, groups: 1 };
}

const RECORD = `
fn record(token: u32) {
  tokens[0] = token;
  chosen[state[0].step] = token;
  state[0].step += 1u;
  state[0].position += 1u;
}`;

const CHOICE_BINDINGS = [
  writes("state", "array<State>"),
  writes("tokens", "array<u32>"),
  writes("chosen", "array<u32>"),
];

/**
 * The most likely token, the first one where several are.
 *
 * @param {number} candidates number of workgroups of the head
 * @returns {Source}
 */
export function greedySource(candidates) {
  const code = `
${STATE}
${BEST}
${RECORD}
var<workgroup> lead: array<Best, ${THREADS}>;
fn better(one: Best, other: Best) -> bool {
  return one.value > other.value || (one.value == other.value && one.row < other.row);
}
@compute @workgroup_size(${THREADS})
fn main(@builtin(local_invocation_index) thread: u32) {
  var best = Best(-3.4e38, 0xffffffffu);
  for (var i = thread; i < ${candidates}u; i += ${THREADS}u) { if (better(bests[i], best)) { best = bests[i]; } }
  lead[thread] = best;
  workgroupBarrier();
  for (var half = ${THREADS / 2}u; half > 0u; half >>= 1u) {
    if (thread < half && better(lead[thread + half], lead[thread])) { lead[thread] = lead[thread + half]; }
    workgroupBarrier();
  }
  if (thread == 0u) { record(lead[0].row); }
}`;
  return { name: "greedy", bindings: [...CHOICE_BINDINGS, reads("bests", "array<Best>")], code, groups: 1 };
}

/**
 * One of the `top` most likely tokens, each as likely as its logit over the temperature says. The same seed chooses the same
 * tokens.
 *
 * The logit of the last of them is found byte by byte: floats are ordered like integers once their signs are turned.
 *
 * @param {number} vocabulary
 * @returns {Source}
 */
export function sampleSource(vocabulary) {
  const code = `
${STATE}
${RECORD}
var<workgroup> counts: array<atomic<u32>, 256>;
var<workgroup> prefix: u32;
var<workgroup> wanted: u32;
var<workgroup> found: atomic<u32>;
var<workgroup> rows: array<u32, ${MOST_TOP}>;
var<workgroup> ordered: array<u32, ${MOST_TOP}>;
fn key_of(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}
fn random(seed: u32, step: u32) -> f32 {
  var x = (seed ^ (step * 0x9e3779b9u)) * 747796405u + 2891336453u;
  x = ((x >> ((x >> 28u) + 4u)) ^ x) * 277803737u;
  x = (x >> 22u) ^ x;
  return f32(x >> 8u) / 16777216.0;
}
fn collect(thread: u32, least: u32, exactly: bool) {
  for (var row = thread; row < ${vocabulary}u; row += ${THREADS}u) {
    let key = key_of(logits[row]);
    if (select(key > least, key == least, exactly)) {
      let place = atomicAdd(&found, 1u);
      if (place < min(state[0].top, ${MOST_TOP}u)) { rows[place] = row; }
    }
  }
  workgroupBarrier();
}
@compute @workgroup_size(${THREADS})
fn main(@builtin(local_invocation_index) thread: u32) {
  if (thread == 0u) { prefix = 0u; wanted = min(min(state[0].top, ${MOST_TOP}u), ${vocabulary}u); atomicStore(&found, 0u); }
  for (var shift = 24i; shift >= 0i; shift -= 8i) {
    atomicStore(&counts[thread], 0u);
    workgroupBarrier();
    let mask = select(0xffffffffu << u32(shift + 8i), 0u, shift == 24i);
    for (var row = thread; row < ${vocabulary}u; row += ${THREADS}u) {
      let key = key_of(logits[row]);
      if ((key & mask) == prefix) { atomicAdd(&counts[(key >> u32(shift)) & 255u], 1u); }
    }
    workgroupBarrier();
    if (thread == 0u) {
      var rest = wanted;
      for (var byte = 255i; byte >= 0i; byte--) {
        let count = atomicLoad(&counts[byte]);
        if (count >= rest) { prefix |= u32(byte) << u32(shift); break; }
        rest -= count;
      }
      wanted = rest;
    }
    workgroupBarrier();
  }
  let least = prefix;
  collect(thread, least, false);
  collect(thread, least, true);
  let count = min(min(state[0].top, ${MOST_TOP}u), ${vocabulary}u);
  if (thread < count) {
    // Threads collect rows in any order.
    let row = rows[thread];
    var rank = 0u;
    for (var i = 0u; i < count; i++) {
      let other = rows[i];
      if (logits[other] > logits[row] || (logits[other] == logits[row] && other < row)) { rank += 1u; }
    }
    ordered[rank] = row;
  }
  workgroupBarrier();
  if (thread != 0u) { return; }
  let largest = logits[ordered[0]];
  var total = 0.0;
  for (var i = 0u; i < count; i++) { total += exp((logits[ordered[i]] - largest) / state[0].temperature); }
  var rest = random(state[0].seed, state[0].step) * total;
  var choice = ordered[0];
  for (var i = 0u; i < count; i++) {
    choice = ordered[i];
    rest -= exp((logits[ordered[i]] - largest) / state[0].temperature);
    if (rest < 0.0) { break; }
  }
  record(choice);
}`;
  return { name: "sample", bindings: [...CHOICE_BINDINGS, reads("logits", "array<f32>")], code, groups: 1 };
}
