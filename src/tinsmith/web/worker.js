/**
 * Runs the model off the page's thread. The chat page and the benchmark use this same file.
 *
 * @typedef {{role: 'system' | 'user' | 'assistant', content: string}} Message
 *
 * Requests. Each carries an `id`, repeated in every reply to it.
 * @typedef {{type: 'load', id: number, modelUrl: string, device?: 'auto' | 'wasm' | 'webgpu',
 *   dtype?: import('./loader.js').Dtype, threads?: number, reportsPlacement?: boolean, notice?: string}} Load
 *   `device` `auto` takes WebGPU on a hardware adapter, else WASM. Without `dtype` the package's quickest graph for the device
 *   is taken. `threads` 0 or absent chooses by the number of cores. `reportsPlacement` makes loading slower. `notice` is what
 *   `ready` is to say of the device. A worker loads once.
 * @typedef {{type: 'generate', id: number, messages: Message[], maxNewTokens: number, greedy?: boolean,
 *   minNewTokens?: number}} Generate
 *   `greedy` is true unless it says false. `minNewTokens` keeps end tokens from being chosen before it is reached. Tokens
 *   that the last request has read are not read again. Oldest turns are left out of a conversation that does not fit.
 * @typedef {{type: 'forget', id: number}} Forget frees what is kept of the last conversation
 * @typedef {{type: 'compare', id: number, reference: import('./reference.js').Reference}} Compare
 * @typedef {{type: 'tokenize', id: number, messages: Message[], addGenerationPrompt?: boolean}} Tokenize
 * @typedef {{type: 'stop', id: number}} Stop
 *
 * Replies. `time` is in milliseconds since the Unix epoch at the resolution of performance.now().
 * @typedef {{type: 'progress', id: number, file: string, loaded: number, total: number}} Progress bytes of one file
 * @typedef {{vendor: string, architecture: string, device: string, description: string, software: boolean}} Adapter
 * @typedef {{type: 'ready', id: number, device: 'wasm' | 'webgpu', dtype: import('./loader.js').Dtype, notice: string,
 *   contextTokens: number, threads: number,
 *   crossOriginIsolated: boolean, adapter: Adapter | null, files: string[], isKept: boolean, versions: Record<string, string>,
 *   placement: Record<string, number> | null, time: number}} Ready
 *   `notice` is empty, or says in a few words why the device is not the one asked for. `placement` counts the graph's nodes
 *   on each of ONNX Runtime's execution providers, if it was asked for.
 * @typedef {{type: 'token', id: number, tokenId: number, time: number, text: string}} Token
 *   `text` is what became certain with this token, often nothing.
 * @typedef {{type: 'done', id: number, tokenIds: number[], times: number[], text: string, promptTokens: number,
 *   keptTokens: number, droppedTurns: number, contextTokens: number, pastBytes: number,
 *   stopped: 'end' | 'length' | 'request'}} Done
 *   `keptTokens` of the prompt had been read before. `pastBytes` are kept for the next request.
 * @typedef {{type: 'forgotten', id: number}} Forgotten
 * @typedef {{type: 'compared', id: number, disagreement: number}} Compared
 * @typedef {{type: 'tokens', id: number, tokenIds: number[]}} Tokens
 * @typedef {{type: 'error', id: number, message: string, isUnsuitable: boolean, adapter: Adapter | null}} Failure
 *   `isUnsuitable` if it was the GPU, `adapter`, that could not load or run the model; another worker can, on the processor.
 */

import { fitted, Past } from "./context.js";
import { gpuFailed, loadChat, Unsuitable } from "./loader.js";
import { disagreement } from "./reference.js";

/** @type {{transformers: any, tokenizer: any, model: any, device: string, stopping: any, past: Past, contextTokens: number} | null} */
let loaded = null;

/** What the WebGPU adapter says of itself, once it was asked. @type {Adapter | null} */
let adapter = null;

/** How an answer is chosen that need not be the likeliest. */
const SAMPLING = { do_sample: true, temperature: 0.7, top_k: 50 };

/** Text as it was chosen: some tokenizers' settings take spaces before punctuation away. */
const AS_CHOSEN = { clean_up_tokenization_spaces: false };

/** Tokens of a conversation, beyond what the model can take: keys and values of more would fill a phone's memory. */
const MOST_CONTEXT_TOKENS = 4096;

