/**
 * WGSL that reads weights in blocks: `weights_<n>(block_index, ...)` of a buffer bound twice, as `wide` (four words at once) and
 * as `words`.
 *
 * @import { Placed } from "./buffers.js"
 */

import { BLOCK } from "./plan.js";

/** Words of packed integers in a block. @param {4 | 8} bits */
const wordsIn = (bits) => (BLOCK * bits) / 32;

/** @param {number} word byte offsets are multiples of 16 @returns {number} index in an array of vec4u */
const wideIndex = (word) => word / 4;

/**
 * Functions for one matrix of a buffer:
 * - `scale_<name>(row, block)` and `zero_<name>(row, block)`;
 * - `four_<name>(block_at, part)`: weights 4 x part to 4 x part + 3 of a block as whole numbers, its zero point not taken off.
 *
 * @param {string} name
 * @param {Placed} placed
 */
export function matrixFunctions(name, { matrix, packedAt, scalesAt, zerosAt }) {
  const { bits, columns } = matrix;
  const blocks = columns / BLOCK;
  const zeroBytes = Math.ceil(blocks / 2);
  const zero =
    bits === 8
      ? "return 128.0;"
      : `let at = row * ${zeroBytes}u + block / 2u;
  let shift = 8u * (at % 4u) + 4u * (block % 2u);
  return f32((words[${zerosAt}u + at / 4u] >> shift) & 15u);`;
  const four =
    bits === 8
      ? `let word = wide[${wideIndex(packedAt)}u + 2u * block_at + part / 4u][part % 4u];
  return vec4f((vec4u(word) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u));`
      : `let word = wide[${wideIndex(packedAt)}u + block_at][part / 2u];
  return vec4f((vec4u(word) >> (vec4u(0u, 4u, 8u, 12u) + vec4u(16u * (part % 2u)))) & vec4u(15u));`;
  return `
fn scale_${name}(row: u32, block: u32) -> f32 {
  let at = row * ${blocks}u + block;
  return unpack2x16float(words[${scalesAt}u + at / 2u])[at % 2u];
}
fn zero_${name}(row: u32, block: u32) -> f32 {
  ${zero}
}
fn four_${name}(block_at: u32, part: u32) -> vec4f {
  ${four}
}`;
}

/**
 * `dot_<name>(row, lane)`: a lane's share of a row's product with `x4(index)`, four numbers of the input. Lanes take blocks in
 * turns, so that neighbours read what lies side by side.
 *
 * @param {string} name
 * @param {Placed} placed
 * @param {number} lanes
 */
export function dotFunction(name, { matrix, packedAt }, lanes) {
  const { bits, columns } = matrix;
  const blocks = columns / BLOCK;
  const loads = wordsIn(bits) / 4;
  const steps = [];
  for (let load = 0; load < loads; load++) {
    steps.push(`let p${load} = wide[${wideIndex(packedAt)}u + ${loads}u * at + ${load}u];`);
  }
  for (let part = 0; part < BLOCK / 4; part++) {
    steps.push(`sum += dot(${fourOf(bits, part)} - zero, x4(8u * block + ${part}u));`);
  }
  return `
fn dot_${name}(row: u32, lane: u32) -> f32 {
  var total = 0.0;
  for (var block = lane; block < ${blocks}u; block += ${lanes}u) {
    let at = row * ${blocks}u + block;
    let zero = vec4f(zero_${name}(row, block));
    var sum = 0.0;
    ${steps.join("\n    ")}
    total += sum * scale_${name}(row, block);
  }
  return total;
}`;
}

/** @param {4 | 8} bits @param {number} part @returns {string} four integers of the loaded words p0, p1 */
function fourOf(bits, part) {
  if (bits === 8) {
    return `vec4f((vec4u(p${part >> 2}[${part & 3}]) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u))`;
  }
  const first = 16 * (part & 1);
  const shifts = [0, 4, 8, 12].map((shift) => `${shift + first}u`).join(", ");
  return `vec4f((vec4u(p0[${part >> 1}]) >> vec4u(${shifts})) & vec4u(15u))`;
}

/**
 * The matrix that holds a row of the results, chosen by an expression with `row` for the row in that matrix.
 *
 * @param {Placed[]} placed
 * @param {(name: string, row: string) => string} statement
 * @returns {string} nested conditions on `row`
 */
export function byMatrix(placed, statement) {
  let before = 0;
  const branches = placed.map(({ matrix }, index) => {
    const branch = `if (row < ${before + matrix.rows}u) { ${statement(`m${index}`, `row - ${before}u`)} }`;
    before += matrix.rows;
    return branch;
  });
  return branches.join(" else ");
}

/**
 * `weights_of(row, block, part)`: weights 4 x part to 4 x part + 3 of a block, of the matrix that `shape` describes.
 *
 * @param {4 | 8} bits
 */
export function runtimeMatrixFunctions(bits) {
  const integers =
    bits === 8
      ? `let word = wide[shape[0].packed_at + 2u * at + part / 4u][part % 4u];
  let four = vec4f((vec4u(word) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u)) - 128.0;`
      : `let word = wide[shape[0].packed_at + at][part / 2u];
  let zero_at = row * ((shape[0].blocks + 1u) / 2u) + block / 2u;
  let zero = (words[shape[0].zeros_at + zero_at / 4u] >> (8u * (zero_at % 4u) + 4u * (block % 2u))) & 15u;
  let shift = 16u * (part % 2u);
  let four = vec4f((vec4u(word) >> (vec4u(0u, 4u, 8u, 12u) + shift)) & vec4u(15u)) - f32(zero);`;
  return `
fn weights_of(row: u32, block: u32, part: u32) -> vec4f {
  let at = row * shape[0].blocks + block;
  ${integers}
  return four * unpack2x16float(words[shape[0].scales_at + at / 2u])[at % 2u];
}`;
}
