/**
 * A model on the site's own kernels, with the members of a Transformers.js model that the worker uses.
 *
 * @import { DecoderPlan } from "./plan.js"
 * @import { Features } from "./kernels.js"
 * @import { ReadFile } from "./buffers.js"
 * @import { Reference } from "../reference.js"
 */

import { Comparison } from "../reference.js";
import { GpuEngine } from "./engine.js";
import { Kernels } from "./kernels.js";

/** Above what float32 rounding leaves by more than a million times. */
export const MAX_DISAGREEMENT = 1e-3;

const SEEDS = 2 ** 32;

/**
 * @typedef {object} Request what the worker passes to `generate`; the cache holds the first `kept_tokens` of the prompt
 * @property {number[]} ids the prompt
 * @property {number} kept_tokens
 * @property {number} max_new_tokens
 * @property {number} min_new_tokens
 * @property {boolean} [do_sample]
 * @property {number} [temperature]
 * @property {number} [top_k]
 * @property {{put(ids: bigint[][]): void, end(): void}} streamer
 * @property {{interrupted: boolean}} stopping_criteria
 */

/** The cache lies on the GPU: its first tokens stay there, and what follows them is overwritten. */
export class GpuCache {
  async dispose() {}
}

export class OwnModel {
  /** As in a session of rows.js: `unread` tokens of the last prompt, because it was stopped. */
  sessions = { model: { unread: 0 } };

  /**
   * @param {GpuEngine} engine
   * @param {{max_position_embeddings?: number}} config
   * @param {{eos_token_id?: number | number[]}} generationConfig
   * @param {() => Promise<boolean>} [isStopped] called while a long prompt is read
   */
  constructor(engine, config, generationConfig, isStopped) {
    this.engine = engine;
    this.config = config;
    this.generation_config = generationConfig;
    this.isStopped = isStopped;
  }

  /**
   * @param {GPUDevice} device
   * @param {Features} features
   * @param {DecoderPlan} plan
   * @param {ReadFile} readFile
   */
  static createEngine(device, features, plan, readFile) {
    return GpuEngine.create(new Kernels(device, features), plan, readFile);
  }

  /** @param {Request} request */
  async generate({ ids, kept_tokens, streamer, stopping_criteria, ...options }) {
    const { model } = this.sessions;
    model.unread = ids.length - kept_tokens;
    model.unread -= await this.engine.read(ids.slice(kept_tokens), kept_tokens, this.isStopped);
    if (model.unread) return;
    streamer.put([ids.map(BigInt)]);
    const { do_sample: samples, temperature = 1, top_k: top = 1 } = options;
    await this.engine.generate({
      position: ids.length,
      count: options.max_new_tokens,
      least: options.min_new_tokens,
      ends: [this.generation_config.eos_token_id ?? []].flat(),
      sampling: samples ? { top, temperature, seed: Math.floor(Math.random() * SEEDS) } : null,
      onToken: (token) => streamer.put([[BigInt(token)]]),
      isStopped: () => stopping_criteria.interrupted,
    });
    streamer.end();
  }

  /**
   * How far the logits are from a reference's, see `Comparison`. The cache holds the reference afterwards.
   *
   * @param {Reference} reference
   * @param {number} maxTokens
   */
  async disagreement(reference, maxTokens) {
    const { prompt_ids: prompt, token_ids: tokens } = reference;
    const comparison = new Comparison(reference);
    await this.engine.read(prompt, 0);
    comparison.add(0, await this.engine.logitsAfterPrompt());
    for (let step = 1; step < Math.min(maxTokens, tokens.length); step++) {
      comparison.add(step, await this.engine.logitsAfter(tokens[step - 1], prompt.length + step - 1));
    }
    return comparison.disagreement;
  }

  /** Bytes of the cached keys and values of `tokens`. @param {number} tokens */
  cacheBytes(tokens) {
    return this.engine.cacheBytes(tokens);
  }

  async dispose() {
    this.engine.destroy();
  }
}
