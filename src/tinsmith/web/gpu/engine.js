/**
 * Generates tokens on a GPU with this site's own kernels.
 *
 * @import { DecoderPlan } from "./plan.js"
 * @import { ReadFile } from "./buffers.js"
 * @import { Kernels } from "./kernels.js"
 */

import { Buffers } from "./buffers.js";
import { MOST_TOP } from "./choice.js";
import { Decoder } from "./decoder.js";
import { MAX_ENDS } from "./kernels.js";
import { checkPlan } from "./plan.js";

/** Work that may be waiting on the GPU, in milliseconds and in tokens. A stop throws it away. */
const AHEAD_MS = 10;
const FEWEST_AHEAD = 2;
const MOST_AHEAD = 16;

/** Where the options of a choice lie in the state of the kernels. */
const OPTIONS_AT = 16;
const NO_TOKEN = 0xffffffff;

/**
 * @typedef {object} Generation
 * @property {number} position of the first new token
 * @property {number} count most new tokens
 * @property {number} [least] new tokens before which no end token is chosen
 * @property {number[]} ends tokens that end an answer
 * @property {{top: number, temperature: number, seed: number} | null} [sampling] null chooses the most likely token
 * @property {(token: number) => void} [onToken]
 * @property {() => boolean} [isStopped]
 */

export class GpuEngine {
  /** Dispatches of the last token. */
  dispatches = 0;

  /** Milliseconds that encoding and submitting the last tokens took, one number for each. @type {number[]} */
  submitMs = [];

  /** @type {GPUBuffer[]} */
  #free = [];

  /** What the GPU refused since it was loaded. */
  #failure = "";

