/**
 * Products of one token's vector with matrices, for decoding: a few lanes for each row, with what comes before the product (a
 * norm, or joining the parts of attention) and behind it (an activation, a sum) in the same dispatch.
 *
 * @import { Placed } from "./buffers.js"
 * @import { Binding, Features } from "./kernels.js"
 */

import { attentionParts, PARTS, SHARES_OF_PARTS } from "./attention.js";
import { MAX_ENDS, reads, STATE, sumOf, writes } from "./kernels.js";
import { byMatrix, dotFunction, matrixFunctions } from "./weights.js";

export const THREADS = 128;

/** Passes of the head's workgroups, each of which norms its input once. */
const HEAD_PASSES = 4;

/** A workgroup's memory for other things than its input, in bytes. */
const OTHER_BYTES = 2048;

/** A token and its logit. */
export const BEST = "struct Best { value: f32, row: u32 }";

/**
 * @typedef {object} Product
 * @property {string} name
 * @property {Placed[]} placed matrices with the same input
 * @property {{kind: "norm", epsilon: number, post: number | null, keeps: boolean} | {kind: "attention", heads: number, headSize: number, window: number} | {kind: "plain"}} input
 *   the norm of the stream, to which a change is added first if `post` is the epsilon of the change's own norm (and the sum is
 *   kept as the new stream if `keeps`); the parts of attention; or a vector as it is
 * @property {{kind: "store", hasBias: boolean} | {kind: "add"} | {kind: "gated", activation: string, gate: number, up: number} | {kind: "logits", refined: Placed | null, placesAt: number}} output
 *
 * @typedef {{name: string, bindings: Binding[], code: string, groups: number}} Source a kernel and its number of workgroups
 */

/** @param {Product} product @returns {number} */
function rowsOf({ placed, output }) {
  const rows = placed.reduce((sum, { matrix }) => sum + matrix.rows, 0);
  return output.kind === "gated" ? rows / 2 : rows;
}

/**
 * Lanes that share a row: about one for each block, in powers of two.
 *
 * @param {number} blocks
 * @param {Features} features
 */
function lanesFor(blocks, { subgroupLanes }) {
  const wanted = Math.min(32, 2 ** Math.floor(Math.log2(Math.max(4, blocks))));
  return subgroupLanes ? Math.min(wanted, subgroupLanes) : Math.min(wanted, 16);
}

/**
 * Whether a workgroup's memory has room for its input. At WebGPU's least, 16 KB, it has for 3,584 columns.
 *
 * @param {Product["input"]} input
 * @param {number} columns
 * @param {Features} features
 */
export function hasRoom(input, columns, { workgroupBytes }) {
  const shares = input.kind === "attention" ? input.heads * PARTS : 0;
  return 4 * (columns + shares) + OTHER_BYTES <= workgroupBytes;
}

/** @param {Product} product @param {Features} features @returns {Source} */
export function productSource(product, features) {
  const { name, placed, input, output } = product;
  const { columns } = placed[0].matrix;
  const lanes = lanesFor(columns / 32, features);
  const slots = THREADS / lanes;
  const passes = output.kind === "logits" ? HEAD_PASSES : 1;
  const rows = rowsOf(product);
  const prologue = PROLOGUES[input.kind](/** @type {any} */ (input), columns, hasRoom(input, columns, features));
  const epilogue = epilogueOf(output, slots);
  const width = output.kind === "gated" ? 2 : 1;
  const code = `
${STATE}
${prologue.code}
${placed.map((one, index) => matrixFunctions(`m${index}`, one) + dotFunction(`m${index}`, one, lanes)).join("")}
fn row_dot(row: u32, lane: u32) -> f32 {
  ${byMatrix(placed, (matrix, row) => `return dot_${matrix}(${row}, lane);`)}
  return 0.0;
}
${epilogue.code(lanes)}
${features.subgroupLanes ? "" : `var<workgroup> shares: array<f32, ${THREADS * width}>;`}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  ${prologue.call}
  let lane = thread % ${lanes}u;
  let slot = thread / ${lanes}u;
  ${epilogue.begin}
  for (var pass_index = 0u; pass_index < ${passes}u; pass_index++) {
    let row = (group.x * ${passes}u + pass_index) * ${slots}u + slot;
    ${sharesOf(epilogue.sums)}
    if (row < ${rows}u) { ${epilogue.sums.map((sum, index) => `share${index} = ${sum};`).join(" ")} }
    ${reduction(width, lanes, features)}
    if (lane == 0u && row < ${rows}u) { ${epilogue.finish} }
  }
  ${epilogue.end}
}`;
  const bindings = [
    ...prologue.bindings,
    reads("wide", "array<vec4u>"),
    reads("words", "array<u32>"),
    ...epilogue.bindings,
  ];
  return { name, bindings, code, groups: Math.ceil(rows / (slots * passes)) };
}

