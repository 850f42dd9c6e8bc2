/**
 * Reads prompts: many tokens at once, in pieces that a stop can come between.
 *
 * @import { Decoder } from "./decoder.js"
 * @import { Dispatch } from "./kernels.js"
 * @import { Layer, Matrix, Norm } from "./plan.js"
 * @import { Source } from "./product.js"
 */

import { placeMatrices } from "./buffers.js";
import { embedSource } from "./choice.js";
import { both, run } from "./decoder.js";
import { headSizes } from "./layers.js";
import {
  QUERIES,
  TILE_ROWS,
  TILE_TOKENS,
  tileShape,
  tileAttentionSource,
  tileGateSource,
  tileNormSource,
  tileProductSource,
  tileRotationSource,
} from "./tiles.js";

/** Tokens read at once. */
export const PIECE_TOKENS = 256;

/** @typedef {{dispatch: Dispatch, tokens: number}} Step a dispatch, and for how many tokens it has a line of workgroups */

export class Prefill {
  /** @type {Step[]} */
  #steps = [];

  /** What the products of `#steps` read of their matrices. @type {GPUBuffer[]} */
  #shapes = [];

  /** @param {Decoder} decoder */
  constructor(decoder) {
    this.decoder = decoder;
    const { buffers, plan } = decoder;
    const heads = plan.heads * plan.head_size;
    const widths = {
      stream: plan.hidden,
      normed: plan.hidden,
      change: plan.hidden,
      projected: heads + 2 * plan.kv_heads * plan.head_size,
      queries: heads,
      attended: heads,
      both: 2 * plan.inner,
      active: plan.inner,
      tokens: 1,
      noBias: 1,
    };
    const make = (/** @type {keyof typeof widths} */ name) => buffers.empty(name, 4 * PIECE_TOKENS * widths[name]);
    const names = /** @type {(keyof typeof widths)[]} */ (Object.keys(widths));
    /** @type {Record<keyof typeof widths, GPUBuffer>} */
    this.own = /** @type {any} */ (Object.fromEntries(names.map((name) => [name, make(name)])));
  }

  /** @param {Decoder} decoder */
  static async create(decoder) {
    const prefill = new Prefill(decoder);
    await prefill.prepare();
    return prefill;
  }

  /** Make the dispatches; again after the cache has grown. */
  async prepare() {
    const { decoder, own } = this;
    const { plan } = decoder;
    for (const shape of this.#shapes.splice(0)) decoder.buffers.destroy(shape);
    const embed = await decoder.make(
      embedSource(placeMatrices([plan.embedding.matrix]).placed[0], plan.embedding.scale),
    );
    this.#steps = [
      { dispatch: embed({ tokens: own.tokens, ...both(decoder.weights.embedding), stream: own.stream }), tokens: 1 },
    ];
    /** @type {Norm | null} */
    let change = null;
    for (const [index, layer] of plan.layers.entries()) {
      await this.#prepareLayer(layer, index, change);
      change = layer.feed_forward_norm;
    }
  }

