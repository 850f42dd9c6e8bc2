/**
 * The decoder on a GPU, by its plan and over the package's own weights. Everything that a token needs is made once: kernels,
 * buffers and bind groups. A token is one submission; the next token is chosen on the GPU, so tokens run ahead of what is read
 * back.
 *
 * @import { DecoderPlan, Layer, Norm } from "./plan.js"
 * @import { Buffers } from "./buffers.js"
 * @import { Dispatch, Kernels } from "./kernels.js"
 * @import { Source } from "./product.js"
 */

import { partCount, PARTS } from "./attention.js";
import { placeMatrices } from "./buffers.js";
import { embedSource, greedySource, sampleSource } from "./choice.js";
import { STATE_BYTES } from "./kernels.js";
import { layerSources, normInput } from "./layers.js";
import { productSource } from "./product.js";
import { Prefill } from "./prefill.js";

/** Tokens of the longest conversation, and those that the first cache has room for. */
const MOST_TOKENS = 4096;
const FIRST_TOKENS = 512;

/**
 * @typedef {object} LayerBuffers
 * @property {GPUBuffer} qkv
 * @property {GPUBuffer | null} bias
 * @property {GPUBuffer} output
 * @property {GPUBuffer} gateUp
 * @property {GPUBuffer} down
 * @property {GPUBuffer} inputNorms the norm's weight, then that of the change before it
 * @property {GPUBuffer} mlpNorms
 * @property {GPUBuffer} norms weights of the norms of queries and keys
 * @property {GPUBuffer} keys
 * @property {GPUBuffer} values
 *
 * @typedef {Record<"state" | "tokens" | "chosen" | "stream" | "other" | "change" | "projected" | "attended" | "sizes" | "joined" | "active" | "logits" | "bests", GPUBuffer>} TokenBuffers
 */

export class Decoder {
  /** @type {LayerBuffers[]} */
  layers = [];

  /** Tokens that the cache has room for. */
  capacity = 0;

  /** Cosines and sines of every position there is room for, by rotation. @type {GPUBuffer[]} */
  turns = [];

  /** @type {TokenBuffers} */
  token = /** @type {any} */ (null);

  /** Weights around the layers. @type {Record<"head" | "embedding" | "norms", GPUBuffer>} */
  weights = /** @type {any} */ (null);

  /** The residual stream that the last layer leaves. @type {GPUBuffer} */
  lastStream = /** @type {any} */ (null);

  /** Dispatches of each layer; attention's size depends on the position. @type {{before: Dispatch, attention: Dispatch, window: number, after: Dispatch[]}[]} */
  #layers = [];

  /** @type {Record<"embed" | "head" | "greedy" | "sample", Dispatch>} */
  #ends = /** @type {any} */ (null);

  /**
   * @param {DecoderPlan} plan
   * @param {Buffers} buffers
   * @param {Kernels} kernels
   */
  constructor(plan, buffers, kernels) {
    this.plan = plan;
    this.buffers = buffers;
    this.kernels = kernels;
    this.device = kernels.device;
    this.hasPostNorms = plan.layers.some(({ attention_norm }) => attention_norm !== null);
  }

  /**
   * Copy the weights to the GPU and compile the kernels.
   *
   * @param {DecoderPlan} plan
   * @param {Buffers} buffers
   * @param {Kernels} kernels
   */
  static async create(plan, buffers, kernels) {
    const decoder = new Decoder(plan, buffers, kernels);
    await decoder.#load();
    decoder.#grow(FIRST_TOKENS);
    await decoder.#prepare();
    decoder.prefill = await Prefill.create(decoder);
    return decoder;
  }

  /** @type {Prefill} */
  prefill = /** @type {any} */ (null);