/** @param {string[]} sums */
function sharesOf(sums) {
  return sums.map((_, index) => `var share${index} = 0.0;`).join(" ");
}

/** Adds the shares of a row's lanes; the first of them has the sum. @param {number} width @param {number} lanes @param {Features} features */
function reduction(width, lanes, { subgroupLanes }) {
  const each = (/** @type {(index: number) => string} */ line) =>
    Array.from({ length: width }, (_, i) => line(i)).join("\n    ");
  if (subgroupLanes) {
    let text = "";
    for (let mask = lanes / 2; mask >= 1; mask /= 2) {
      text += `${each((i) => `share${i} += subgroupShuffleXor(share${i}, ${mask}u);`)}\n    `;
    }
    return text;
  }
  return `workgroupBarrier();
    ${each((i) => `shares[thread + ${i * THREADS}u] = share${i};`)}
    workgroupBarrier();
    if (lane == 0u) {
      for (var i = 1u; i < ${lanes}u; i++) { ${each((i) => `share${i} += shares[thread + i + ${i * THREADS}u];`)} }
    }`;
}

const PROLOGUES = {
  /**
   * Without room for the normed input, every lane norms what it reads.
   *
   * @param {{epsilon: number, post: number | null, keeps: boolean}} input
   * @param {number} columns
   * @param {boolean} fits
   */
  norm({ epsilon, post, keeps }, columns, fits) {
    const fours = columns / 4;
    const changed = post !== null;
    const add = `
  var change_squares = 0.0;
  for (var i = thread; i < ${fours}u; i += ${THREADS}u) { change_squares += dot(change[i], change[i]); }
  change_scale = inverseSqrt(total_of(thread, change_squares) / ${columns}.0 + ${Number(post)});`;
    const code = `
${sumOf(THREADS)}
var<private> scale: f32;
${changed ? "var<private> change_scale: f32;" : ""}
${fits ? `var<workgroup> x: array<vec4f, ${fours}>;` : ""}
fn value4(i: u32) -> vec4f { return stream_in[i]${changed ? ` + change[i] * change_scale * norms[${fours}u + i]` : ""}; }
fn x4(i: u32) -> vec4f { return ${fits ? "x[i]" : "value4(i) * scale * norms[i]"}; }
fn prepare(thread: u32, is_first: bool) {
  ${changed ? add : ""}
  var squares = 0.0;
  for (var i = thread; i < ${fours}u; i += ${THREADS}u) {
    let value = value4(i);
    ${keeps ? "if (is_first) { stream_out[i] = value; }" : ""}
    ${fits ? "x[i] = value;" : ""}
    squares += dot(value, value);
  }
  scale = inverseSqrt(total_of(thread, squares) / ${columns}.0 + ${epsilon});
  ${fits ? `for (var i = thread; i < ${fours}u; i += ${THREADS}u) { x[i] = x[i] * scale * norms[i]; }` : ""}
  workgroupBarrier();
}`;
    const more = [...(changed ? [reads("change")] : []), ...(keeps ? [writes("stream_out", "array<vec4f>")] : [])];
    return { code, call: "prepare(thread, group.x == 0u);", bindings: [reads("stream_in"), reads("norms"), ...more] };
  },

  /** @param {{heads: number, headSize: number, window: number}} input @param {number} columns */
  attention({ heads, headSize, window }, columns) {
    const code = `
${attentionParts(window)}
${SHARES_OF_PARTS}
var<workgroup> x: array<vec4f, ${columns / 4}>;
var<workgroup> shares_of_parts: array<f32, ${heads * PARTS}>;
fn x4(i: u32) -> vec4f { return x[i]; }
fn prepare(thread: u32) {
  let parts = parts_of(state[0].position);
  for (var head = thread; head < ${heads}u; head += ${THREADS}u) {
    let span = span_of(head, parts.count);
    for (var part = 0u; part < parts.count; part++) {
      shares_of_parts[head * ${PARTS}u + part] = share_of(head, part, span);
    }
  }
  workgroupBarrier();
  for (var i = thread; i < ${columns / 4}u; i += ${THREADS}u) {
    let head = i / ${headSize / 4}u;
    var value = vec4f();
    for (var part = 0u; part < parts.count; part++) {
      let at = (head * ${PARTS}u + part) * ${headSize / 4}u + i % ${headSize / 4}u;
      value += shares_of_parts[head * ${PARTS}u + part] * attended[at];
    }
    x[i] = value;
  }
  workgroupBarrier();
}`;
    const bindings = [reads("state", "array<State>"), reads("attended"), reads("sizes", "array<vec2f>")];
    return { code, call: "prepare(thread);", bindings };
  },

  plain() {
    return { code: "fn x4(i: u32) -> vec4f { return x[i]; }", call: "", bindings: [reads("x")] };
  },
};

