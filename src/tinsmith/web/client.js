/**
 * The page's side of worker.js: one promise per request.
 */

// The pages require Trusted Types, so that no text can ever become a script; these are the two addresses they allow.
const SCRIPTS = { worker: "./worker.js", service: "./sw.js" };
const policy = /** @type {any} */ (globalThis).trustedTypes?.createPolicy("tinsmith-worker", {
  createScriptURL: (/** @type {keyof typeof SCRIPTS} */ name) => scriptUrl(name),
});

/** @param {keyof typeof SCRIPTS} name */
function scriptUrl(name) {
  return new URL(SCRIPTS[name], import.meta.url).href;
}

const SERVICE_WAIT_MS = 4000;

/** Set once this page was loaded again; other pages of its origin have their own. */
const RELOADED = `tinsmith reloaded ${scriptUrl("service")}`;

/**
 * Put sw.js between the page and its host, where browsers allow that, so that the page opens without a network.
 *
 * A page that is not isolated is loaded once more if sw.js can isolate it; then the promise never resolves.
 */
export async function serve() {
  const { serviceWorker } = navigator;
  if (!serviceWorker) return;
  try {
    await serviceWorker.register(policy ? policy.createScriptURL("service") : scriptUrl("service"));
    if (!serviceWorker.controller) {
      await Promise.race([
        new Promise((resolve) => serviceWorker.addEventListener("controllerchange", resolve, { once: true })),
        new Promise((resolve) => setTimeout(resolve, SERVICE_WAIT_MS)),
      ]);
    }
  } catch {
    return; // private windows and insecure addresses have none; the page works without
  }
  if (crossOriginIsolated || !serviceWorker.controller || sessionStorage.getItem(RELOADED)) return;
  sessionStorage.setItem(RELOADED, "once");
  location.reload();
  await new Promise(() => {});
}

/** What worker.js answers when it cannot do what it was asked. */
class RequestFailed extends Error {
  /** @param {import('./worker.js').Failure} reply */
  constructor({ message, isUnsuitable, adapter }) {
    super(message);
    Object.assign(this, { isUnsuitable, adapter });
  }

  isUnsuitable = false;

  /** @type {import('./worker.js').Adapter | null} */
  adapter = null;
}

/** A worker with a model in it. */
export class ModelClient {
  constructor() {
    /** @type {Map<number, {resolve: (reply: any) => void, reject: (error: Error) => void, onEvent?: (event: any) => void}>} */
    this.waiting = new Map();
    this.lastId = 0;
    this.#start();
  }

  #start() {
    /** Why there will never be an answer, if the worker did not even start. */
    this.failure = "";
    let hasSpoken = false;
    const address = policy ? policy.createScriptURL("worker") : scriptUrl("worker");
    const worker = new Worker(/** @type {any} */ (address), { type: "module" });
    this.worker = worker;
    worker.addEventListener("message", (event) => {
      hasSpoken = true;
      this.#receive(event.data);
    });
    worker.addEventListener("error", (event) => {
      if (worker !== this.worker) return; // one that was ended
      const message = event.message || "The model's worker stopped.";
      if (!hasSpoken) this.failure = message;
      this.#failAll(message);
    });
  }

  /**
   * Load a package on the GPU or the processor, as `request.device` says; where the GPU cannot, on the processor, in a worker
   * of its own: memory that a runtime took is never given back.
   *
   * @param {Record<string, any>} request worker.js's `load` without `type` and `id`
   * @param {(event: any) => void} [onEvent]
   * @returns {Promise<any>} `ready`
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
   * The same on the processor, in place of what is loaded.
   *
   * @param {string} why not on the GPU
   * @param {Record<string, any>} request
   * @param {(event: any) => void} [onEvent]
   * @returns {Promise<any>} `ready`
   */
  loadOnProcessor(why, request, onEvent) {
    this.close();
    this.#start();
    const notice = `Running on the processor, ${why}`;
    return this.ask({ type: "load", ...request, device: "wasm", dtype: undefined, notice }, onEvent);
  }

  /**
   * The last reply to `request`; `progress` and `token` replies go to `onEvent` on the way.
   *
   * @param {Record<string, any>} request a request of worker.js without its `id`
   * @param {(event: any) => void} [onEvent]
   * @returns {Promise<any>}
   */
  ask(request, onEvent) {
    if (this.failure) return Promise.reject(new Error(this.failure));
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, onEvent });
      this.worker.postMessage({ ...request, id });
    });
  }

  /** Ask the running generation to end; its `done` reply still comes. */
  stop() {
    this.worker.postMessage({ type: "stop", id: 0 });
  }

  /** End the worker and free the model's memory. */
  close() {
    this.worker.terminate();
    this.#failAll("The model was closed.");
  }

  /** @param {any} reply */
  #receive(reply) {
    const waiting = this.waiting.get(reply.id);
    if (!waiting) return;
    if (reply.type === "progress" || reply.type === "token") {
      waiting.onEvent?.(reply);
      return;
    }
    this.waiting.delete(reply.id);
    if (reply.type === "error") waiting.reject(new RequestFailed(reply));
    else waiting.resolve(reply);
  }

  /** @param {string} message */
  #failAll(message) {
    for (const { reject } of this.waiting.values()) reject(new Error(message));
    this.waiting.clear();
  }
}
