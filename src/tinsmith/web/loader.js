/**
 * Loads a tinsmith package from any address: `const { tokenizer, model } = await loadChat(transformers, url, options)`.
 *
 * Transformers.js expects the name of a Hub repository, not an address, and hangs when a download of weights fails. Here
 * store.js downloads, verifies and caches its files.
 *
 * @import { Device, GraphId } from "./messages.js"
 * @import { DecoderPlan } from "./gpu/plan.js"
 * @import { Features } from "./gpu/kernels.js"
 * @import { BrowserFacts, GraphFacts, Model, Tokenizer, Transformers } from "./types.d.ts"
 * @import { Plan } from "./unpack.js"
 */

import { MAX_DISAGREEMENT as MAX_OWN_DISAGREEMENT, OwnModel } from "./gpu/model.js";
import { disagreement, MAX_DISAGREEMENT } from "./reference.js";
import { readInPieces } from "./rows.js";
import { FileBuffer } from "./files.js";
import { folderUrl, Store } from "./store.js";
import { Unpackers, unpack } from "./unpack.js";

/** File that lists the package's graphs and weights. */
const FACTS = "browser.json";

/** The graph to use where another one is missing. The weights are named after its file. @type {GraphId} */
const FALLBACK = "float32";

/** Files that Transformers.js needs besides a graph and its weights. */
const SETTINGS = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"];

const MAX_UNPACKERS = 3;

/** A tab needed 3.2 times the size of the unpacked weights to load Gemma 3 1B. */
const MEMORY_PER_UNPACKED_BYTE = 3.2;

/** A download that takes longer leaves time to create the tokenizer, although that blocks receiving for a while. */
const LONG_DOWNLOAD_MS = 2000;

/** Out-of-memory messages of WebKit, Firefox, Chromium and ONNX Runtime. */
const OUT_OF_MEMORY = /bad_alloc|memory|allocation|invalid (typed )?array/i;

/**
 * @typedef {object} LoadOptions
 * @property {Device} device
 * @property {boolean} [canFloat16] whether the adapter has `shader-f16`; then the package's float16 graph is used, if any
 * @property {GraphId} [graph] the graph to load; by default the fastest one on the device
 * @property {(progress: {file: string, loaded: number, total: number}) => void} [onProgress] bytes of one file
 * @property {Record<string, unknown>} [sessionOptions] passed on to ONNX Runtime
 * @property {GPUDevice} [gpuDevice] the device to use instead of ONNX Runtime's own choice
 * @property {number} [maxTensorBytes] the GPU's `maxStorageBufferBindingSize`
 * @property {() => Promise<boolean>} [isStopped] called while a long prompt is read: whether to stop
 * @property {<T>(action: () => Promise<T>) => Promise<T>} [inTurn] runs what uses ONNX Runtime, when nothing else does
 * @property {number} [referenceTokens] how many tokens of the package's reference to check on a GPU; all by default
 *
 * @typedef {object} Chat
 * @property {Tokenizer} tokenizer
 * @property {Model | OwnModel} model
 * @property {GraphId} graph the graph that was loaded, or whose plan the kernels follow
 * @property {string[]} files that were used, from the network or the browser's cache
 * @property {boolean} isKept whether the next visit needs no download
 *
 * @typedef {object} Package an open package
 * @property {Transformers} transformers
 * @property {Store} store
 * @property {string} name for `from_pretrained`
 * @property {BrowserFacts} facts
 * @property {Plan | null} plan for unpacking weights to INT8; null if the package has none or it is not needed
 * @property {() => Promise<Tokenizer>} loadTokenizer
 * @property {LoadOptions} options
 *
 * @typedef {{path: string, data: string | Uint8Array}[]} ExternalData a graph's files of weights: their content or address
 */

/** The GPU cannot run this package, or computes wrong answers; the processor can run it. */
export class Unsuitable extends Error {}

/** @param {unknown} error @returns {Unsuitable} with the beginning of the runtime's message, which may be very long */
export function gpuFailed(error) {
  const [line] = String(error instanceof Error ? error.message : error).split("\n");
  return new Unsuitable(`this GPU failed (${line.length > 120 ? `${line.slice(0, 120)}...` : line})`, { cause: error });
}

/**
 * Tokenizer and model of the package at `url`.
 *
 * @param {Transformers} transformers
 * @param {string | URL} url address of the package folder, absolute or relative to the page
 * @param {LoadOptions} options
 * @returns {Promise<Chat>}
 * @throws {Unsuitable} if `options.device` is `webgpu` and the package runs on WASM only
 */
