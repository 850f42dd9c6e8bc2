/**
 * The decoder's plan: its layers, and where their weights lie in the package's files. `tinsmith.export.decoder_plan` derives
 * it from the package's float32 graph; docs/web-gpu.md describes it. Nothing here knows of a GPU.
 *
 * @typedef {object} Matrix blocks of 32 weights along the columns, see docs/package-format.md
 * @property {4 | 8} bits
 * @property {number} rows
 * @property {number} columns
 * @property {string} file
 * @property {number} packed_at
 * @property {number} scales_at
 * @property {number} [zeros_at] in 4 bits only
 *
 * @typedef {{file: string, at: number, length: number}} StoredVector
 * @typedef {{values: number[], length: number}} InlineVector
 * @typedef {StoredVector | InlineVector} Vector of float32 numbers
 *
 * @typedef {{weight: Vector, epsilon: number}} Norm
 *
 * @typedef {object} Products matrices with one input; their results follow each other
 * @property {Matrix[]} matrices
 * @property {Vector[]} biases one for each matrix, or none
 * @property {Record<string, number>} at where each part begins in the results
 *
 * @typedef {object} Layer
 * @property {Norm} input_norm
 * @property {Products} qkv
 * @property {Norm | null} query_norm of each head
 * @property {Norm | null} key_norm
 * @property {number} rope number of its rotation
 * @property {number} window latest tokens that a token attends to; 0 means all
 * @property {number} scale of attention scores
 * @property {Matrix} output
 * @property {Norm | null} attention_norm of what attention adds to the residual stream
 * @property {Norm} mlp_norm
 * @property {Products} gate_up
 * @property {Matrix} down
 * @property {Norm | null} feed_forward_norm of what the feed-forward part adds to the residual stream
 *
 * @typedef {object} DecoderPlan
 * @property {number} format
 * @property {number} hidden
 * @property {number} inner
 * @property {number} vocabulary
 * @property {number} heads
 * @property {number} kv_heads
 * @property {number} head_size
 * @property {"silu" | "gelu_tanh"} activation
 * @property {Record<string, number>} files sizes in bytes
 * @property {{frequencies: number[], factor: number}[]} ropes
 * @property {{matrix: Matrix, scale: number}} embedding
 * @property {Layer[]} layers
 * @property {Norm} norm
 * @property {Matrix} head
 * @property {{matrix: Matrix, places: StoredVector} | null} refinement rows to add to the head's; the last one is zero
 */

const FORMAT = 1;

/** Weights in a block, which share a scale. */
export const BLOCK = 32;

/**
 * @param {DecoderPlan} plan as the package has it
 * @returns {DecoderPlan} the same
 * @throws {Error} if kernels do not fit its sizes
 */
export function checkPlan(plan) {
  const require = (/** @type {boolean} */ isMet, /** @type {string} */ what) => {
    if (!isMet) throw new Error(`the package's decoder plan ${what}`);
  };
  require(plan.format === FORMAT, `has the format ${plan.format}, known is ${FORMAT}`);
  require(plan.head_size % 16 === 0 && plan.head_size <= 256, `has heads of ${plan.head_size} numbers`);
  require(plan.heads % plan.kv_heads === 0, `shares ${plan.kv_heads} keys among ${plan.heads} heads`);
  require(["silu", "gelu_tanh"].includes(plan.activation), `has the activation ${plan.activation}`);
  for (const matrix of matricesOf(plan)) {
    require(matrix.columns % BLOCK === 0, `has a matrix of ${matrix.columns} columns`);
    require(partsOf(matrix).every(({ at, size }) => at + size <= plan.files[matrix.file]), "reads beyond a file's end");
  }
  return plan;
}

/** @param {DecoderPlan} plan @returns {Matrix[]} */
function matricesOf({ layers, head, embedding, refinement }) {
  const ofLayers = layers.flatMap(({ qkv, output, gate_up, down }) => [
    ...qkv.matrices,
    output,
    ...gate_up.matrices,
    down,
  ]);
  return [...ofLayers, head, embedding.matrix, ...(refinement ? [refinement.matrix] : [])];
}

/** @param {Matrix} matrix @returns {{at: number, size: number}[]} its packed integers, its scales, and any zero points */
export function partsOf({ bits, rows, columns, packed_at, scales_at, zeros_at }) {
  const blocks = columns / BLOCK;
  const parts = [
    { at: packed_at, size: (rows * columns * bits) / 8 },
    { at: scales_at, size: 2 * rows * blocks },
  ];
  return zeros_at === undefined ? parts : [...parts, { at: zeros_at, size: rows * Math.ceil(blocks / 2) }];
}