/** @param {Product["output"]} output @param {number} slots */
function epilogueOf(output, slots) {
  const none = { code: () => "", begin: "", end: "", sums: ["row_dot(row, lane)"] };
  if (output.kind === "add") return { ...none, finish: "result[row] += share0;", bindings: [writes("result")] };
  if (output.kind === "store") {
    const bias = output.hasBias ? " + bias[row]" : "";
    const more = output.hasBias ? [reads("bias", "array<f32>")] : [];
    return { ...none, finish: `result[row] = share0${bias};`, bindings: [writes("result"), ...more] };
  }
  if (output.kind === "gated") {
    return {
      ...none,
      code: () => activationFunction(output.activation),
      sums: [`row_dot(row + ${output.gate}u, lane)`, `row_dot(row + ${output.up}u, lane)`],
      finish: "result[row] = activation(share0) * share1;",
      bindings: [writes("result")],
    };
  }
  return { ...none, ...logitsOf(output, slots) };
}

/**
 * Logits, and the most likely token of each workgroup. Refined rows and their places lie behind the head in its buffer.
 *
 * @param {{refined: Placed | null, placesAt: number}} output
 * @param {number} slots
 */
function logitsOf({ refined, placesAt }, slots) {
  const last = refined ? refined.matrix.rows - 1 : 0;
  const refine = (/** @type {number} */ lanes) =>
    refined ? matrixFunctions("refined", refined) + dotFunction("refined", refined, lanes) : "";
  return {
    code: (/** @type {number} */ lanes) => `
${BEST}
${refine(lanes)}
var<workgroup> best_values: array<f32, ${slots}>;
var<workgroup> best_rows: array<u32, ${slots}>;
fn refined_dot(row: u32, lane: u32) -> f32 {
  ${refined ? `let place = words[${placesAt}u + row]; if (place != ${last}u) { return dot_refined(place, lane); }` : ""}
  return 0.0;
}
fn is_ruled_out(row: u32) -> bool {
  if (state[0].step >= state[0].least) { return false; }
  for (var i = 0u; i < ${MAX_ENDS}u; i++) { if (state[0].ends[i] == row) { return true; } }
  return false;
}`,
    sums: ["row_dot(row, lane) + refined_dot(row, lane)"],
    begin: "var best = -3.4e38; var best_row = 0u;",
    finish: `let value = select(share0, -3.4e38, is_ruled_out(row));
      result[row] = value;
      if (value > best) { best = value; best_row = row; }`,
    end: `
  workgroupBarrier();
  if (lane == 0u) { best_values[slot] = best; best_rows[slot] = best_row; }
  workgroupBarrier();
  if (thread == 0u) {
    for (var i = 1u; i < ${slots}u; i++) {
      if (best_values[i] > best || (best_values[i] == best && best_rows[i] < best_row)) {
        best = best_values[i]; best_row = best_rows[i];
      }
    }
    bests[group.x] = Best(best, best_row);
  }`,
    bindings: [writes("result"), writes("bests", "array<Best>"), reads("state", "array<State>")],
  };
}

/** @param {string} activation */
export function activationFunction(activation) {
  const body =
    activation === "silu"
      ? "return x / (1.0 + exp(-x));"
      : "return 0.5 * x * (1.0 + tanh(clamp(0.7978845608 * x * (1.0 + 0.044715 * x * x), -15.0, 15.0)));";
  return `fn activation(x: f32) -> f32 { ${body} }`;
}