export async function loadChat(transformers, url, options) {
  /** @type {Set<string>} */
  const files = new Set();
  const store = await Store.open(folderUrl(url), (progress) => {
    files.add(progress.file);
    options.onProgress?.(progress);
  });
  const opened = await openPackage(transformers, store, options);
  const { graph, model } = await loadModel(opened, chooseGraph(opened));
  const tokenizer = await opened.loadTokenizer();
  await store.finish();
  return { tokenizer, model, graph, files: [...files], isKept: store.isKept };
}

/**
 * Tokenizer and model of the package at `url`, on the site's own kernels. ONNX Runtime is not used.
 *
 * @param {Transformers} transformers any build, for the tokenizer
 * @param {string | URL} url
 * @param {LoadOptions & {gpuDevice: GPUDevice, features: Features}} options
 * @returns {Promise<Chat>}
 * @throws {Unsuitable} if these kernels cannot run the package here, or compute wrong logits
 */
export async function loadOwn(transformers, url, options) {
  /** @type {Set<string>} */
  const files = new Set();
  const store = await Store.open(folderUrl(url), (progress) => {
    files.add(progress.file);
    options.onProgress?.(progress);
  });
  const opened = await openPackage(transformers, store, { ...options, graph: FALLBACK });
  const { facts, loadTokenizer } = opened;
  if (!facts.decoder_plan) throw new Unsuitable("the package has no plan for the site's own kernels");
  const weights = facts.weights.map((name) => `onnx/${name}`);
  await fetchAll(store, [...SETTINGS, facts.decoder_plan, ...weights]);
  const model = await makeOwnModel(opened, options);
  const tokenizer = await loadTokenizer();
  await store.finish();
  return { tokenizer, model, graph: FALLBACK, files: [...files], isKept: store.isKept };
}

/**
 * @param {Package} opened
 * @param {LoadOptions & {gpuDevice: GPUDevice, features: Features}} options
 * @returns {Promise<OwnModel>}
 * @throws {Unsuitable}
 */
async function makeOwnModel({ store, facts }, { gpuDevice, features, isStopped, referenceTokens = Infinity }) {
  const plan = /** @type {DecoderPlan} */ (await store.json(facts.decoder_plan));
  const [config, generationConfig] = await Promise.all([store.json(SETTINGS[0]), store.json(SETTINGS[1])]);
  const readFile = async (/** @type {string} */ name, /** @type {number} */ start, /** @type {number} */ end) => {
    const file = await store.file(`onnx/${name}`);
    return new Uint8Array(await file.slice(start, end).arrayBuffer());
  };
  /** @type {OwnModel | undefined} */
  let model;
  try {
    const engine = await OwnModel.createEngine(gpuDevice, features, plan, readFile);
    model = new OwnModel(engine, /** @type {object} */ (config), /** @type {object} */ (generationConfig), isStopped);
    const difference = await model.disagreement(facts.reference, referenceTokens);
    if (difference <= MAX_OWN_DISAGREEMENT) return model;
  } catch (error) {
    gpuDevice.destroy();
    throw gpuFailed(error);
  }
  gpuDevice.destroy();
  throw new Unsuitable("this GPU computes wrong results");
}

/**
 * @param {Transformers} transformers
 * @param {Store} store
 * @param {LoadOptions} options
 * @returns {Promise<Package>}
 * @throws {Unsuitable} if the model's largest tensor does not fit into the GPU's limits
 */
async function openPackage(transformers, store, options) {
  const facts = /** @type {BrowserFacts} */ (await store.json(FACTS));
  if (options.device === "webgpu" && facts.largest_tensor_bytes > (options.maxTensorBytes ?? Infinity)) {
    throw new Unsuitable("the model's largest tensor exceeds this GPU's limit");
  }
  const plan = facts.graphs.find(({ id }) => id === fastestGraph(options))?.unpack?.plan;
  const name = pointAt(transformers.env, store.folder);
  Object.assign(transformers.env, { useCustomCache: true, customCache: store });
  return {
    transformers,
    store,
    name,
    facts,
    plan: plan ? /** @type {Plan} */ (await store.json(plan)) : null,
    loadTokenizer: tokenizerLoader(transformers, store, name),
    options,
  };
}

/** @param {LoadOptions} options @returns {GraphId} the requested graph, or the fastest one on the device */
function fastestGraph({ device, canFloat16 = false, graph }) {
  if (graph) return graph;
  if (device === "wasm") return "int8_page";
  return canFloat16 ? "float16" : "float32";
}

/** @param {Package} opened @returns {GraphId} the fastest graph that the package has and that fits into memory */
function chooseGraph({ facts, plan, options }) {
  if (options.graph) return options.graph;
  const fastest = fastestGraph(options);
  const isUsable = facts.graphs.some(({ id }) => id === fastest) && (!plan || hasRoom(plan.bytes, navigator));
  return isUsable ? fastest : FALLBACK;
}