  /** The head, and the rows to add to some of its rows. */
  get #headMatrices() {
    const { head, refinement } = this.plan;
    return refinement ? [head, refinement.matrix] : [head];
  }

  async #load() {
    const { plan, buffers } = this;
    const { refinement } = plan;
    const isTied = JSON.stringify(plan.embedding.matrix) === JSON.stringify(plan.head);
    const head = await buffers.matrices("head", this.#headMatrices, refinement?.places);
    const embedding = isTied ? head : await buffers.matrices("embedding", [plan.embedding.matrix]);
    /** @type {Norm | null} */
    let change = null;
    for (const layer of plan.layers) {
      this.layers.push(await this.#loadLayer(layer, change));
      change = layer.feed_forward_norm;
    }
    const norms = await buffers.vectors("norms", weightsOf([plan.norm, change]));
    this.weights = { head, embedding, norms };
    this.token = this.#tokenBuffers();
  }

  /** @param {Layer} layer @param {Norm | null} change the norm of what the layer before adds to the stream */
  async #loadLayer(layer, change) {
    const { buffers } = this;
    return {
      qkv: await buffers.matrices("qkv", layer.qkv.matrices),
      bias: layer.qkv.biases.length ? await buffers.vectors("bias", layer.qkv.biases) : null,
      output: await buffers.matrices("output", [layer.output]),
      gateUp: await buffers.matrices("gate and up", layer.gate_up.matrices),
      down: await buffers.matrices("down", [layer.down]),
      inputNorms: await buffers.vectors("norms", weightsOf([layer.input_norm, change])),
      mlpNorms: await buffers.vectors("norms", weightsOf([layer.mlp_norm, layer.attention_norm])),
      norms: await buffers.vectors("norms", weightsOf([layer.query_norm, layer.key_norm])),
      keys: buffers.empty("keys", 0),
      values: buffers.empty("values", 0),
    };
  }

  /** @returns {TokenBuffers} */
  #tokenBuffers() {
    const { buffers } = this;
    const { hidden, inner, heads, kv_heads, head_size, vocabulary } = this.plan;
    const floats = {
      stream: hidden,
      other: hidden,
      change: hidden,
      projected: (heads + 2 * kv_heads) * head_size,
      attended: heads * PARTS * head_size,
      sizes: 2 * heads * PARTS,
      joined: heads * head_size,
      active: inner,
      logits: vocabulary,
      bests: 2 * vocabulary,
      chosen: MOST_TOKENS,
      tokens: 1,
      state: STATE_BYTES / 4,
    };
    const made = Object.entries(floats).map(([name, count]) => [name, buffers.empty(name, 4 * count)]);
    return Object.fromEntries(made);
  }

  /** Make room for `tokens` in the cache. @param {number} tokens */
  #grow(tokens) {
    const { kv_heads, head_size } = this.plan;
    this.capacity = Math.min(MOST_TOKENS, Math.max(FIRST_TOKENS, 2 ** Math.ceil(Math.log2(tokens))));
    const bytes = 4 * this.capacity * kv_heads * head_size;
    for (const turns of this.turns) this.buffers.destroy(turns);
    this.turns = this.plan.ropes.map((rope) => this.buffers.of("turns", turnsOf(rope, this.capacity)));
    for (const layer of this.layers) {
      layer.keys = this.buffers.grown(layer.keys, bytes);
      layer.values = this.buffers.grown(layer.values, bytes);
    }
  }

  /**
   * Make room for `tokens` in the cache, if it has less.
   *
   * @param {number} tokens
   */
  async reserve(tokens) {
    if (tokens > MOST_TOKENS) throw new Error(`The context has ${MOST_TOKENS} tokens; ${tokens} are needed.`);
    if (tokens <= this.capacity) return;
    this.#grow(tokens);
    await this.#prepare();
    await this.prefill.prepare();
  }

  /** Bytes of the cached keys and values of `tokens`. @param {number} tokens */
  cacheBytes(tokens) {
    const { layers, kv_heads, head_size } = this.plan;
    return 8 * layers.length * tokens * kv_heads * head_size;
  }

  async #prepare() {
    /** @type {GPUBuffer} */
    let stream = this.token.stream;
    this.#layers = [];
    for (const [index, layer] of this.plan.layers.entries()) {
      const prepared = await this.#prepareLayer(layer, index, stream);
      stream = prepared.stream;
      this.#layers.push(prepared);
    }
    this.lastStream = stream;
    this.#ends = await this.#prepareEnds(stream);
  }

  /** @param {Layer} layer @param {number} index @param {GPUBuffer} stream */
  async #prepareLayer(layer, index, stream) {
    const { token, hasPostNorms } = this;
    const own = this.layers[index];
    const before = index ? this.plan.layers[index - 1].feed_forward_norm : null;
    const { join: joinSource, ...sources } = layerSources(this.plan, layer, before, this.kernels.features);
    const makers = await Promise.all(Object.values(sources).map((source) => this.make(source)));
    const [qkv, attention, output, gateUp, down] = makers;
    const join = joinSource && (await this.make(joinSource));
    const afterInput = before ? this.#otherStream(stream) : stream;
    const afterMlp = hasPostNorms ? this.#otherStream(afterInput) : afterInput;
    const sum = (/** @type {GPUBuffer} */ target) => ({ result: hasPostNorms ? token.change : target });
    const shared = { state: token.state, change: token.change };
    const projected = { projected: token.projected, ...this.rotation(layer, index) };
    const parts = { attended: token.attended, sizes: token.sizes };
    const input = {
      stream_in: stream,
      stream_out: afterInput,
      norms: own.inputNorms,
      ...(own.bias && { bias: own.bias }),
    };
    const mlpInput = { stream_in: afterInput, stream_out: afterMlp, norms: own.mlpNorms };
    return {
      window: layer.window,
      stream: afterMlp,
      before: qkv({ ...shared, ...both(own.qkv), ...input, result: token.projected }),
      attention: attention({ ...shared, ...projected, ...parts }),
      after: [
        ...(join ? [join({ ...shared, ...parts, joined: token.joined })] : []),
        output({ ...shared, ...parts, x: token.joined, ...both(own.output), ...sum(afterInput) }),
        gateUp({ ...shared, ...both(own.gateUp), ...mlpInput, result: token.active }),
        down({ ...both(own.down), x: token.active, ...sum(afterMlp) }),
      ],
    };
  }

  /** @param {GPUBuffer} stream */
  #otherStream(stream) {
    return stream === this.token.stream ? this.token.other : this.token.stream;
  }

  /** @param {GPUBuffer} stream that the last layer leaves */
  async #prepareEnds(stream) {
    const { plan, token } = this;
    const { head, embedding, norms } = this.weights;
    const { placed, bytes } = placeMatrices(this.#headMatrices);
    const [own, refined = null] = placed;
    const last = plan.layers[plan.layers.length - 1].feed_forward_norm;
    const source = productSource(
      {
        name: "head",
        placed: [own],
        input: { ...normInput(plan.norm, last), keeps: false },
        output: { kind: "logits", refined, placesAt: bytes / 4 },
      },
      this.kernels.features,
    );
    const { state, tokens, chosen, logits, bests } = token;
    const embed = await this.make(embedSource(placeMatrices([plan.embedding.matrix]).placed[0], plan.embedding.scale));
    const choice = { state, tokens, chosen };
    return {
      embed: embed({ tokens, ...both(embedding), stream: token.stream }),
      head: (await this.make(source))({
        state,
        stream_in: stream,
        change: token.change,
        norms,
        ...both(head),
        result: logits,
        bests,
      }),
      greedy: (await this.make(greedySource(source.groups)))({ ...choice, bests }),
      sample: (await this.make(sampleSource(plan.vocabulary)))({ ...choice, logits }),
    };
  }

  /** What rotates a layer's queries and keys, and takes up its keys and values. @param {Layer} layer @param {number} index */
  rotation({ rope }, index) {
    const { norms, keys, values } = this.layers[index];
    return { turns: this.turns[rope], norms, keys, values };
  }

  /**
   * A function that makes a dispatch of a kernel.
   *
   * @param {Source} source
   * @returns {Promise<(buffers: Record<string, GPUBuffer>, others?: number) => Dispatch>}
   */
  async make(source) {
    const kernel = await this.kernels.make(source);
    return (buffers, others = 1) => this.kernels.dispatch(kernel, buffers, [source.groups, others]);
  }

  /**
   * Encode one token: its row of the embedding, all layers, the logits behind it, and the choice of the next token.
   *
   * @param {GPUCommandEncoder} encoder
   * @param {number} position of the token
   * @param {"greedy" | "sample" | null} choice null leaves the next token open
   * @returns {number} dispatches
   */
  encodeToken(encoder, position, choice) {
    const pass = encoder.beginComputePass();
    let count = run(pass, this.#ends.embed);
    for (const { before, attention, window, after } of this.#layers) {
      count += run(pass, before);
      count += run(pass, attention, partCount(position, window));
      for (const dispatch of after) count += run(pass, dispatch);
    }
    count += this.#encodeEnd(pass, choice);
    pass.end();
    return count;
  }

  /** @param {GPUComputePassEncoder} pass @param {"greedy" | "sample" | null} choice */
  #encodeEnd(pass, choice) {
    return run(pass, this.#ends.head) + (choice ? run(pass, this.#ends[choice]) : 0);
  }

  /** Encode the logits behind a prompt's last token, and the choice of the first new one. @param {GPUCommandEncoder} encoder @param {"greedy" | "sample" | null} choice */
  encodeAfterPrompt(encoder, choice) {
    const pass = encoder.beginComputePass();
    this.#encodeEnd(pass, choice);
    pass.end();
  }

  /** @param {number} position @param {number} count @param {number} step */
  setPosition(position, count, step) {
    this.device.queue.writeBuffer(this.token.state, 0, Uint32Array.of(position, count, step, 0));
  }

  destroy() {
    this.buffers.destroyAll();
  }
}

