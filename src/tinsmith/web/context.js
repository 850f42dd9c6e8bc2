/**
 * What a model has read: which turns still fit in its context, and the keys and values of tokens it need not read again.
 *
 * @typedef {{role: 'system' | 'user' | 'assistant', content: string}} Message
 * @typedef {{text: string, ids: number[]}} Prompt a conversation by the chat template, ready for an answer, and its tokens
 */

/**
 * The conversation's tokens, oldest turns left out where all would not fit.
 *
 * A question and its answer go together, and the system message always stays. Once something has to go, the rest is cut
 * to half of the room, and later turns leave out the same until that is full: a cut changes what follows it, so the model has
 * to read that again, which should be rare.
 *
 * @param {(messages: Message[]) => Prompt} promptOf
 * @param {Message[]} messages
 * @param {number} room in tokens
 * @param {number} droppedBefore turns that the last prompt left out
 * @returns {{prompt: Prompt, droppedTurns: number}}
 */
export function fitted(promptOf, messages, room, droppedBefore) {
  const opening = messages[0]?.role === "system" ? messages.slice(0, 1) : [];
  const turns = messages.slice(opening.length);
  const mostDropped = Math.ceil(turns.length / 2) - 1;
  const without = (/** @type {number} */ dropped) => promptOf([...opening, ...turns.slice(2 * dropped)]);
  let droppedTurns = 0;
  let prompt = without(droppedTurns);
  if (prompt.ids.length > room) {
    droppedTurns = Math.min(droppedBefore, mostDropped);
    prompt = without(droppedTurns);
    const most = prompt.ids.length > room ? room / 2 : room;
    while (prompt.ids.length > most && droppedTurns < mostDropped) prompt = without(++droppedTurns);
  }
  if (prompt.ids.length > room) {
    throw new Error(`The question has ${prompt.ids.length} tokens with all that belongs to it; ${room} fit. Ask something shorter.`);
  }
  return { prompt, droppedTurns };
}

/** Keys and values of the tokens read last, and how the conversation they belong to was cut into tokens. */
export class Past {
  /** All of the conversation, the last token too, which was chosen but not read. @type {Prompt} */
  #said = { text: "", ids: [] };

  /** Where a prompt or an answer ended in it. @type {{characters: number, tokens: number}[]} */
  #ends = [];

  /** @param {any} transformers the Transformers.js module */
  constructor(transformers) {
    this.transformers = transformers;
    /** @type {number[]} */
    this.ids = [];
    /** Turns that the last prompt left out. */
    this.droppedTurns = 0;
    this.cache = new transformers.DynamicCache();
  }

  /** Bytes that the keys and values take. */
  get bytes() {
    return Object.values(this.cache).reduce((sum, tensor) => sum + bytesOf(tensor), 0);
  }

  /**
   * Token ids of a conversation by the chat template. What was read and chosen before keeps its tokens, as far as the template
   * has the same text: that of an answer often encodes to others than the model chose, and all that follows would have to be
   * read again. A template that trims answers, or drops what a model thought, may change the text.
   *
   * @param {string} text
   * @param {(text: string) => number[]} encode
   * @returns {number[]}
   */
  encoded(text, encode) {
    const { characters, tokens } = this.#endsIn(text).at(-1) ?? { characters: 0, tokens: 0 };
    return [...this.#said.ids.slice(0, tokens), ...encode(text.slice(characters))];
  }

  /** Ends of what `text` begins with. @param {string} text */
  #endsIn(text) {
    return this.#ends.filter(({ characters }) => text.startsWith(this.#said.text.slice(0, characters)));
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
   * Say what the cache holds now that `generate` has added to it.
   *
   * @param {Prompt} prompt
   * @param {Prompt} answer its last token has not been read
   */
  holds(prompt, answer) {
    const said = { text: prompt.text + answer.text, ids: [...prompt.ids, ...answer.ids] };
    this.#ends = [
      ...this.#endsIn(prompt.text),
      { characters: prompt.text.length, tokens: prompt.ids.length },
      { characters: said.text.length, tokens: said.ids.length },
    ];
    this.#said = said;
    this.ids = said.ids.slice(0, -1);
  }

  /** Say that the cache holds `ids`, the beginning of a prompt that was not read to its end. @param {number[]} ids */
  holdsBeginning(ids) {
    this.ids = ids;
  }

  /** Free everything. */
  async forget() {
    await this.cache.dispose();
    this.cache = new this.transformers.DynamicCache();
    this.ids = [];
    this.droppedTurns = 0;
    this.#said = { text: "", ids: [] };
    this.#ends = [];
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
