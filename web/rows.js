/**
 * Keys and values of a conversation, kept beside a session that gives those of new tokens alone.
 *
 * ONNX Runtime copies every output out of its memory and every input in. A graph that joined old and new rows would have all
 * of them copied out again at every token, into memory that has to be found first.
 */

/** Rows that there is room for at first. */
const FIRST_ROOM = 256;

/**
 * Make `session` give what Transformers.js expects: `present.*` of all tokens, not of the new ones.
 *
 * A tensor it gives is a view of a buffer with room behind it, where the next token's rows go: of two continuations of one
 * past, the later one is right.
 *
 * @param {any} session an InferenceSession whose `past_key_values.*` are (1, P, W) and whose `present.*` are (1, S, W)
 */
export function joinRows(session) {
  const run = session.run.bind(session);
  session.run = async (/** @type {Record<string, any>} */ feeds, /** @type {any[]} */ ...rest) => {
    const outputs = await run(feeds, ...rest);
    for (const name of session.outputNames) {
      if (name.startsWith("present.")) outputs[name] = joined(feeds[name.replace("present", "past_key_values")], outputs[name]);
    }
    return outputs;
  };
}

/** @param {any} past (1, P, W) @param {any} rows (1, S, W) @returns {any} (1, P + S, W), where `past` lies if there is room */
function joined(past, rows) {
  const [, before, width] = past.dims;
  const total = before + rows.dims[1];
  const { buffer, byteOffset, length } = past.data;
  let room = new Float32Array(buffer, byteOffset);
  if (room.length < total * width) {
    room = new Float32Array(Math.max(FIRST_ROOM, 2 * total) * width);
    room.set(past.data);
  }
  room.set(rows.data, length);
  return new past.constructor("float32", room.subarray(0, total * width), [1, total, width]);
}