/** @param {GPUComputePassEncoder} pass @param {Dispatch} dispatch @param {number} [others] @returns {number} 1 */
export function run(pass, { pipeline, group, size }, others = size[1]) {
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(size[0], others);
  return 1;
}

/** @param {GPUBuffer} buffer with matrices @returns {{wide: GPUBuffer, words: GPUBuffer}} */
export function both(buffer) {
  return { wide: buffer, words: buffer };
}

/** @param {(Norm | null)[]} norms @returns {import("./plan.js").Vector[]} */
function weightsOf(norms) {
  return norms.flatMap((norm) => (norm ? [norm.weight] : []));
}

/**
 * Cosine and sine of every position and frequency. They are computed here, because WGSL allows errors of 2^-11 in them. Angles
 * are rounded to float32, as the package's graph does.
 *
 * @param {{frequencies: number[], factor: number}} rope
 * @param {number} positions
 */
function turnsOf({ frequencies, factor }, positions) {
  const turns = new Float32Array(2 * positions * frequencies.length);
  for (let position = 0, at = 0; position < positions; position++) {
    for (const frequency of frequencies) {
      const angle = Math.fround(position * frequency);
      turns[at++] = Math.cos(angle) * factor;
      turns[at++] = Math.sin(angle) * factor;
    }
  }
  return turns;
}
