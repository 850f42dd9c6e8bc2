/**
 * Long prompts in pieces, between which a stop is heard, and keys and values kept beside a session that gives those of new
 * tokens alone.
 *
 * ONNX Runtime copies every output out of its memory and every input in. A graph that joined old and new rows would have all
 * of them copied out again at every token, into memory that has to be found first.
 */

/** Rows that there is room for at first, and how much more than needed there is later. */
const FIRST_ROOM = 256;
const ROOM = 1.5;

/** Tokens read at once: attention's scores take memory for each of them with each before it, and nothing is heard meanwhile. */
const MOST_TOKENS = 256;

/**
 * Make `session` read long prompts in pieces, and give what Transformers.js expects: `present.*` of all tokens, also where they
 * are (1, S, W), of the new ones.
 *
 * A tensor it then gives is a view of a buffer with room behind it, where the next token's rows go: of two continuations of one
 * past, the later one is right.
 *
 * @param {any} session an InferenceSession on a processor; gets `unread`, how many tokens of its last run it did not read
 * @param {() => Promise<boolean>} [isStopped] asked before every piece but the first: whether to leave the rest unread. The
 *   outputs are then those after the last piece that was read.
 */
export function readInPieces(session, isStopped = async () => false) {
  const run = session.run.bind(session);
  session.unread = 0;
  session.run = async (/** @type {Record<string, any>} */ feeds, /** @type {any[]} */ ...rest) => {
    let outputs;
    session.unread = feeds.input_ids.dims[1];
    for (const piece of pieces(feeds)) {
      if (outputs && (await isStopped())) break;
      const past = outputs ? pastOf(session, outputs) : pastOf(session, feeds);
      outputs = await run({ ...piece, ...past }, ...rest);
      for (const name of session.outputNames) {
        const isNew = name.startsWith("present.") && outputs[name].dims.length === 3;
        if (isNew) outputs[name] = joined(past[name.replace("present", "past_key_values")], outputs[name]);
      }
      session.unread -= piece.input_ids.dims[1];
    }
    return outputs;
  };
}

/**
 * What to read one after the other, if only the last token's logits are wanted; all at once if not.
 *
 * @param {Record<string, any>} feeds
 * @returns {Record<string, any>[]} without the past
 */
function pieces({ input_ids, position_ids, attention_mask, num_logits_to_keep }) {
  const count = input_ids.dims[1];
  const before = attention_mask.dims[1] - count;
  const most = Number(num_logits_to_keep.data[0]) === 1 ? MOST_TOKENS : count;
  const found = [];
  for (let from = 0; from < count; from += most) {
    const to = Math.min(count, from + most);
    found.push({
      input_ids: part(input_ids, from, to), position_ids: part(position_ids, from, to),
      attention_mask: part(attention_mask, 0, before + to), num_logits_to_keep,
    });
  }
  return found;
}

/** @param {any} tensor (1, S) @param {number} from @param {number} to @returns {any} (1, to - from) */
function part(tensor, from, to) {
  return new tensor.constructor(tensor.type, tensor.data.subarray(from, to), [1, to - from]);
}

/** @param {any} session @param {Record<string, any>} tensors a run's feeds, or its outputs @returns {Record<string, any>} */
function pastOf(session, tensors) {
  const names = session.inputNames.filter((/** @type {string} */ name) => name.startsWith("past_key_values."));
  return Object.fromEntries(names.map((/** @type {string} */ name) => [name, tensors[name] ?? tensors[name.replace("past_key_values", "present")]]));
}

/** @param {any} past (1, P, W) @param {any} rows (1, S, W) @returns {any} (1, P + S, W), where `past` lies if there is room */
function joined(past, rows) {
  const [, before, width] = past.dims;
  const total = before + rows.dims[1];
  const { buffer, byteOffset, length } = past.data;
  let room = new Float32Array(buffer, byteOffset);
  if (room.length < total * width) {
    room = new Float32Array(Math.max(FIRST_ROOM, Math.ceil(ROOM * total)) * width);
    room.set(past.data);
  }
  room.set(rows.data, length);
  return new past.constructor("float32", room.subarray(0, total * width), [1, total, width]);
}
