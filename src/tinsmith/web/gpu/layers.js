/**
 * The kernels of a layer: five, or six where attention is joined in a dispatch of its own.
 *
 * @import { HeadSizes } from "./attention.js"
 * @import { Features } from "./kernels.js"
 * @import { DecoderPlan, Layer, Matrix, Norm } from "./plan.js"
 * @import { Product, Source } from "./product.js"
 */

import { attentionSource, joinSource } from "./attention.js";
import { placeMatrices } from "./buffers.js";
import { hasRoom, productSource } from "./product.js";

/**
 * Norm and products to queries, keys and values; attention; joining its parts, unless the next kernel does; its output
 * product; norm, gate and up; down.
 *
 * @param {DecoderPlan} plan
 * @param {Layer} layer
 * @param {Norm | null} change the norm of what the layer before adds to the stream
 * @param {Features} features
 * @returns {{qkv: Source, attention: Source, join: Source | null, output: Source, gateUp: Source, down: Source}}
 */
export function layerSources(plan, layer, change, features) {
  /** @type {Product["output"]} */
  const sum = layer.attention_norm ? { kind: "store", hasBias: false } : { kind: "add" };
  const { gate, up } = layer.gate_up.at;
  const product = (
    /** @type {string} */ name,
    /** @type {Matrix[]} */ matrices,
    /** @type {Product["input"]} */ input,
    /** @type {Product["output"]} */ output,
  ) => productSource({ name, placed: placeMatrices(matrices).placed, input, output }, features);
  const sizes = headSizes(plan, layer);
  /** @type {Product["input"]} */
  const parts = { kind: "attention", heads: plan.heads, headSize: plan.head_size, window: layer.window };
  const joins = hasRoom(parts, layer.output.columns, features);
  return {
    qkv: product("qkv", layer.qkv.matrices, normInput(layer.input_norm, change), {
      kind: "store",
      hasBias: layer.qkv.biases.length > 0,
    }),
    attention: attentionSource(sizes),
    join: joins ? null : joinSource(sizes),
    output: product("output", [layer.output], joins ? parts : { kind: "plain" }, sum),
    gateUp: product("gate and up", layer.gate_up.matrices, normInput(layer.mlp_norm, layer.attention_norm), {
      kind: "gated",
      activation: plan.activation,
      gate,
      up,
    }),
    down: product("down", [layer.down], { kind: "plain" }, sum),
  };
}

/** @param {DecoderPlan} plan @param {Layer} layer @returns {HeadSizes} */
export function headSizes({ heads, kv_heads, head_size }, { window, scale, qkv, query_norm, key_norm }) {
  const at = { query: qkv.at.query, key: qkv.at.key, value: qkv.at.value };
  const norms = { query: query_norm && query_norm.epsilon, key: key_norm && key_norm.epsilon };
  return { heads, kvHeads: kv_heads, headSize: head_size, window, scale, at, norms };
}

/**
 * @param {Norm} norm of the stream
 * @param {Norm | null} change of what is added to the stream first
 */
export function normInput({ epsilon }, change) {
  const post = change && change.epsilon;
  return { kind: /** @type {const} */ ("norm"), epsilon, post, keeps: post !== null };
}
