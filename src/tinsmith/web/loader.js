/**
 * Loads a tinsmith package from any address: `const { tokenizer, model } = await loadChat(transformers, url, options)`.
 *
 * Transformers.js takes a Hub name, not an address, and hangs when a download of weights fails. Here its files come from
 * store.js, which downloads, checks and keeps them.
 */

import { disagreement, MOST_DISAGREEMENT } from "./reference.js";
import { readInPieces } from "./rows.js";
import { Memory, Store } from "./store.js";
import { Helpers, unpack } from "./unpack.js";

/**
 * @typedef {'q4' | 'q4f16' | 'q8'} Dtype of a graph, as Transformers.js names them: all have the same 4-bit weights, and
 *   compute in float32, in float16, or multiply in INT8
 *
 * @typedef {object} LoadOptions
 * @property {'wasm' | 'webgpu'} device
 * @property {boolean} [canFloat16] take the package's float16 graph if it has one; the adapter must have `shader-f16`
 * @property {Dtype} [dtype] the graph to take; without it the quickest of the package on the device
 * @property {(progress: {file: string, loaded: number, total: number}) => void} [onProgress] bytes of one file
 * @property {Record<string, any>} [sessionOptions] passed on to ONNX Runtime
 * @property {number} [maxTensorBytes] the largest tensor that a GPU takes, its `maxStorageBufferBindingSize`
 * @property {() => Promise<boolean>} [isStopped] asked while a long prompt is read: whether nobody wants its answer any more
 * @property {number} [referenceTokens] how many tokens a GPU has to compute as a processor does; all of the package's by default
 *
 * @typedef {object} Chat
 * @property {any} tokenizer
 * @property {any} model
 * @property {Dtype} dtype the graph that was loaded
 * @property {string[]} files that were used, from the network or from an earlier visit
 * @property {boolean} isKept whether the next visit needs no download
 */

/** The GPU cannot run this package, or not rightly; a processor can. */
export class Unsuitable extends Error {}

/** @param {unknown} error @returns {Unsuitable} with the beginning of what the runtime said, which may be pages */
export function gpuFailed(error) {
  const [line] = String(error instanceof Error ? error.message : error).split("\n");
  return new Unsuitable(`this GPU failed (${line.length > 120 ? `${line.slice(0, 120)}...` : line})`, { cause: error });
}

/** The INT8 graph for weights that this page unpacks, quicker than the runtime would, and for rows that it joins. */
const UNPACKED = { graph: "onnx/model_int8.onnx", plan: "onnx/model_int8.json", data: "model_int8.onnx_data" };

/** The INT8 graph has nothing left to be made better, and looking for it takes a third of the time of making a session. */
const AS_IT_IS = { graphOptimizationLevel: "disabled" };

/** Workers that unpack beside this thread. */
const MOST_HELPERS = 3;

/** A download that takes longer leaves time for the tokenizer, which keeps this thread from receiving. */
const LONG_DOWNLOAD_MS = 2000;

/** What the tokenizer and generation need. */
const SETTINGS = ["generation_config.json", "tokenizer.json", "tokenizer_config.json"];

/** @type {Record<Dtype, string>} */
const GRAPHS = { q4: "onnx/model_q4.onnx", q4f16: "onnx/model_q4f16.onnx", q8: "onnx/model_quantized.onnx" };

/**
 * Tokenizer and model of the package at `url`.
 *
 * @param {any} transformers the Transformers.js module
 * @param {string | URL} url address of the package folder, absolute or relative to the page
 * @param {LoadOptions} options
 * @returns {Promise<Chat>} rejects with `Unsuitable` where WebGPU was asked for and the package runs on WASM only
 */
