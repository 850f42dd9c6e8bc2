/**
 * The page's side of worker.js: one promise per request.
 *
 * @import { Adapter, Events, Failure, LoadRequest, Ready, Replies, Reply, Request } from "./messages.js"
 */

/** The two scripts that a page may start as workers. */
const SCRIPTS = { worker: "./worker.js", service: "./sw.js" };

/**
 * The pages require Trusted Types, so that no text can ever become a script; this policy allows the two scripts.
 *
 * @typedef {{createScriptURL(name: string): string}} Policy
 * @typedef {{createPolicy(name: string, rules: Policy): Policy}} TrustedTypes
 */
const policy = /** @type {{trustedTypes?: TrustedTypes}} */ (globalThis).trustedTypes?.createPolicy("tinsmith-worker", {
  createScriptURL: (name) => scriptUrl(/** @type {keyof typeof SCRIPTS} */ (name)),
});

/** @param {keyof typeof SCRIPTS} name */
function scriptUrl(name) {
  return new URL(SCRIPTS[name], import.meta.url).href;
}

/** @param {keyof typeof SCRIPTS} name @returns {string} a trusted address, where the browser supports Trusted Types */
function trustedUrl(name) {
  return policy ? policy.createScriptURL(name) : scriptUrl(name);
}

const SERVICE_WORKER_TIMEOUT_MS = 4000;

/** Key in the session storage, set before this page reloads itself. It names the page: an origin's pages share the storage. */
const RELOADED = `tinsmith reloaded ${scriptUrl("service")}`;

/**
 * Register sw.js, where the browser allows it, so that the page opens without a network.
 *
 * If the page is not isolated and sw.js can isolate it, reload the page once. The promise then never resolves.
 */
export async function startServiceWorker() {
  const { serviceWorker } = navigator;
  if (!serviceWorker) return;
  try {
    await serviceWorker.register(trustedUrl("service"));
    if (!serviceWorker.controller) {
      await Promise.race([
        new Promise((resolve) => serviceWorker.addEventListener("controllerchange", resolve, { once: true })),
        new Promise((resolve) => setTimeout(resolve, SERVICE_WORKER_TIMEOUT_MS)),
      ]);
    }
  } catch {
    return; // private windows and insecure addresses have no service workers; the page works without
  }
  if (crossOriginIsolated || !serviceWorker.controller || sessionStorage.getItem(RELOADED)) return;
  sessionStorage.setItem(RELOADED, "once");
  location.reload();
  await new Promise(() => {});
}

/** The worker could not do what was requested. */
export class RequestFailed extends Error {
  /** @param {Failure} failure */
  constructor({ message, isUnsuitable, adapter }) {
    super(message);
    /** Whether the GPU could not load or run the model. */
    this.isUnsuitable = isUnsuitable;
    /** @type {Adapter | null} */
    this.adapter = adapter;
  }
}

/**
 * @typedef {object} Waiting
 * @property {(reply: any) => void} resolve
 * @property {(error: Error) => void} reject
 * @property {(event: any) => void} [onEvent]
 */

/** A worker with a model, the owner's answers, or both. */
export class ModelClient {
  /** Where the model runs: `wasm` once the GPU has failed. @type {"auto" | "wasm"} */
  device = "auto";

  /** Requests without a final reply, by id. @type {Map<number, Waiting>} */
  #waiting = new Map();
  #lastId = 0;

  /** Why the worker could not start; every request then fails with this message. */
  #startFailure = "";

  constructor() {
    this.worker = this.#startWorker();
  }

  /** @returns {Worker} */
  #startWorker() {
    this.#startFailure = "";
    let hasReplied = false;
    const worker = new Worker(trustedUrl("worker"), { type: "module" });
    worker.addEventListener("message", (/** @type {MessageEvent<Reply>} */ event) => {
      hasReplied = true;
      this.#receive(event.data);
    });
    worker.addEventListener("error", (event) => {
      if (worker !== this.worker) return; // it was closed
      const message = event.message || "The model's worker stopped.";
      if (!hasReplied) this.#startFailure = message;
      this.#failAll(message);
    });
    return worker;
  }

  /**
   * Load a package on the device that `request` names. If the GPU cannot run it, load it on the processor.
   *
   * @param {LoadRequest} request
   * @param {(event: Events["load"]) => void} [onEvent]
   * @returns {Promise<Ready>}
   */
  async load(request, onEvent) {
    try {
      return await this.ask({ type: "load", ...request }, onEvent);
    } catch (error) {
      if (!(error instanceof RequestFailed) || !error.isUnsuitable) throw error;
      return { ...(await this.loadOnProcessor(error.message, request, onEvent)), adapter: error.adapter };
    }
  }

  /**
   * Load a package on the processor. A new worker replaces the old one, because a runtime never frees its memory; the
   * owner's answers must then be opened again.
   *
   * @param {string} reason why the GPU is not used
   * @param {LoadRequest} request
   * @param {(event: Events["load"]) => void} [onEvent]
   * @returns {Promise<Ready>}
   */
  loadOnProcessor(reason, request, onEvent) {
    this.close();
    this.device = "wasm";
    this.worker = this.#startWorker();
    const notice = `Running on the processor: ${reason}`;
    return this.ask({ type: "load", ...request, device: "wasm", graph: undefined, notice }, onEvent);
  }

  /**
   * Send a request and return its final reply. Replies that come before it go to `onEvent`.
   *
   * @template {keyof Replies} T
   * @param {Request<T>} request
   * @param {(event: Events[T]) => void} [onEvent]
   * @returns {Promise<Replies[T]>}
   * @throws {RequestFailed} if the worker replies with an error
   */
  ask(request, onEvent) {
    if (this.#startFailure) return Promise.reject(new Error(this.#startFailure));
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, onEvent });
      this.worker.postMessage({ ...request, id });
    });
  }

  /** Stop the running generation and all queued ones; each of them still replies `done`. */
  stop() {
    this.worker.postMessage({ type: "stop", id: 0 });
  }

  /** End the worker and free the model's memory. */
  close() {
    this.worker.terminate();
    this.#failAll("The model was closed.");
  }

  /** @param {Reply} reply */
  #receive(reply) {
    const waiting = this.#waiting.get(reply.id);
    if (!waiting) return;
    if (reply.type === "progress" || reply.type === "token") {
      waiting.onEvent?.(reply);
      return;
    }
    this.#waiting.delete(reply.id);
    if (reply.type === "error") waiting.reject(new RequestFailed(reply));
    else waiting.resolve(reply);
  }

  /** @param {string} message */
  #failAll(message) {
    for (const { reject } of this.#waiting.values()) reject(new Error(message));
    this.#waiting.clear();
  }
}