/**
 * The model of a graph, or of the float32 graph if a small machine has too little memory to unpack weights for INT8.
 *
 * @param {Package} opened
 * @param {GraphId} id
 * @returns {Promise<{graph: GraphId, model: Model}>}
 */
async function loadModel(opened, id) {
  const graph = opened.facts.graphs.find((listed) => listed.id === id);
  if (!graph) throw new Error(`The package has no graph ${id}; ${FACTS} lists what it has.`);
  try {
    const externalData = await fetchGraph(opened, graph);
    const { inTurn = (action) => action() } = opened.options;
    return { graph: id, model: await inTurn(() => makeSession(opened, graph, externalData)) };
  } catch (error) {
    if (opened.options.graph || !graph.unpack || !OUT_OF_MEMORY.test(String(error))) throw error;
    return loadModel(opened, FALLBACK);
  }
}

/**
 * Fetch everything that the graph needs into the store.
 *
 * @param {Package} opened
 * @param {GraphFacts} graph
 * @returns {Promise<ExternalData>}
 */
async function fetchGraph(opened, { file, unpack: unpacking }) {
  const { store, facts, plan } = opened;
  const settings = fetchAll(store, [...SETTINGS, file]);
  settings.catch(() => {}); // the error reaches whoever awaits it
  if (!unpacking || !plan) {
    const externalData = facts.weights.map((path) => ({ path, data: `onnx/${path}` }));
    const addresses = externalData.map(({ data }) => data);
    await Promise.all([settings, fetchAll(store, addresses)]);
    return externalData;
  }
  const unpackers = startUnpackers();
  try {
    const { files, unpacked } = await fetchUnpacked(opened, plan, unpackers, settings);
    return [...files].map(([path, data]) => ({ path, data })).concat({ path: unpacking.data, data: unpacked });
  } finally {
    unpackers?.end();
  }
}

/**
 * The model, ready to run; on a GPU after a check of what it computes.
 *
 * @param {Package} opened
 * @param {GraphFacts} graph
 * @param {ExternalData} externalData
 * @returns {Promise<Model>}
 * @throws {Unsuitable} if the GPU fails or computes wrong logits
 */
async function makeSession(opened, graph, externalData) {
  const { transformers, name, options } = opened;
  const loading = transformers.AutoModelForCausalLM.from_pretrained(name, {
    device: options.device,
    dtype: graph.dtype,
    session_options: {
      ...options.sessionOptions,
      ...(options.gpuDevice && { executionProviders: [{ name: "webgpu", device: options.gpuDevice }] }),
      // Transformers.js finds weights by itself only if they are named after the graph.
      ...(graph.id !== FALLBACK && { externalData }),
      // Searching for optimizations takes a third of the loading time and finds none in the INT8 graph.
      ...(graph.unpack && { graphOptimizationLevel: "disabled" }),
    },
  });
  const model = /** @type {Model} */ (
    await withLostErrors(loading).catch((error) => {
      throw options.device === "webgpu" ? gpuFailed(error) : error;
    })
  );
  if (options.device === "wasm") readInPieces(model.sessions.model, options.isStopped);
  else await proveGpu(opened, model);
  return model;
}

/**
 * Compare what the GPU computes with the package's reference.
 *
 * @param {Package} opened
 * @param {Model} model
 * @throws {Unsuitable} if the GPU fails or computes wrong logits
 */
async function proveGpu({ transformers, facts, options }, model) {
  const comparing = disagreement(transformers, model, facts.reference, options.referenceTokens ?? Infinity);
  const difference = await comparing.catch((error) => {
    throw gpuFailed(error);
  });
  if (difference <= MAX_DISAGREEMENT) return;
  await model.dispose();
  throw new Unsuitable("this GPU computes wrong results");
}

/**
 * Whether unpacked weights fit on a device. Half of its memory is reserved for the system.
 *
 * @param {number} unpackedBytes
 * @param {{deviceMemory?: number, userAgent: string}} device its memory in GiB, at most 8, where the browser says
 */
export function hasRoom(unpackedBytes, { deviceMemory, userAgent }) {
  const gibibytes = deviceMemory ?? (/Mobile|iPhone|iPad|Android/.test(userAgent) ? 4 : 8);
  return MEMORY_PER_UNPACKED_BYTE * unpackedBytes <= (gibibytes * 2 ** 30) / 2;
}