export async function loadChat(transformers, url, options) {
  const { device, canFloat16 = false, dtype, onProgress = () => {}, sessionOptions = {} } = options;
  const folder = folderUrl(url);
  /** @type {Set<string>} */
  const files = new Set();
  const store = await Store.open(folder, (progress) => {
    files.add(progress.file);
    onProgress(progress);
  });
  const config = await store.json("config.json");
  const facts = device === "webgpu" && store.sums.has("browser.json") ? await store.json("browser.json") : null;
  if (facts?.largest_tensor_bytes > (options.maxTensorBytes ?? Infinity)) {
    throw new Unsuitable("this GPU takes no tensor as large as the model's");
  }
  const data = dataFiles(config).map((path) => ({ path, data: `onnx/${path}` }));
  const name = pointAt(transformers.env, folder);
  Object.assign(transformers.env, { useCustomCache: true, customCache: store });

  /** @type {Promise<any> | undefined} */
  let tokenizer;
  // Transformers.js would go on after an error, so its files are there before it asks.
  const loadTokenizer = () => (tokenizer ??= fetched(SETTINGS).then(() => transformers.AutoTokenizer.from_pretrained(name)).catch((error) => {
    tokenizer = undefined; // asked for again, it is tried again
    throw error;
  }));
  const fetched = (/** @type {string[]} */ names) => Promise.all(names.map((file) => store.file(file)));
  /** @type {Dtype} */
  const quickest = device === "wasm" ? "q8" : canFloat16 ? "q4f16" : "q4";
  /** @type {import('./unpack.js').Plan | null} */
  const plan = (dtype ?? quickest) === "q8" && store.sums.has(UNPACKED.plan) ? await store.json(UNPACKED.plan) : null;
  const isPlanned = !!plan?.files; // packages of before they arrived in memory have none
  const loadModel = async (/** @type {Dtype} */ graph) => {
    const isUnpacked = graph === "q8" && isPlanned;
    const helpers = isUnpacked ? startHelpers() : null;
    /** @type {{path: string, data: string | Uint8Array}[]} the weights of every graph are named after the first one */
    let externalData = data;
    try {
      const settings = fetched([...SETTINGS, isUnpacked ? UNPACKED.graph : GRAPHS[graph]]);
      settings.catch(() => {}); // told to whoever waits for it
      if (isUnpacked) externalData = await withUnpacked(store, data, plan, helpers, settings, loadTokenizer);
      else await Promise.all([fetched(data.map((file) => file.data)), settings]);
    } finally {
      helpers?.end();
    }
    const session_options = { ...sessionOptions, ...(graph !== "q4" && { externalData }), ...(isUnpacked && AS_IT_IS) };
    const loading = transformers.AutoModelForCausalLM.from_pretrained(name, {
      device, dtype: isUnpacked ? "int8" : graph, session_options,
    });
    const model = await withLostErrors(loading).catch((error) => {
      throw device === "webgpu" ? gpuFailed(error) : error;
    });
    if (device === "wasm") readInPieces(model.sessions.model, options.isStopped);
    return { dtype: graph, model };
  };

  const fits = !isPlanned || hasRoom(plan.bytes, navigator);
  const first = dtype ?? (fits && (isPlanned || store.sums.has(GRAPHS[quickest])) ? quickest : "q4");
  const loaded = await loadModel(first).catch((error) => {
    // Unpacking for INT8 takes more memory than a small machine may have.
    if (dtype || first !== "q8" || !/bad_alloc|memory|allocation|invalid (typed )?array/i.test(String(error))) throw error;
    return loadModel("q4");
  });
  if (facts) {
    const comparing = disagreement(transformers, loaded.model, facts.reference, options.referenceTokens ?? Infinity);
    const found = await comparing.catch((/** @type {unknown} */ error) => {
      throw gpuFailed(error);
    });
    if (!(found <= MOST_DISAGREEMENT)) {
      await loaded.model.dispose();
      throw new Unsuitable("this GPU computes other answers than the model's");
    }
  }
  const found = { tokenizer: await loadTokenizer(), ...loaded };
  store.files.clear();
  return { ...found, files: [...files], isKept: !!store.cache && !store.isFull };
}

/**
 * Whether unpacked weights fit on a device. A tab took 3.2 times their size for Gemma 3 1B; half of the memory is the system's.
 *
 * @param {number} bytes of the weights, unpacked
 * @param {{deviceMemory?: number, userAgent: string}} device its memory in GB, at most 8, where the browser tells it
 */
export function hasRoom(bytes, { deviceMemory, userAgent }) {
  const gigabytes = deviceMemory ?? (/Mobile|iPhone|iPad|Android/.test(userAgent) ? 4 : 8);
  return 3.2 * bytes <= (gigabytes * 2 ** 30) / 2;
}

/**
 * The name to pass to `from_pretrained` or `pipeline` after pointing Transformers.js at a folder.
 *
 * @param {any} env `env` of the Transformers.js module in use
 * @param {URL} folder ends in a slash
 * @returns {string}
 */
