/**
 * The model's context: which turns fit, and the cached keys and values of tokens that need not be read again.
 *
 * @import { Tensor } from "@huggingface/transformers"
 * @import { Message } from "./messages.js"
 * @import { Cache, Transformers } from "./types.d.ts"
 *
 * @typedef {object} Prompt a conversation in the chat template, ready for an answer
 * @property {string[]} pieces of its text, tokenized one by one, see tokens.js
 * @property {number[]} ids its tokens
 */

/**
 * The prompt of a conversation, without its oldest turns if it would not fit.
 *
 * A question and its answer are dropped together; the system message always stays. After dropped turns, the model has to
 * read the rest of the conversation again. To make that rare, the prompt is cut to half of the context, and later prompts
 * leave out the same turns until the context is full again.
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

/** Cached keys and values, and the conversation they belong to. */
export class Past {
  /** Tokens whose keys and values are cached. @type {number[]} */
  ids = [];

  /** Turns that the last prompt left out. */
  droppedTurns = 0;

  /** Tokens of the whole conversation, including the last one, which was generated but not read. @type {number[]} */
  #conversationIds = [];

  /** Its text. */
  #text = "";

  /** Where its text was cut into pieces. @type {number[]} */
  #cuts = [];

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
   * Unchanged text keeps the tokens that were read or generated. Encoding an answer often yields other tokens than the model
   * generated, and everything after them would have to be read again. The text may change, because some templates trim
   * answers or drop the model's reasoning.
   *
   * @param {string[]} pieces of the conversation's text
   * @param {(piece: string) => number[]} encode
   * @returns {number[]}
   */
  encode(pieces, encode) {
    const { characters, tokens } = this.#sharedEnds(pieces).at(-1) ?? { characters: 0, tokens: 0 };
    let start = 0;
    const newPieces = pieces.map((piece) => {
      const reused = Math.max(0, characters - start);
      start += piece.length;
      return piece.slice(reused);
    });
    return [...this.#conversationIds.slice(0, tokens), ...newPieces.filter(Boolean).flatMap(encode)];
  }

  /** @param {string[]} pieces @returns {{characters: number, tokens: number}[]} ends up to which the text is the same */
  #sharedEnds(pieces) {
    const text = pieces.join("");
    const cuts = cutsOf(pieces);
    return this.#ends.filter(({ characters }) => {
      const before = (/** @type {number[]} */ all) => all.filter((cut) => cut < characters).join();
      return text.startsWith(this.#text.slice(0, characters)) && before(cuts) === before(this.#cuts);
    });
  }

  /**
   * Keep the cache of the tokens that `ids` begins with, and drop the rest.
   *
   * @param {number[]} ids all tokens of the next prompt
   * @returns {Promise<number>} how many of them are cached; the last one is always read again
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
   * Record what the cache contains after `generate` has added to it.
   *
   * @param {Prompt} prompt
   * @param {{text: string, ids: number[]}} answer its last token has not been read
   */
  record({ pieces, ids }, answer) {
    const ends = this.#sharedEnds(pieces);
    const promptText = pieces.join("");
    this.#text = promptText + answer.text;
    this.#cuts = cutsOf(pieces);
    this.#conversationIds = [...ids, ...answer.ids];
    this.#ends = [
      ...ends,
      { characters: promptText.length, tokens: ids.length },
      { characters: this.#text.length, tokens: this.#conversationIds.length },
    ];
    this.ids = this.#conversationIds.slice(0, -1);
  }

  /** Record that the cache contains `ids`, the beginning of a prompt that was not read to its end. @param {number[]} ids */
  recordPartial(ids) {
    this.ids = ids;
  }

  /** Free everything. */
  async forget() {
    await this.cache.dispose();
    this.cache = new this.transformers.DynamicCache();
    this.ids = [];
    this.droppedTurns = 0;
    this.#conversationIds = [];
    this.#text = "";
    this.#cuts = [];
    this.#ends = [];
  }

  /** @param {number} count tokens to keep */
  async #cut(count) {
    /** @type {Record<string, Tensor>} */
    const entries = {};
    for (const [name, tensor] of Object.entries(this.cache)) {
      entries[name] = await firstTokens(this.transformers, tensor, count);
    }
    await this.cache.dispose();
    this.cache = new this.transformers.DynamicCache(entries);
    this.ids = this.ids.slice(0, count);
  }
}

/** @param {string[]} pieces @returns {number[]} where each piece but the first begins in the joined text */
function cutsOf(pieces) {
  let position = 0;
  return pieces.slice(0, -1).map((piece) => (position += piece.length));
}

/**
 * The first `count` tokens of a tensor (..., tokens, width), in CPU memory.
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
  let values = data.subarray(0, count * width);
  if (sequences > 1) {
    const Data = /** @type {Float32ArrayConstructor} */ (data.constructor); // float16 tensors have another type of array
    values = new Data(sequences * count * width);
    for (let index = 0; index < sequences; index++) {
      const start = index * length * width;
      values.set(data.subarray(start, start + count * width), index * count * width);
    }
  }
  return new transformers.Tensor(tensor.type, values, [...outer, count, width]);
}

/** @param {Tensor} tensor */
function sizeBytes(tensor) {
  return product(tensor.dims) * (tensor.type === "float16" ? 2 : 4);
}

/** @param {number[]} numbers */
function product(numbers) {
  return numbers.reduce((result, number) => result * number, 1);
}