/**
 * Point Transformers.js at a folder.
 *
 * @param {Transformers["env"]} env
 * @param {URL} folder ends in a slash
 * @returns {string} the name for `from_pretrained`; only a label, since the path template does not use it
 */
function pointAt(env, folder) {
  const names = folder.pathname.split("/").filter(Boolean);
  const name = names.pop() ?? "";
  env.remoteHost = `${folder.origin}/${names.map((part) => `${part}/`).join("")}`;
  env.remotePathTemplate = name ? `${name}/` : "";
  env.allowRemoteModels = true;
  env.allowLocalModels = false;
  return "model";
}

/**
 * A function that loads the tokenizer once; after a failure, the next call tries again.
 *
 * @param {Transformers} transformers
 * @param {Store} store
 * @param {string} name
 * @returns {() => Promise<Tokenizer>}
 */
function tokenizerLoader(transformers, store, name) {
  /** @type {Promise<Tokenizer> | undefined} */
  let tokenizer;
  const load = async () => {
    await fetchAll(store, SETTINGS); // first, because Transformers.js ignores errors of its cache
    return transformers.AutoTokenizer.from_pretrained(name);
  };
  return () => {
    tokenizer ??= load().catch((error) => {
      tokenizer = undefined;
      throw error;
    });
    return tokenizer;
  };
}

/** @param {Store} store @param {string[]} names */
function fetchAll(store, names) {
  return Promise.all(names.map((name) => store.file(name)));
}

/** @returns {Unpackers | null} null without shared memory or a second core, or where the page may not start workers */
function startUnpackers() {
  const count = Math.min(MAX_UNPACKERS, navigator.hardwareConcurrency - 1);
  if (!crossOriginIsolated || count < 1) return null;
  try {
    return new Unpackers(count);
  } catch {
    return null; // a page of another origin may not start workers
  }
}

/**
 * Fetch the package's files of weights, which the embedding reads, and unpack the weights while they arrive.
 *
 * @param {Package} opened
 * @param {Plan} plan
 * @param {Unpackers | null} unpackers
 * @param {Promise<unknown>} settings resolves when the settings and the graph have arrived
 * @returns {Promise<{files: Map<string, Uint8Array>, unpacked: Uint8Array}>} verified, where the browser can compute digests
 */
async function fetchUnpacked({ store, facts: { weights }, loadTokenizer }, plan, unpackers, settings) {
  const received = new Int32Array(newBuffer(4 * (weights.length + 1)));
  const buffers = weights.map((path, index) => {
    const bytes = new Uint8Array(newBuffer(plan.files[path]));
    return new FileBuffer(bytes, (count) => {
      Atomics.store(received, index, count);
      Atomics.add(received, weights.length, 1);
      Atomics.notify(received, weights.length);
    });
  });
  const files = new Map(weights.map((path, index) => [path, buffers[index].bytes]));
  const begun = unpackers?.begin(plan, files, received).then(
    () => true,
    () => false,
  );
  const arriving = Promise.all([settings, ...weights.map((path, index) => store.fill(`onnx/${path}`, buffers[index]))]);
  await Promise.race([arriving, new Promise((resolve) => setTimeout(resolve, LONG_DOWNLOAD_MS))]);
  await Promise.all([arriving, loadTokenizer()]);
  const isUsable = (await begun) && !buffers.some(({ isOverwritten }) => isOverwritten);
  const unpackAlone = () => {
    unpackers?.end(); // which frees what they have unpacked
    return unpack(plan, files);
  };
  const unpacked = unpackers && isUsable ? await unpackers.finish().catch(unpackAlone) : unpackAlone();
  return { files, unpacked };
}

/** @param {number} bytes @returns {ArrayBuffer} shared with workers, if the page is isolated */
function newBuffer(bytes) {
  const Buffer = crossOriginIsolated ? SharedArrayBuffer : ArrayBuffer;
  return /** @type {ArrayBuffer} */ (new Buffer(bytes));
}

/**
 * Wait for `loading`, or fail with the first error that nobody handles meanwhile.
 *
 * Transformers.js 4.3.1 reads weights inside a promise that never settles if that fails, for example for lack of memory.
 *
 * @template T
 * @param {Promise<T>} loading
 * @returns {Promise<T>}
 */
async function withLostErrors(loading) {
  const listening = new AbortController();
  /** @type {Promise<never>} */
  const lostError = new Promise((_, reject) => {
    const onRejection = (/** @type {PromiseRejectionEvent} */ event) => {
      event.preventDefault();
      reject(event.reason);
    };
    globalThis.addEventListener("unhandledrejection", onRejection, { signal: listening.signal });
  });
  try {
    return await Promise.race([loading, lostError]);
  } finally {
    listening.abort();
  }
}