function pointAt(env, folder) {
  const names = folder.pathname.split("/").filter(Boolean);
  const name = names.pop() ?? "";
  env.remoteHost = `${folder.origin}/${names.map((part) => part + "/").join("")}`;
  env.remotePathTemplate = name ? `${name}/` : "";
  env.allowRemoteModels = true;
  env.allowLocalModels = false;
  // Only a label from here on: the template does not use it.
  return "model";
}

/** @returns {Helpers | null} workers on other cores; none without shared memory, or where a page of another origin may start none */
function startHelpers() {
  const count = Math.min(MOST_HELPERS, navigator.hardwareConcurrency - 1);
  if (!crossOriginIsolated || count < 1) return null;
  try {
    return new Helpers(count);
  } catch {
    return null;
  }
}

/**
 * The content of the package's files of weights, which the embedding reads, and of the one that is made of them as they come.
 *
 * @param {Store} store
 * @param {{path: string, data: string}[]} data names of the files
 * @param {import('./unpack.js').Plan} plan
 * @param {Helpers | null} helpers
 * @param {Promise<unknown>} others files that are fetched beside them
 * @param {() => Promise<unknown>} meanwhile what else there is to do
 * @returns {Promise<{path: string, data: Uint8Array}[]>} all of it proved, where browsers can
 */
async function withUnpacked(store, data, plan, helpers, others, meanwhile) {
  const arrived = new Int32Array(newMemory(4 * (data.length + 1)));
  const memories = data.map(({ path }, index) => new Memory(new Uint8Array(newMemory(plan.files[path])), (count) => {
    Atomics.store(arrived, index, count);
    Atomics.add(arrived, data.length, 1);
    Atomics.notify(arrived, data.length);
  }));
  const files = new Map(data.map(({ path }, index) => [path, memories[index].bytes]));
  const beginning = helpers?.begin(plan, /** @type {Map<string, any>} */ (files), arrived).then(() => true, () => false);
  const arriving = Promise.all([others, ...data.map((file, index) => store.fill(file.data, memories[index]))]);
  await Promise.race([arriving, new Promise((resolve) => setTimeout(resolve, LONG_DOWNLOAD_MS))]);
  await Promise.all([arriving, meanwhile()]);
  const isBegun = (await beginning) && !memories.some((memory) => memory.isOverwritten);
  const alone = () => {
    helpers?.end(); // and what they made so far
    return unpack(plan, files);
  };
  const made = helpers && isBegun ? await helpers.finish().catch(alone) : alone();
  return [...data.map(({ path }, index) => ({ path, data: memories[index].bytes })), { path: UNPACKED.data, data: made }];
}

/** @param {number} bytes @returns {any} memory that every worker can read, if the page may have such */
function newMemory(bytes) {
  return crossOriginIsolated ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes);
}

/**
 * Names of the files that hold the weights.
 *
 * @param {Record<string, any>} config the package's `config.json`
 * @returns {string[]}
 */
function dataFiles(config) {
  const count = config["transformers.js_config"].use_external_data_format["model_q4.onnx"];
  return Array.from({ length: count }, (_, index) => `model_q4.onnx_data${index ? `_${index}` : ""}`);
}

/**
 * `loading`, or the first error that nobody handled meanwhile.
 *
 * Transformers.js 4.3.1 reads weights inside a promise that never settles when that fails, for want of memory for instance.
 *
 * @template T @param {Promise<T>} loading @returns {Promise<T>}
 */
async function withLostErrors(loading) {
  /** @type {(event: PromiseRejectionEvent) => void} */
  let listener = () => {};
  const lost = new Promise((_, reject) => {
    listener = (event) => {
      event.preventDefault();
      reject(event.reason);
    };
    addEventListener("unhandledrejection", listener);
  });
  try {
    return await Promise.race([loading, /** @type {Promise<never>} */ (lost)]);
  } finally {
    removeEventListener("unhandledrejection", listener);
  }
}

/** @param {string | URL} url @returns {URL} */
function folderUrl(url) {
  const folder = new URL(url, globalThis.location?.href);
  if (!folder.pathname.endsWith("/")) folder.pathname += "/";
  folder.search = folder.hash = "";
  return folder;
}
