/**
 * Reads long prompts in pieces, so that a stop takes effect after the current piece, and stores keys and values outside
 * the session.
 *
 * ONNX Runtime copies every input into its memory and every output out of it. A graph that joined old and new rows would
 * copy all of them out again for every token, into newly allocated memory. So the graph returns the rows of new tokens only.
 *
 * @import { Tensor } from "onnxruntime-web"
 * @import { Session } from "./types.d.ts"
 *
 * @typedef {Record<string, Tensor>} Tensors
 */

/** Rows of the first buffer. */
const INITIAL_ROWS = 256;

/** Size of later buffers, as a multiple of what is needed. */
const GROWTH = 1.5;

/** Tokens read at once. Attention scores need memory for every pair of tokens, and a stop waits for the end of a piece. */
const PIECE_TOKENS = 256;

/**
 * Make `session` read long prompts in pieces, and return `present.*` of all tokens, as Transformers.js expects. The graph
 * itself may return the rows of new tokens only, as (1, S, W).
 *
 * Each of these tensors is a view of a larger buffer, and the next token's rows are written right behind it. So if one past
 * is continued twice, only the later continuation is valid.
 *
 * @param {Session} session on the CPU; gets `unread`, the number of tokens that its last run did not read
 * @param {() => Promise<boolean>} [isStopped] called before every piece but the first. If true, the rest stays unread, and the
 *   outputs are those of the last piece that was read.
 */
export function readInPieces(session, isStopped = async () => false) {
  const run = /** @type {(feeds: Tensors, ...rest: unknown[]) => Promise<Tensors>} */ (session.run.bind(session));
  session.unread = 0;
  /** @param {Tensors} feeds @param {unknown[]} rest */
  const runInPieces = async (feeds, ...rest) => {
    /** @type {Tensors | undefined} */
    let outputs;
    session.unread = feeds.input_ids.dims[1];
    for (const piece of piecesOf(feeds)) {
      if (outputs && (await isStopped())) break;
      const past = pastOf(session, outputs ?? feeds);
      outputs = await run({ ...piece, ...past }, ...rest);
      for (const name of session.outputNames) {
        const isNewRows = name.startsWith("present.") && outputs[name].dims.length === 3;
        if (isNewRows) outputs[name] = appendRows(past[name.replace("present", "past_key_values")], outputs[name]);
      }
      session.unread -= piece.input_ids.dims[1];
    }
    return /** @type {Tensors} */ (outputs);
  };
  session.run = runInPieces;
}

/**
 * Split feeds into pieces, without the past. There is only one piece if the caller wants logits of more than the last token.
 *
 * @param {Tensors} feeds
 * @returns {Tensors[]}
 */
function piecesOf({ input_ids, position_ids, attention_mask, num_logits_to_keep }) {
  const count = input_ids.dims[1];
  const before = attention_mask.dims[1] - count;
  const size = Number(num_logits_to_keep.data[0]) === 1 ? PIECE_TOKENS : count;
  const pieces = [];
  for (let start = 0; start < count; start += size) {
    const end = Math.min(count, start + size);
    pieces.push({
      input_ids: slice(input_ids, start, end),
      position_ids: slice(position_ids, start, end),
      attention_mask: slice(attention_mask, 0, before + end),
      num_logits_to_keep,
    });
  }
  return pieces;
}

/** @param {Tensor} tensor (1, S) @param {number} start @param {number} end @returns {Tensor} (1, end - start) */
function slice(tensor, start, end) {
  const data = /** @type {BigInt64Array} */ (tensor.data);
  return tensorLike(tensor, data.subarray(start, end), [1, end - start]);
}

/** @param {Session} session @param {Tensors} tensors a run's feeds, or its outputs @returns {Tensors} */
function pastOf(session, tensors) {
  const names = session.inputNames.filter((name) => name.startsWith("past_key_values."));
  return Object.fromEntries(
    names.map((name) => [name, tensors[name] ?? tensors[name.replace("past_key_values", "present")]]),
  );
}

/**
 * Append `rows` to `past`, in the buffer of `past` if it has room.
 *
 * @param {Tensor} past (1, P, W)
 * @param {Tensor} rows (1, S, W)
 * @returns {Tensor} (1, P + S, W)
 */
function appendRows(past, rows) {
  const [, before, width] = past.dims;
  const total = before + rows.dims[1];
  const pastData = /** @type {Float32Array<ArrayBuffer>} */ (past.data);
  let buffer = new Float32Array(pastData.buffer, pastData.byteOffset);
  if (buffer.length < total * width) {
    buffer = new Float32Array(Math.max(INITIAL_ROWS, Math.ceil(GROWTH * total)) * width);
    buffer.set(pastData);
  }
  buffer.set(/** @type {Float32Array} */ (rows.data), pastData.length);
  return tensorLike(past, buffer.subarray(0, total * width), [1, total, width]);
}

/**
 * A tensor of the same class and type as `tensor`. This module does not import the runtime.
 *
 * @param {Tensor} tensor
 * @param {BigInt64Array | Float32Array} data
 * @param {number[]} dims
 */
function tensorLike(tensor, data, dims) {
  const TensorClass = /** @type {new (type: string, data: BigInt64Array | Float32Array, dims: number[]) => Tensor} */ (
    tensor.constructor
  );
  return new TensorClass(tensor.type, data, dims);
}
