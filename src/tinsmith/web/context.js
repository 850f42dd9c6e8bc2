/**
 * The model's context: which turns still fit, and the keys and values of tokens that need not be read again.
 *
 * @import { Tensor } from "@huggingface/transformers"
 * @import { Message } from "./messages.js"
 * @import { Cache, Transformers } from "./types.d.ts"
 *
 * @typedef {object} Prompt a conversation in the chat template, ready for an answer
 * @property {string} text with `mark` wherever the tokenizer must not read across, see tokens.js
 * @property {string} mark
 * @property {number[]} ids its tokens
 */

/**
 * The prompt of a conversation, without its oldest turns where all would not fit.
 *
 * A question and its answer go together, and the system message always stays. Removing turns changes everything after
 * them, which the model then has to read again. To make that rare, the rest is cut to half of the context, and later
 * prompts leave out the same turns until it is full again.
 *
 * @param {(messages: Message[]) => Prompt} promptOf
 * @param {Message[]} messages
 * @param {number} maxTokens
 * @param {number} droppedBefore turns that the last prompt left out
 * @returns {{prompt: Prompt, droppedTurns: number}}
 * @throws {Error} if the question alone is too long
 */
export function fitPrompt(promptOf, messages, maxTokens, droppedBefore) {
  const opening = messages[0]?.role === "system" ? messages.slice(0, 1) : [];
  const turns = messages.slice(opening.length);
  const maxDropped = Math.ceil(turns.length / 2) - 1;
  const without = (/** @type {number} */ dropped) => promptOf([...opening, ...turns.slice(2 * dropped)]);
  let droppedTurns = 0;
  let prompt = without(droppedTurns);
  if (prompt.ids.length > maxTokens) {
    droppedTurns = Math.min(droppedBefore, maxDropped);
    prompt = without(droppedTurns);
    const target = prompt.ids.length > maxTokens ? maxTokens / 2 : maxTokens;
    while (prompt.ids.length > target && droppedTurns < maxDropped) prompt = without(++droppedTurns);
  }
  if (prompt.ids.length > maxTokens) {
    throw new Error(
      `The question and the system prompt have ${prompt.ids.length} tokens, but only ${maxTokens} fit. Ask a shorter question.`,
    );
  }
  return { prompt, droppedTurns };
}

/** Keys and values of the tokens that were read last, and the conversation they belong to. */
export class Past {
  /** Tokens whose keys and values are cached. @type {number[]} */
  ids = [];

  /** Turns that the last prompt left out. */
  droppedTurns = 0;

  /** The whole conversation, with the last token, which was chosen but not read. @type {Prompt} */
  #conversation = { text: "", mark: "", ids: [] };

  /** Where prompts and answers end in the conversation. @type {{characters: number, tokens: number}[]} */
  #ends = [];

  /** @param {Pick<Transformers, "DynamicCache" | "Tensor">} transformers */
  constructor(transformers) {
    this.transformers = transformers;
    /** @type {Cache} */
    this.cache = new transformers.DynamicCache();
  }

  /** Size of the keys and values. */
  get bytes() {
    return Object.values(this.cache).reduce((sum, tensor) => sum + sizeBytes(tensor), 0);
  }

  /**
   * Token ids of a conversation in the chat template.
   *
   * What was read and chosen before keeps its tokens as far as the text is the same. Encoding an answer often gives other
   * tokens than the model chose, and everything after them would have to be read again. The text may differ where a
   * template trims answers or drops what a model thought.
   *
   * @param {string} text
   * @param {string} mark
   * @param {(text: string) => number[]} encode
   * @returns {number[]}
   */
  encode(text, mark, encode) {
    const { characters, tokens } = this.#sharedEnds(text, mark).at(-1) ?? { characters: 0, tokens: 0 };
    return [...this.#conversation.ids.slice(0, tokens), ...encode(text.slice(characters))];
  }

  /**
   * Ends up to which a text is the cached conversation. Another mark means that nothing can be compared.
   *
   * @param {string} text
   * @param {string} mark
   */
  #sharedEnds(text, mark) {
    if (mark !== this.#conversation.mark) return [];
    return this.#ends.filter(({ characters }) => text.startsWith(this.#conversation.text.slice(0, characters)));
  }

  /**
   * Keep the cache of the tokens that `ids` begins with, and drop the rest.
   *
   * @param {number[]} ids all tokens of the next prompt
   * @returns {Promise<number>} how many of them need not be read; the last one always is
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
   * Record what the cache holds after `generate` has added to it.
   *
   * @param {Prompt} prompt
   * @param {{text: string, ids: number[]}} answer its last token has not been read
   */
  record(prompt, answer) {
    const text = prompt.text + answer.text;
    const ids = [...prompt.ids, ...answer.ids];
    const ends = [...this.#sharedEnds(prompt.text, prompt.mark), endOf(prompt)];
    // An answer that holds the mark itself cannot be compared with a later text.
    if (!answer.text.includes(prompt.mark)) ends.push(endOf({ text, ids }));
    this.#ends = ends;
    this.#conversation = { text, mark: prompt.mark, ids };
    this.ids = ids.slice(0, -1);
  }

  /** Record that the cache holds `ids`, the beginning of a prompt that was not read to its end. @param {number[]} ids */
  recordPartial(ids) {
    this.ids = ids;
  }

  /** Free everything. */
  async forget() {
    await this.cache.dispose();
    this.cache = new this.transformers.DynamicCache();
    this.ids = [];
    this.droppedTurns = 0;
    this.#conversation = { text: "", mark: "", ids: [] };
    this.#ends = [];
  }

  /** @param {number} kept tokens */
  async #cut(kept) {
    /** @type {Record<string, Tensor>} */
    const entries = {};
    for (const [name, tensor] of Object.entries(this.cache)) {
      entries[name] = await firstTokens(this.transformers, tensor, kept);
    }
    await this.cache.dispose();
    this.cache = new this.transformers.DynamicCache(entries);
    this.ids = this.ids.slice(0, kept);
  }
}

/** @param {{text: string, ids: number[]}} conversation */
function endOf({ text, ids }) {
  return { characters: text.length, tokens: ids.length };
}

/**
 * The first `count` tokens of a tensor (..., tokens, width), in memory.
 *
 * @param {Pick<Transformers, "Tensor">} transformers
 * @param {Tensor} tensor
 * @param {number} count
 * @returns {Promise<Tensor>}
 */
async function firstTokens(transformers, tensor, count) {
  const [length, width] = tensor.dims.slice(-2);
  const outer = tensor.dims.slice(0, -2);
  const sequences = product(outer);
  const data = /** @type {Float32Array} */ (await tensor.ort_tensor.getData());
  let kept = data.subarray(0, count * width);
  if (sequences > 1) {
    const Data = /** @type {Float32ArrayConstructor} */ (data.constructor); // halves lie in another type of array
    kept = new Data(sequences * count * width);
    for (let index = 0; index < sequences; index++) {
      const start = index * length * width;
      kept.set(data.subarray(start, start + count * width), index * count * width);
    }
  }
  return new transformers.Tensor(tensor.type, kept, [...outer, count, width]);
}

/** @param {Tensor} tensor */
function sizeBytes(tensor) {
  return product(tensor.dims) * (tensor.type === "float16" ? 2 : 4);
}

/** @param {number[]} numbers */
function product(numbers) {
  return numbers.reduce((result, number) => result * number, 1);
}
