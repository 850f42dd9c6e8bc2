/**
 * Whether this device computes what ONNX Runtime computed on a processor when the package was made.
 *
 * @typedef {{prompt_ids: number[], token_ids: number[], likely_ids: number[][], likely_logits: number[][]}} Reference
 *   a prompt, its answer's first tokens, and before each of them the logits of the most likely tokens
 */

/** Two orders of magnitude above rounding to float16, and a tenth of what unrelated logits give. */
export const MOST_DISAGREEMENT = 0.1;

/**
 * Squared differences of the logits over their variance: 0 is agreement, and what is unrelated is above 1.
 *
 * @param {any} transformers the Transformers.js module
 * @param {any} model
 * @param {Reference} reference
 * @param {number} steps how many of the reference's tokens to compute
 * @returns {Promise<number>}
 */
export async function disagreement(transformers, model, reference, steps) {
  let squares = 0;
  let variance = 0;
  let step = 0;
  class Follow extends transformers.LogitsProcessor {
    /** Compare, then leave nothing but the reference's token to choose. @param {any} _ids @param {any} logits */
    _call(_ids, logits) {
      const wanted = reference.likely_logits[step];
      const mean = wanted.reduce((sum, value) => sum + value, 0) / wanted.length;
      wanted.forEach((value, index) => {
        squares += (logits.data[reference.likely_ids[step][index]] - value) ** 2;
        variance += (value - mean) ** 2;
      });
      logits.data.fill(-Infinity);
      logits.data[reference.token_ids[step]] = 0;
      step += 1;
      return logits;
    }
  }
  const processors = new transformers.LogitsProcessorList();
  processors.push(new Follow());
  const past_key_values = new transformers.DynamicCache();
  const length = reference.prompt_ids.length;
  await model.generate({
    input_ids: new transformers.Tensor("int64", reference.prompt_ids.map(BigInt), [1, length]),
    attention_mask: transformers.ones([1, length]),
    past_key_values,
    max_new_tokens: Math.min(steps, reference.token_ids.length),
    do_sample: false,
    logits_processor: processors,
  });
  await past_key_values.dispose();
  return squares / variance;
}
