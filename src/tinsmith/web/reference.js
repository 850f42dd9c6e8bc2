/**
 * Checks that this device computes the same logits as ONNX Runtime on a processor did during export.
 *
 * @import { Tensor } from "@huggingface/transformers"
 * @import { Model, Transformers } from "./types.d.ts"
 */

/**
 * A prompt, the first tokens of its answer, and the logits of the most likely tokens before each of them.
 *
 * @typedef {object} Reference
 * @property {number[]} prompt_ids
 * @property {number[]} token_ids
 * @property {number[][]} likely_ids
 * @property {number[][]} likely_logits
 */

/** A hundred times what rounding to float16 causes, and a tenth of what unrelated logits cause. */
export const MAX_DISAGREEMENT = 0.1;

/** Sums squared differences of logits from a reference's. */
export class Comparison {
  #squares = 0;
  #variance = 0;

  /** @param {Reference} reference */
  constructor(reference) {
    this.reference = reference;
  }

  /** @param {number} step number of the reference's token that comes next @param {Float32Array} logits */
  add(step, logits) {
    const expected = this.reference.likely_logits[step];
    const mean = expected.reduce((sum, value) => sum + value, 0) / expected.length;
    expected.forEach((value, index) => {
      this.#squares += (logits[this.reference.likely_ids[step][index]] - value) ** 2;
      this.#variance += (value - mean) ** 2;
    });
  }

  /** Sum of squared differences, divided by the logits' variance. 0 is agreement; unrelated logits are above 1. */
  get disagreement() {
    return this.#squares / this.#variance;
  }
}

/**
 * How far a model's logits are from a reference's, see `Comparison`.
 *
 * @param {Transformers} transformers
 * @param {Model} model
 * @param {Reference} reference
 * @param {number} maxTokens how many of the reference's tokens to compute
 * @returns {Promise<number>}
 */
export async function disagreement(transformers, model, reference, maxTokens) {
  const comparison = new Comparison(reference);
  let step = 0;
  class FollowReference extends transformers.LogitsProcessor {
    /**
     * Compares the logits, then leaves only the reference's token to choose.
     *
     * @override @param {bigint[][]} _ids @param {Tensor} logits
     */
    _call(_ids, logits) {
      const data = /** @type {Float32Array} */ (logits.data);
      comparison.add(step, data);
      data.fill(-Infinity);
      data[reference.token_ids[step]] = 0;
      step += 1;
      return logits;
    }
  }
  const processors = new transformers.LogitsProcessorList();
  processors.push(new FollowReference());
  const cache = new transformers.DynamicCache();
  const length = reference.prompt_ids.length;
  await model.generate({
    input_ids: new transformers.Tensor("int64", reference.prompt_ids.map(BigInt), [1, length]),
    attention_mask: transformers.ones([1, length]),
    past_key_values: cache,
    max_new_tokens: Math.min(maxTokens, reference.token_ids.length),
    do_sample: false,
    logits_processor: processors,
  });
  await cache.dispose();
  return comparison.disagreement;
}