const now = () => performance.timeOrigin + performance.now();

/** @param {any} reply */
const post = (reply) => postMessage(reply);

/** @returns {Promise<any>} the machine's WebGPU adapter, or null without one */
async function findAdapter() {
  return (await /** @type {any} */ (navigator).gpu?.requestAdapter({ powerPreference: "high-performance" })) ?? null;
}

/**
 * What an adapter says of itself.
 *
 * @param {any} adapter
 * @returns {Adapter}
 */
function describe(adapter) {
  const { vendor = "", architecture = "", device = "", description = "", isFallbackAdapter = false } = adapter.info ?? {};
  const words = `${vendor} ${architecture} ${device} ${description}`;
  const software = isFallbackAdapter || /swiftshader|llvmpipe|lavapipe|softpipe|basic render|warp/i.test(words);
  return { vendor, architecture, device, description, software };
}

// ONNX Runtime's prefill attention computes eight keys at a time across a subgroup. On narrower ones it is silently wrong
// from 32 prompt tokens on; without subgroups it takes another path. Goes when onnxruntime-web checks the width:
// https://github.com/microsoft/onnxruntime/pull/28520 made that path usable.
const MIN_SUBGROUP_LANES = 8;
const DEVICE_LIMITS = [
  "maxBindGroups", "maxBufferSize", "maxStorageBufferBindingSize", "maxStorageBuffersPerShaderStage",
  "maxComputeInvocationsPerWorkgroup", "maxComputeWorkgroupSizeX", "maxComputeWorkgroupSizeY", "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupStorageSize", "maxComputeWorkgroupsPerDimension",
];

/**
 * Session options for WebGPU: none, or a device that hides subgroups too narrow for ONNX Runtime.
 *
 * @param {any} adapter
 * @returns {Promise<Record<string, any>>}
 */
async function webgpuOptions(adapter) {
  const { subgroupMinSize } = adapter.info ?? {};
  if (!adapter.features.has("subgroups") || !(subgroupMinSize < MIN_SUBGROUP_LANES)) return {};
  const asking = adapter.requestDevice({
    requiredFeatures: ["shader-f16"].filter((name) => adapter.features.has(name)),
    requiredLimits: Object.fromEntries(DEVICE_LIMITS.map((name) => [name, adapter.limits[name]])),
  });
  const device = await asking.catch((/** @type {unknown} */ error) => {
    throw gpuFailed(error);
  });
  return { executionProviders: [{ name: "webgpu", device }] };
}

/**
 * The device to use and, if it is not the one asked for, why.
 *
 * @param {'auto' | 'wasm' | 'webgpu'} wanted
 * @param {Adapter | null} adapter
 * @returns {{device: 'wasm' | 'webgpu', notice: string}}
 */
function chooseDevice(wanted, adapter) {
  if (wanted === "wasm") return { device: "wasm", notice: "" };
  if (wanted === "webgpu" && adapter) return { device: "webgpu", notice: "" };
  if (adapter && !adapter.software) return { device: "webgpu", notice: "" };
  const why = adapter ? "only a software WebGPU adapter was found" : "no WebGPU adapter was found";
  return { device: "wasm", notice: `Running on the processor, ${why}` };
}

/** One thread without cross-origin isolation, which shared memory needs; else most cores of a small machine. */
function chooseThreads() {
  if (!crossOriginIsolated) return 1;
  const cores = navigator.hardwareConcurrency || 1;
  return cores <= 4 ? cores : Math.min(8, Math.ceil(cores / 2));
}

/** Of the package's reference, on an adapter that takes seconds for a token. */
const SOFTWARE_REFERENCE_TOKENS = 2;