  /** @param {GPUDevice} device @param {Decoder} decoder */
  constructor(device, decoder) {
    this.device = device;
    this.decoder = decoder;
    this.vocabulary = decoder.plan.vocabulary;
    device.addEventListener("uncapturederror", ({ error }) => (this.#failure ||= error.message));
  }

  /**
   * @param {Kernels} kernels of a device; decoders may share them
   * @param {DecoderPlan} plan
   * @param {ReadFile} readFile
   * @returns {Promise<GpuEngine>}
   * @throws {Error} if the plan is unknown, or if the GPU has too little memory or refuses a kernel
   */
  static async create(kernels, plan, readFile) {
    const { device } = kernels;
    checkPlan(plan);
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
    const creating = Decoder.create(plan, new Buffers(device, readFile), kernels);
    await creating.catch(() => {}); // the scopes end first
    const refused = (await device.popErrorScope()) ?? (await device.popErrorScope());
    const decoder = await creating;
    if (refused) throw new Error(refused.message);
    return new GpuEngine(device, decoder);
  }

  /** Bytes of the cached keys and values of `tokens`. @param {number} tokens */
  cacheBytes(tokens) {
    return this.decoder.cacheBytes(tokens);
  }

  /**
   * Read tokens behind those that are cached.
   *
   * @param {number[]} ids
   * @param {number} first position of the first one
   * @param {() => Promise<boolean>} [isStopped] called between pieces
   * @returns {Promise<number>} how many were read
   */
  async read(ids, first, isStopped) {
    await this.decoder.reserve(first + ids.length);
    return this.decoder.prefill.read(ids, first, isStopped);
  }

  /**
   * The logits behind the last token of a prompt that was just read.
   *
   * @returns {Promise<Float32Array>}
   */
  logitsAfterPrompt() {
    this.#setOptions({ position: 0, count: 0, ends: [] });
    const encoder = this.device.createCommandEncoder();
    this.decoder.encodeAfterPrompt(encoder, null);
    return this.#readLogits(encoder);
  }

  /**
   * The logits behind a token, read by the kernels that generate.
   *
   * @param {number} token
   * @param {number} position
   * @returns {Promise<Float32Array>}
   */
  async logitsAfter(token, position) {
    await this.decoder.reserve(position + 1);
    this.#setOptions({ position: 0, count: 0, ends: [] });
    this.device.queue.writeBuffer(this.decoder.token.tokens, 0, Uint32Array.of(token));
    this.decoder.setPosition(position, 1, 0);
    const encoder = this.device.createCommandEncoder();
    this.dispatches = this.decoder.encodeToken(encoder, position, null);
    return this.#readLogits(encoder);
  }

  /** @param {GPUCommandEncoder} encoder @returns {Promise<Float32Array>} */
  async #readLogits(encoder) {
    const size = 4 * this.vocabulary;
    const target = this.device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    encoder.copyBufferToBuffer(this.decoder.token.logits, 0, target, 0, size);
    this.device.queue.submit([encoder.finish()]);
    await target.mapAsync(GPUMapMode.READ);
    if (this.#failure) throw new Error(this.#failure);
    const logits = new Float32Array(target.getMappedRange()).slice();
    target.destroy();
    return logits;
  }

  /**
   * Generate after a prompt that was just read. Tokens run ahead of those that were read back, by as many as take little time.
   *
   * @param {Generation} generation
   * @returns {Promise<number[]>} the new tokens
   */
  async generate(generation) {
    const { position, count, ends, sampling, onToken = () => {}, isStopped = () => false } = generation;
    await this.decoder.reserve(position + count);
    this.#setOptions(generation);
    this.decoder.setPosition(position - 1, 1, 0);
    const choice = sampling ? "sample" : "greedy";
    /** @type {Promise<number>[]} */
    const waiting = [];
    /** @type {number[]} */
    const tokens = [];
    let [sent, ahead] = [0, FEWEST_AHEAD];
    const since = performance.now();
    this.submitMs = [];
    try {
      while (tokens.length < count) {
        while (sent < count && waiting.length < ahead) waiting.push(this.#send(sent++, position, choice));
        const token = await /** @type {Promise<number>} */ (waiting.shift());
        tokens.push(token);
        onToken(token);
        if (ends.includes(token) || isStopped()) break;
        const perToken = (performance.now() - since) / tokens.length;
        ahead = Math.min(MOST_AHEAD, Math.max(FEWEST_AHEAD, Math.ceil(AHEAD_MS / perToken)));
      }
    } finally {
      await Promise.allSettled(waiting);
    }
    return tokens;
  }

  /**
   * Submit one step: the choice behind the prompt, or a token and the choice behind it.
   *
   * @param {number} step
   * @param {number} position of the first new token
   * @param {"greedy" | "sample"} choice
   * @returns {Promise<number>} the token that was chosen
   */
  async #send(step, position, choice) {
    const started = performance.now();
    const { device, decoder } = this;
    const target =
      this.#free.pop() ?? device.createBuffer({ size: 4, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const encoder = device.createCommandEncoder();
    if (step === 0) decoder.encodeAfterPrompt(encoder, choice);
    else this.dispatches = decoder.encodeToken(encoder, position + step - 1, choice);
    encoder.copyBufferToBuffer(decoder.token.chosen, 4 * step, target, 0, 4);
    device.queue.submit([encoder.finish()]);
    if (step) this.submitMs.push(performance.now() - started);
    await target.mapAsync(GPUMapMode.READ);
    if (this.#failure) throw new Error(this.#failure);
    const [token] = new Uint32Array(target.getMappedRange());
    target.unmap();
    this.#free.push(target);
    return token;
  }

  /** @param {Generation} generation */
  #setOptions({ least = 0, ends, sampling }) {
    const known = ends.slice(0, MAX_ENDS);
    const bytes = new ArrayBuffer(4 * (4 + MAX_ENDS));
    const words = new Uint32Array(bytes);
    words.set([least, Math.min(sampling?.top ?? 1, MOST_TOP), 0, sampling?.seed ?? 0]);
    new Float32Array(bytes)[2] = sampling?.temperature ?? 1;
    words.set([...known, ...Array(MAX_ENDS - known.length).fill(NO_TOKEN)], 4);
    this.device.queue.writeBuffer(this.decoder.token.state, OPTIONS_AT, bytes);
  }

  destroy() {
    for (const buffer of this.#free) buffer.destroy();
    this.decoder.destroy();
  }
}
