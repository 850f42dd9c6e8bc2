/**
 * Runs the model off the page's thread. The chat page and the benchmark both use this file; messages.js defines the messages.
 *
 * @import { Adapter, CompareRequest, Device, Done, Engine, GenerateRequest, LoadRequest, LookUpRequest, Message, OpenAnswersRequest, Reply, Requests, SentRequest, TokenizeRequest } from "./messages.js"
 * @import { Prompt } from "./context.js"
 * @import { Chat } from "./loader.js"
 * @import { Model, Tokenizer, Transformers } from "./types.d.ts"
 */

import { Answers, fetchAnswers } from "./answers.js";
import { fitPrompt, Past } from "./context.js";
import {
  chooseDevice,
  chooseThreads,
  describe,
  gpuOptions,
  importRuntime,
  importTransformers,
  ownOptions,
  requestAdapter,
  watchPlacement,
} from "./device.js";
import { GpuCache, OwnModel } from "./gpu/model.js";
import { gpuFailed, loadChat, loadOwn, Unsuitable } from "./loader.js";
import { disagreement } from "./reference.js";
import { folderUrl, Store } from "./store.js";
import { ChatEncoder } from "./tokens.js";

/**
 * @typedef {object} Loaded
 * @property {Transformers} transformers
 * @property {Tokenizer} tokenizer
 * @property {ChatEncoder} encoder
 * @property {Model | OwnModel} model
 * @property {Device} device
 * @property {InstanceType<Transformers["InterruptableStoppingCriteria"]>} stopping
 * @property {Past} past
 * @property {number} contextTokens
 */

/** @type {Loaded | null} */
let loaded = null;

/** The owner's answers, once they are open. @type {Answers | null} */
let answers = null;

/** The WebGPU adapter in use or refused. @type {Adapter | null} */
let adapter = null;

/** The last action that uses ONNX Runtime, the cache or the stopping flag; each waits for the one before. @type {Promise<unknown>} */
let running = Promise.resolve();

/** Number of `stop` requests so far. */
let stops = 0;

/** Options for sampled answers. */
const SAMPLING = { do_sample: true, temperature: 0.7, top_k: 50 };

/** Decoding options. Some tokenizers would otherwise remove spaces before punctuation. */
const EXACT_TEXT = { clean_up_tokenization_spaces: false };

/** Longest conversation, whatever the model allows: keys and values of more tokens would fill a phone's memory. */
const MOST_CONTEXT_TOKENS = 4096;

const now = () => performance.timeOrigin + performance.now();

/** @param {Reply} reply */
const post = (reply) => postMessage(reply);

/** @param {LoadRequest & {id: number}} request */
async function load({ id, ...request }) {
  const { gpu, device, notice } = await findDevice(request.device);
  const threads = chooseThreads(request.threads);
  const { chat, engine, reason } = await loadOnEngine(device, gpu, { ...request, id, threads });
  const { transformers, tokenizer, model, graph, files, isKept, placement } = chat;
  const contextTokens = contextLength(model);
  const stopping = new transformers.InterruptableStoppingCriteria();
  const encoder = new ChatEncoder(tokenizer);
  const { DynamicCache, Tensor } = transformers;
  const past = new Past({ DynamicCache: engine === "own" ? /** @type {any} */ (GpuCache) : DynamicCache, Tensor });
  loaded = { transformers, tokenizer, encoder, model, device, stopping, past, contextTokens };
  const why = request.notice ?? (reason ? `Running on the GPU with ONNX Runtime: ${reason}` : notice);
  const settings = { device, engine, graph, notice: why, contextTokens, threads, crossOriginIsolated };
  const versions = versionsOf(transformers.env, engine);
  post({ type: "ready", id, ...settings, adapter, files, isKept, versions, placement, time: now() });
}

/**
 * @typedef {LoadRequest & {id: number, threads: number}} Given a request with the number of threads
 *
 * @typedef {Chat & {transformers: Transformers, placement: Record<string, number> | null}} LoadedChat
 */

/**
 * The model on the site's own kernels, or else on ONNX Runtime.
 *
 * @param {Device} device
 * @param {GPUAdapter | null} gpu
 * @param {Given} request
 * @returns {Promise<{chat: LoadedChat, engine: Engine, reason: string}>} `reason` says why the own kernels are not used
 */