/** @param {Load} request */
async function load(request) {
  const found = request.device === "wasm" ? null : await findAdapter();
  adapter = found && describe(found);
  const { device, notice } = chooseDevice(request.device ?? "auto", adapter);
  const transformers = await import(`./runtime/transformers.${device}.js`);
  const { wasm } = transformers.env.backends.onnx;
  const build = device === "webgpu" ? "ort-wasm-simd-threaded.asyncify.wasm" : "ort-wasm-simd-threaded.wasm";
  // The default is a public CDN. The glue code is inside the bundle, so only the binary needs an address.
  wasm.wasmPaths = { wasm: new URL(`./runtime/${build}`, import.meta.url).href };
  const threads = crossOriginIsolated ? request.threads || chooseThreads() : 1;
  wasm.numThreads = threads;
  const placement = request.reportsPlacement ? heardPlacement() : null;
  const { tokenizer, model, dtype, files, isKept } = await loadChat(transformers, request.modelUrl, {
    device,
    dtype: request.dtype,
    canFloat16: device === "webgpu" && found.features.has("shader-f16"),
    onProgress: (progress) => post({ type: "progress", id: request.id, ...progress }),
    sessionOptions: { ...(device === "webgpu" ? await webgpuOptions(found) : {}), ...(placement && { logSeverityLevel: 0 }) },
    isStopped,
    maxTensorBytes: found?.limits.maxStorageBufferBindingSize,
    referenceTokens: adapter?.software ? SOFTWARE_REFERENCE_TOKENS : undefined,
  });
  hearBetweenTokens(model);
  const contextTokens = Math.min(MOST_CONTEXT_TOKENS, model.config.max_position_embeddings ?? MOST_CONTEXT_TOKENS);
  const stopping = new transformers.InterruptableStoppingCriteria();
  loaded = { transformers, tokenizer, model, device, stopping, past: new Past(transformers), contextTokens };
  post({
    type: "ready", id: request.id, device, dtype, notice: request.notice ?? notice, contextTokens, threads, crossOriginIsolated, adapter, files, isKept, placement,
    versions: { "@huggingface/transformers": transformers.env.version, "onnxruntime-web": transformers.env.backends.onnx.versions.web },
    time: now(),
  });
}

/**
 * Counts of nodes by execution provider, filled while a session is made: ONNX Runtime tells them to its log only.
 *
 * @returns {Record<string, number>}
 */
function heardPlacement() {
  /** @type {Record<string, number>} */
  const placement = {};
  const report = console.error.bind(console);
  // Its log ends in console.error, which the runtime keeps when it starts; this worker makes no other session.
  console.error = (/** @type {any[]} */ ...words) => {
    const line = words.join(" ");
    const found = /placed on \[(\w+)\]\. Number of nodes: (\d+)/.exec(line);
    if (found) placement[found[1]] = (placement[found[1]] ?? 0) + Number(found[2]);
    else if (!/\[[VIW]:onnxruntime/.test(line)) report(...words);
  };
  return placement;
}

/** Waiting messages are handled: on WASM a generation never leaves the worker's turn, so a `stop` would wait for its end. */
function messagesHeard() {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = () => {
      port1.close();
      resolve(undefined);
    };
    port2.postMessage(null);
  });
}

/** Whether nobody wants the answer whose prompt is being read. */
async function isStopped() {
  await messagesHeard();
  return !!loaded?.stopping.interrupted;
}

/** @param {any} model */
function hearBetweenTokens(model) {
  const forward = model.forward.bind(model);
  model.forward = async (/** @type {any} */ inputs) => {
    await messagesHeard();
    return forward(inputs);
  };
}

function requireLoaded() {
  if (!loaded) throw new Error("No model is loaded; send 'load' first.");
  return loaded;
}

/** What uses the cache and the stopping flag; one at a time. */
let running = Promise.resolve();

/** How often `stop` was asked for. */
let stops = 0;

/** @template T @param {() => Promise<T>} act @returns {Promise<T>} once all that was asked for before is done */
function inTurn(act) {
  const mine = running.then(act);
  running = mine.then(() => {}, () => {});
  return mine;
}

/** @param {Generate} request */
function generate(request) {
  const stopsBefore = stops;
  return inTurn(() => generateNow(request, stopsBefore));
}

