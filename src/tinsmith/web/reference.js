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

/**
 * Sum of squared differences of the logits, divided by their variance. 0 is agreement; unrelated logits are above 1.
 *
 * @param {Transformers} transformers
 * @param {Model} model
 * @param {Reference} reference
 * @param {number} maxTokens how many of the reference's tokens to compute
 * @returns {Promise<number>}
 */
export async function disagreement(transformers, model, reference, maxTokens) {
  let squares = 0;
  let variance = 0;
  let step = 0;
  class FollowReference extends transformers.LogitsProcessor {
    /**
     * Compares the logits, then leaves only the reference's token to choose.
     *
     * @override @param {bigint[][]} _ids @param {Tensor} logits
     */
    _call(_ids, logits) {
      const data = /** @type {Float32Array} */ (logits.data);
      const expected = reference.likely_logits[step];
      const mean = expected.reduce((sum, value) => sum + value, 0) / expected.length;
      expected.forEach((value, index) => {
        squares += (data[reference.likely_ids[step][index]] - value) ** 2;
        variance += (value - mean) ** 2;
      });
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
  return squares / variance;
}
