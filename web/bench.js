/**
 * The benchmark's page: measures the shipped worker when `tinsmith bench` asks it to, and shows what it did.
 */

import { ModelClient } from "./client.js";

/** @typedef {import("./worker.js")} _Worker */

const log = /** @type {HTMLElement} */ (document.getElementById("log"));
const now = () => performance.timeOrigin + performance.now();

/** @type {ModelClient | null} */
let client = null;

/** @param {string} line */
function show(line) {
  log.append(`${line}\n`);
}

function requireClient() {
  if (!client) throw new Error("No model is loaded; call load first.");
  return client;
}

const bench = {
  /**
   * Start a worker and load the model in it; `seconds` runs from before the worker exists to its `ready`.
   *
   * @param {{modelUrl: string, device: 'auto' | 'wasm' | 'webgpu', threads?: number}} options
   */
  async load(options) {
    client?.close();
    const asked = now();
    client = new ModelClient();
    const ready = await client.ask({ type: "load", ...options });
    const seconds = (ready.time - asked) / 1000;
    show(`loaded on ${ready.device} with ${ready.threads} threads in ${seconds.toFixed(2)} s`);
    return { ...ready, seconds };
  },

  /**
   * One greedy answer. `askedAt` and `times` are milliseconds on one clock. Nothing read before is used, unless `continued`.
   *
   * @param {{messages: object[], maxNewTokens: number, minNewTokens?: number, continued?: boolean}} options
   */
  async generate({ continued = false, ...options }) {
    if (!continued) await requireClient().ask({ type: "forget" });
    const askedAt = now();
    const done = await requireClient().ask({ type: "generate", greedy: true, ...options });
    show(`${done.tokenIds.length} tokens in ${((done.times.at(-1) - askedAt) / 1000).toFixed(2)} s`);
    return { ...done, askedAt };
  },

  /**
   * Token ids of whole conversations, by the package's own chat template.
   *
   * @param {object[][]} conversations
   * @returns {Promise<number[][]>}
   */
  async tokenize(conversations) {
    const found = [];
    for (const messages of conversations) {
      found.push((await requireClient().ask({ type: "tokenize", messages })).tokenIds);
    }
    return found;
  },
};

Object.assign(globalThis, { bench });
