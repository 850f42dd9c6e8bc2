/**
 * What a model has read: which turns still fit in its context, and the keys and values of tokens it need not read again.
 *
 * @typedef {{role: 'system' | 'user' | 'assistant', content: string}} Message
 */

/**
 * The conversation's tokens, oldest turns left out where all would not fit.
 *
 * A question and its answer go together, and the system message always stays. Once something has to go, the rest is cut
 * to half of the room: a cut changes what follows it, so the model has to read that again, which should be rare.
 *
 * @param {(messages: Message[]) => number[]} encode token ids of messages, ready for an answer
 * @param {Message[]} messages
 * @param {number} room in tokens
 * @returns {{ids: number[], droppedTurns: number}}
 */
export function fitted(encode, messages, room) {
  const opening = messages[0]?.role === "system" ? messages.slice(0, 1) : [];
  let turns = messages.slice(opening.length);
  let ids = encode(messages);
  let droppedTurns = 0;
  const most = ids.length > room ? room / 2 : room;
  while (ids.length > most && turns.length > 2) {
    turns = turns.slice(2);
    droppedTurns += 1;
    ids = encode([...opening, ...turns]);
  }
  if (ids.length > room) {
    throw new Error(`The question has ${ids.length} tokens with all that belongs to it; ${room} fit. Ask something shorter.`);
  }
  return { ids, droppedTurns };
}

/** Keys and values of the tokens read last. */
export class Past {
  /** @param {any} transformers the Transformers.js module */
  constructor(transformers) {
    this.transformers = transformers;
    /** @type {number[]} */
    this.ids = [];
    this.cache = new transformers.DynamicCache();
  }

  /** Bytes that the keys and values take. */
  get bytes() {
    return Object.values(this.cache).reduce((sum, tensor) => sum + bytesOf(tensor), 0);
  }

  /**
   * Keep what is shared with the beginning of `ids`, and drop the rest.
   *
   * @param {number[]} ids all tokens of the next answer's prompt
   * @returns {Promise<number>} how many tokens of `ids` need not be read; at least the last one must be
   */
  async keepFor(ids) {
    let shared = 0;
    while (shared < this.ids.length && this.ids[shared] === ids[shared]) shared += 1;
    const kept = Math.min(shared, ids.length - 1);
    if (kept === 0) await this.forget();
    else if (kept < this.ids.length) await this.#cut(kept);
    return kept;
  }

  /**
   * Say which tokens the cache holds now that `generate` has added to it.
   *
   * @param {number[]} ids all tokens of prompt and answer; the last one has not been read
   */
  holds(ids) {
    this.ids = ids.slice(0, -1);
  }

  /** Free everything. */
  async forget() {
    await this.cache.dispose();
    this.cache = new this.transformers.DynamicCache();
    this.ids = [];
  }

  /** @param {number} kept tokens */
  async #cut(kept) {
    /** @type {Record<string, any>} */
    const entries = {};
    for (const [name, tensor] of Object.entries(this.cache)) {
      const [length, size] = tensor.dims.slice(-2);
      const sequences = tensor.dims.slice(0, -2).reduce((/** @type {number} */ product, /** @type {number} */ count) => product * count, 1);
      const data = await tensor.ort_tensor.getData();
      let short = data.subarray(0, kept * size);
      if (sequences > 1) {
        short = new data.constructor(sequences * kept * size);
        for (let index = 0; index < sequences; index++) {
          short.set(data.subarray(index * length * size, (index * length + kept) * size), index * kept * size);
        }
      }
      entries[name] = new this.transformers.Tensor(tensor.type, short, [...tensor.dims.slice(0, -2), kept, size]);
    }
    await this.cache.dispose();
    this.cache = new this.transformers.DynamicCache(entries);
    this.ids = this.ids.slice(0, kept);
  }
}

/** @param {any} tensor */
function bytesOf(tensor) {
  return tensor.dims.reduce((/** @type {number} */ product, /** @type {number} */ size) => product * size, 1) * (tensor.type === "float16" ? 2 : 4);
}