/** @param {Generate} request @param {number} stopsBefore one since then is meant for this request too, if it still waits */
async function generateNow(request, stopsBefore) {
  const { transformers, tokenizer, model, device, stopping, past, contextTokens } = requireLoaded();
  stopping.reset();
  if (stops > stopsBefore) stopping.interrupt();
  const promptOf = (/** @type {any[]} */ messages) => {
    const text = rendered(tokenizer, messages, true);
    return { text, ids: past.encoded(text, (piece) => encoded(tokenizer, piece)) };
  };
  const { prompt, droppedTurns } = fitted(promptOf, request.messages, contextTokens - request.maxNewTokens, past.droppedTurns);
  const { ids } = prompt;
  const session = model.sessions.model;
  const keptTokens = await past.keepFor(ids);
  const inputs = {
    input_ids: new transformers.Tensor("int64", ids.map(BigInt), [1, ids.length]),
    attention_mask: transformers.ones([1, ids.length]),
    past_key_values: past.cache,
  };
  /** @type {number[]} */
  const tokenIds = [];
  /** @type {number[]} */
  const times = [];
  let pending = "";
  let text = "";
  const streamer = new transformers.TextStreamer(tokenizer, {
    skip_prompt: true,
    skip_special_tokens: true,
    decode_kwargs: AS_CHOSEN,
    token_callback_function: (/** @type {bigint[]} */ ids) => {
      times.push(now());
      tokenIds.push(Number(ids[0]));
    },
    callback_function: (/** @type {string} */ piece) => (pending += piece),
  });
  const put = streamer.put.bind(streamer);
  streamer.put = (/** @type {bigint[][]} */ value) => {
    const before = tokenIds.length;
    put(value);
    if (tokenIds.length === before || session.unread) return;
    text += pending;
    post({ type: "token", id: request.id, tokenId: tokenIds.at(-1), time: times.at(-1), text: pending });
    pending = "";
  };
  try {
    await model.generate({
      ...inputs,
      max_new_tokens: request.maxNewTokens,
      min_new_tokens: request.minNewTokens ?? 0,
      ...(request.greedy === false ? SAMPLING : { do_sample: false }),
      streamer,
      stopping_criteria: stopping,
    });
  } catch (error) {
    // Nobody knows what is in it, nor what a GPU that failed can still do.
    await past.forget().catch((problem) => {
      if (device !== "webgpu") throw problem;
    });
    throw device === "webgpu" ? gpuFailed(error) : error;
  }
  past.droppedTurns = droppedTurns;
  if (session.unread) {
    // Stopped in the middle of the prompt; what was chosen then is no answer to it.
    past.holdsBeginning(ids.slice(0, -session.unread));
    tokenIds.length = times.length = 0;
  } else {
    past.holds(prompt, { text: tokenizer.decode(tokenIds, AS_CHOSEN), ids: tokenIds });
    text += pending;
  }
  const ends = [model.generation_config?.eos_token_id ?? []].flat();
  const stopped = stopping.interrupted ? "request" : ends.includes(tokenIds.at(-1)) ? "end" : "length";
  post({
    type: "done", id: request.id, tokenIds, times, text, promptTokens: ids.length, keptTokens, droppedTurns, contextTokens,
    pastBytes: past.bytes, stopped,
  });
}

/**
 * `messages` by the package's own chat template.
 *
 * @param {any} tokenizer
 * @param {any[]} messages
 * @param {boolean} addGenerationPrompt
 * @returns {string}
 */
function rendered(tokenizer, messages, addGenerationPrompt) {
  return tokenizer.apply_chat_template(messages, { add_generation_prompt: addGenerationPrompt, tokenize: false });
}

/** @param {any} tokenizer @param {string} text @returns {number[]} */
function encoded(tokenizer, text) {
  return tokenizer.encode(text, { add_special_tokens: false }).map(Number);
}

/** @param {Tokenize} request */
function tokenize({ id, messages, addGenerationPrompt = false }) {
  const { tokenizer } = requireLoaded();
  post({ type: "tokens", id, tokenIds: encoded(tokenizer, rendered(tokenizer, messages, addGenerationPrompt)) });
}

/** @param {Compare} request */
async function compare({ id, reference }) {
  const found = await inTurn(() => {
    const { transformers, model, stopping } = requireLoaded();
    stopping.reset();
    return disagreement(transformers, model, reference, Infinity);
  });
  post({ type: "compared", id, disagreement: found });
}

/** @param {Forget} request */
async function forget({ id }) {
  await inTurn(() => requireLoaded().past.forget());
  post({ type: "forgotten", id });
}

function stop() {
  stops += 1;
  loaded?.stopping.interrupt();
}

const handlers = { load, generate, tokenize, compare, forget, stop };

self.addEventListener("message", async (/** @type {MessageEvent} */ event) => {
  const request = event.data;
  try {
    await handlers[/** @type {keyof typeof handlers} */ (request.type)](request);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    post({ type: "error", id: request.id, message, isUnsuitable: error instanceof Unsuitable, adapter });
  }
});