async function loadOnEngine(device, gpu, request) {
  let reason = "";
  if (device === "webgpu" && request.engine !== "onnxruntime" && !request.graph) {
    try {
      return { chat: await loadOnOwnKernels(request), engine: "own", reason };
    } catch (error) {
      reason = whyNot(error, request);
    }
  }
  return { chat: await loadOnRuntime(device, gpu, request), engine: "onnxruntime", reason };
}

/**
 * Why the site's own kernels are not used.
 *
 * @param {unknown} error
 * @param {LoadRequest} request
 * @returns {string}
 * @throws {unknown} what is no fault of these kernels, or if no others are wanted
 */
function whyNot(error, request) {
  if (!(error instanceof Unsuitable) || request.engine === "own") throw error;
  return error.message;
}

/** @param {Given} request @returns {Promise<LoadedChat>} */
async function loadOnOwnKernels({ id, modelUrl, threads }) {
  // The tokenizer needs no runtime, but where the owner's answers are open, they have this build in use.
  const transformers = await importTransformers("wasm", threads);
  const chat = await loadOwn(transformers, modelUrl, {
    device: "webgpu",
    ...(await ownOptions(!!adapter?.software)),
    onProgress: (progress) => post({ type: "progress", id, ...progress }),
    isStopped,
  });
  return { transformers, ...chat, placement: null };
}

/** @param {Device} device @param {GPUAdapter | null} gpu @param {Given} request @returns {Promise<LoadedChat>} */
async function loadOnRuntime(device, gpu, { id, modelUrl, graph, threads, reportsPlacement }) {
  const transformers = await importTransformers(device, threads);
  // Watching slows loading, but load times on a software adapter mean nothing anyway.
  const placement = reportsPlacement || adapter?.software ? watchPlacement() : null;
  const chat = await loadChat(transformers, modelUrl, {
    device,
    graph,
    onProgress: (progress) => post({ type: "progress", id, ...progress }),
    isStopped,
    inTurn,
    sessionOptions: placement ? { logSeverityLevel: 0 } : {},
    ...(device === "webgpu" && gpu ? await gpuOptions(gpu, !!adapter?.software) : {}),
  });
  receiveBetweenTokens(/** @type {Model} */ (chat.model));
  return { transformers, ...chat, placement };
}

/** @param {LoadRequest["device"]} [requested] @returns {Promise<{gpu: GPUAdapter | null, device: Device, notice: string}>} */
async function findDevice(requested = "auto") {
  const gpu = requested === "wasm" ? null : await requestAdapter();
  adapter = gpu && describe(gpu);
  return { gpu, ...chooseDevice(requested, adapter) };
}

/** @param {OpenAnswersRequest & {id: number}} request */
async function openAnswers({ id, url, ...request }) {
  const store = await Store.open(folderUrl(url), (progress) => post({ type: "progress", id, ...progress }));
  const content = await fetchAnswers(store);
  const { fallback, unknown, ladder, small_talk: smallTalk } = content.settings;
  // The runtime for a GPU is twice as large, and models on GPUs do without it.
  const { PreTrainedTokenizer } = await importTransformers("wasm", chooseThreads(request.threads));
  const opened = await inTurn(async () => {
    return Answers.create(content, { PreTrainedTokenizer, ort: await importRuntime("wasm") });
  });
  await store.finish();
  answers = opened;
  const { sure, likely, min_closeness: minCloseness } = ladder;
  const settings = { fallback, unknown, smallTalk, thresholds: { sure, likely, minCloseness }, isKept: store.isKept };
  post({ type: "answers", id, passages: opened.passages.length, ...settings });
}

/** @param {Model | OwnModel} model @returns {number} tokens of the longest conversation */
function contextLength({ config }) {
  const { max_position_embeddings: modelTokens } = /** @type {{max_position_embeddings?: number}} */ (config);
  return Math.min(MOST_CONTEXT_TOKENS, modelTokens ?? MOST_CONTEXT_TOKENS);
}

/** @param {Transformers["env"]} env @param {Engine} engine @returns {Record<string, string>} of the libraries in use */
function versionsOf(env, engine) {
  const libraries = { "@huggingface/transformers": env.version };
  return engine === "own" ? libraries : { ...libraries, "onnxruntime-web": env.backends.onnx.versions?.web ?? "" };
}