  /** @param {Layer} layer @param {number} index @param {Norm | null} change the norm of what the layer before adds */
  async #prepareLayer(layer, index, change) {
    const { decoder, own } = this;
    const { plan } = decoder;
    const weights = decoder.layers[index];
    const { state } = decoder.token;
    const sizes = headSizes(plan, layer);
    const step = (
      /** @type {Source} */ source,
      /** @type {number} */ tokens,
      /** @type {Record<string, GPUBuffer>} */ buffers,
    ) => this.#prepareStep(source, tokens, { state, ...buffers });
    const product = (
      /** @type {Matrix[]} */ matrices,
      /** @type {GPUBuffer} */ buffer,
      /** @type {GPUBuffer} */ x,
      /** @type {GPUBuffer} */ result,
      { adds = false, bias = /** @type {GPUBuffer | null} */ (null) } = {},
    ) => this.#prepareProducts(matrices, { state, ...both(buffer), x, result }, { adds, bias });
    const norm = (/** @type {Norm} */ { epsilon }, /** @type {Norm | null} */ post, /** @type {GPUBuffer} */ norms) =>
      step(tileNormSource(plan.hidden, epsilon, post && post.epsilon), 1, {
        stream: own.stream,
        norms,
        result: own.normed,
        change: own.change,
      });
    const sum = decoder.hasPostNorms ? own.change : own.stream;
    const adds = !decoder.hasPostNorms;
    const { keys, values } = weights;
    await norm(layer.input_norm, change, weights.inputNorms);
    await product(layer.qkv.matrices, weights.qkv, own.normed, own.projected, { bias: weights.bias });
    const rotation = { projected: own.projected, ...decoder.rotation(layer, index), queries: own.queries };
    await step(tileRotationSource(sizes), 1, rotation);
    await step(tileAttentionSource(sizes), QUERIES, { queries: own.queries, keys, values, attended: own.attended });
    await product([layer.output], weights.output, own.attended, sum, { adds });
    await norm(layer.mlp_norm, layer.attention_norm, weights.mlpNorms);
    await product(layer.gate_up.matrices, weights.gateUp, own.normed, own.both);
    const { gate, up } = layer.gate_up.at;
    await step(tileGateSource(plan.inner, { gate, up }, plan.activation), 1, { both: own.both, result: own.active });
    await product([layer.down], weights.down, own.active, sum, { adds });
  }

  /** @param {Source} source @param {number} tokens @param {Record<string, GPUBuffer>} buffers */
  async #prepareStep(source, tokens, buffers) {
    const make = await this.decoder.make(source);
    this.#steps.push({ dispatch: make(buffers), tokens });
  }

  /**
   * @param {Matrix[]} matrices side by side
   * @param {Record<string, GPUBuffer>} buffers
   * @param {{adds: boolean, bias: GPUBuffer | null}} output
   */
  async #prepareProducts(matrices, buffers, { adds, bias }) {
    const { decoder } = this;
    const width = matrices.reduce((sum, { rows }) => sum + rows, 0);
    let resultAt = 0;
    for (const placed of placeMatrices(matrices).placed) {
      const make = await decoder.make(tileProductSource(placed.matrix.bits));
      const shape = decoder.buffers.of("shape", tileShape(placed, { width, resultAt, adds, hasBias: !!bias }));
      this.#shapes.push(shape);
      const dispatch = make({ ...buffers, shape, bias: bias ?? this.own.noBias });
      const rows = Math.ceil(placed.matrix.rows / TILE_ROWS);
      this.#steps.push({ dispatch: { ...dispatch, size: [rows, 1] }, tokens: TILE_TOKENS });
      resultAt += placed.matrix.rows;
    }
  }

  /**
   * Read tokens; the stream behind the last of them is left where the head reads it.
   *
   * @param {number[]} ids
   * @param {number} first position of the first one
   * @param {() => Promise<boolean>} [isStopped] called between pieces
   * @returns {Promise<number>} how many were read
   */
  async read(ids, first, isStopped = async () => false) {
    const { decoder, own } = this;
    const { device, plan } = decoder;
    for (let start = 0; start < ids.length; start += PIECE_TOKENS) {
      if (start) {
        await device.queue.onSubmittedWorkDone();
        if (await isStopped()) return start;
      }
      const piece = ids.slice(start, start + PIECE_TOKENS);
      device.queue.writeBuffer(own.tokens, 0, Uint32Array.from(piece));
      decoder.setPosition(first + start, piece.length, 0);
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      for (const { dispatch, tokens } of this.#steps) {
        run(pass, dispatch, Math.ceil(piece.length / tokens));
      }
      pass.end();
      const bytes = 4 * plan.hidden;
      const last = (piece.length - 1) * bytes;
      encoder.copyBufferToBuffer(own.stream, last, decoder.lastStream, 0, bytes);
      encoder.copyBufferToBuffer(own.change, last, decoder.token.change, 0, bytes);
      device.queue.submit([encoder.finish()]);
    }
    return ids.length;
  }
}