/**
 * Handle queued messages. On WASM a generation never yields to the event loop, so a `stop` would wait for its end.
 *
 * @returns {Promise<void>}
 */
function handleMessages() {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/** Whether the answer whose prompt is being read was stopped. */
async function isStopped() {
  await handleMessages();
  return !!loaded?.stopping.interrupted;
}

/** @param {Model} model */
function receiveBetweenTokens(model) {
  const forward = model.forward.bind(model);
  model.forward = async (inputs) => {
    await handleMessages();
    return forward(inputs);
  };
}

function requireLoaded() {
  if (!loaded) throw new Error("No model is loaded; send 'load' first.");
  return loaded;
}

/**
 * Run `action` after all earlier requests.
 *
 * @template T
 * @param {() => T | Promise<T>} action
 * @returns {Promise<T>}
 */
function inTurn(action) {
  const result = running.then(action);
  running = result.catch(() => {}); // the caller gets the error
  return result;
}

/** @param {LookUpRequest & {id: number}} request */
async function lookUp({ id, question, previous }) {
  const ranking = await inTurn(() => {
    if (!answers) throw new Error("No answers are open; send 'open_answers' first.");
    return answers.lookUp(question, previous);
  });
  post({ type: "ranked", id, ...ranking });
}

/** @param {GenerateRequest & {id: number}} request */
function generate(request) {
  const stopsBefore = stops;
  return inTurn(() => {
    const { stopping } = requireLoaded();
    stopping.reset();
    if (stops > stopsBefore) stopping.interrupt(); // a stop also ends queued requests
    return answer(request);
  });
}

/** @param {GenerateRequest & {id: number}} request */
async function answer({ id, messages, maxNewTokens, minNewTokens = 0, greedy = true }) {
  const { tokenizer, encoder, past, contextTokens } = requireLoaded();
  const promptOf = (/** @type {Message[]} */ some) => {
    const pieces = encoder.pieces(some, true);
    return { pieces, ids: past.encode(pieces, (piece) => encoder.encode(piece)) };
  };
  const { prompt, droppedTurns } = fitPrompt(promptOf, messages, contextTokens - maxNewTokens, past.droppedTurns);
  const keptTokens = await past.keepFor(prompt.ids);
  const output = new Output(id, tokenizer);
  await runModel(prompt.ids, keptTokens, output, {
    max_new_tokens: maxNewTokens,
    min_new_tokens: minNewTokens,
    ...(greedy ? { do_sample: false } : SAMPLING),
  });
  past.droppedTurns = droppedTurns;
  recordAnswer(prompt, output);
  const { tokenIds, times, text } = output;
  const { model } = requireLoaded();
  const pastBytes = model instanceof OwnModel ? model.cacheBytes(past.ids.length) : past.bytes;
  const counts = { promptTokens: prompt.ids.length, keptTokens, droppedTurns, contextTokens, pastBytes };
  post({ type: "done", id, tokenIds, times, text, ...counts, stopped: whyStopped(tokenIds) });
}

/** Collects an answer and posts every token as it is generated. */
class Output {
  /** @type {number[]} */
  tokenIds = [];

  /** @type {number[]} */
  times = [];

  text = "";

  /** Decoded text that is not posted yet. */
  #pending = "";

  /** @param {number} id of the request @param {Tokenizer} tokenizer */
  constructor(id, tokenizer) {
    this.id = id;
    this.tokenizer = tokenizer;
  }

  /** For Transformers.js. */
  streamer() {
    const { transformers, model } = requireLoaded();
    const streamer = new transformers.TextStreamer(this.tokenizer, {
      skip_prompt: true,
      skip_special_tokens: true,
      decode_kwargs: EXACT_TEXT,
      token_callback_function: (tokenIds) => {
        this.times.push(now());
        this.tokenIds.push(Number(tokenIds[0]));
      },
      callback_function: (piece) => {
        this.#pending += piece;
      },
    });
    const put = streamer.put.bind(streamer);
    streamer.put = (value) => {
      const before = this.tokenIds.length;
      put(value);
      if (this.tokenIds.length > before && !model.sessions.model.unread) this.#postToken();
    };
    return streamer;
  }

  #postToken() {
    const [tokenId, time] = [this.tokenIds.at(-1) ?? NaN, this.times.at(-1) ?? NaN];
    post({ type: "token", id: this.id, tokenId, time, text: this.#flush() });
  }

  #flush() {
    const piece = this.#pending;
    this.text += piece;
    this.#pending = "";
    return piece;
  }

  /** Add the text that was decoded after the last token. */
  end() {
    this.#flush();
  }

  /** Drop tokens that were generated before the prompt was read to its end. */
  discard() {
    this.tokenIds = [];
    this.times = [];
  }
}

/**
 * Generate after a prompt whose beginning is cached.
 *
 * @param {number[]} ids
 * @param {number} keptTokens how many of them are cached
 * @param {Output} output
 * @param {{max_new_tokens: number, min_new_tokens: number, do_sample?: boolean, temperature?: number, top_k?: number}} options
 * @throws {Unsuitable} if the GPU failed
 */
async function runModel(ids, keptTokens, output, options) {
  const { transformers, model, device, stopping, past } = requireLoaded();
  try {
    const request = { ...options, streamer: output.streamer(), stopping_criteria: stopping };
    if (model instanceof OwnModel) await model.generate({ ids, kept_tokens: keptTokens, ...request });
    else {
      await model.generate({
        input_ids: new transformers.Tensor("int64", ids.map(BigInt), [1, ids.length]),
        attention_mask: transformers.ones([1, ids.length]),
        past_key_values: past.cache,
        ...request,
      });
    }
  } catch (error) {
    // The cache's content is undefined now, and a GPU that failed may be unable to free it.
    await past.forget().catch((problem) => {
      if (device !== "webgpu") throw problem;
    });
    throw device === "webgpu" ? gpuFailed(error) : error;
  }
}

/**
 * Record what was read and generated, for the next turn.
 *
 * @param {Prompt} prompt
 * @param {Output} output
 */
function recordAnswer(prompt, output) {
  const { tokenizer, model, past } = requireLoaded();
  const { unread } = model.sessions.model;
  if (unread) {
    past.recordPartial(prompt.ids.slice(0, -unread));
    output.discard();
    return;
  }
  output.end();
  past.record(prompt, { text: tokenizer.decode(output.tokenIds, EXACT_TEXT), ids: output.tokenIds });
}

/** @param {number[]} tokenIds @returns {Done["stopped"]} */
function whyStopped(tokenIds) {
  const { model, stopping } = requireLoaded();
  if (stopping.interrupted) return "request";
  const endIds = [model.generation_config?.eos_token_id ?? []].flat();
  return endIds.includes(tokenIds.at(-1) ?? NaN) ? "end" : "length";
}

/** @param {TokenizeRequest & {id: number}} request */
function tokenize({ id, messages, addGenerationPrompt = false }) {
  const { encoder } = requireLoaded();
  const pieces = encoder.pieces(messages, addGenerationPrompt);
  post({ type: "tokens", id, tokenIds: pieces.flatMap((piece) => encoder.encode(piece)) });
}

/** @param {CompareRequest & {id: number}} request */
async function compare({ id, reference }) {
  const difference = await inTurn(() => {
    const { transformers, model, stopping, past } = requireLoaded();
    stopping.reset();
    if (!(model instanceof OwnModel)) return disagreement(transformers, model, reference, Infinity);
    past.ids = []; // the reference replaces them
    return model.disagreement(reference, Infinity);
  });
  post({ type: "compared", id, disagreement: difference });
}

/** @param {{id: number}} request */
async function forget({ id }) {
  await inTurn(() => requireLoaded().past.forget());
  post({ type: "forgotten", id });
}

function stop() {
  stops += 1;
  loaded?.stopping.interrupt();
}

/** @type {{[T in keyof Requests]: (request: SentRequest<T>) => void | Promise<void>}} */
const handlers = { open_answers: openAnswers, load, look_up: lookUp, generate, tokenize, compare, forget, stop };

/** @template {keyof Requests} T @param {SentRequest<T>} request */
async function handle(request) {
  await handlers[request.type](request);
}

self.addEventListener("message", async (/** @type {MessageEvent<SentRequest>} */ event) => {
  const request = event.data;
  try {
    await handle(request);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    post({ type: "error", id: request.id, message, isUnsuitable: error instanceof Unsuitable, adapter });
  }
});
