/**
 * The page's side of worker.js: one promise per request.
 */

// The pages require Trusted Types, so that no text can ever become a script; this is the one address they allow.
const policy = /** @type {any} */ (globalThis).trustedTypes?.createPolicy("tinsmith-worker", {
  createScriptURL: () => new URL("./worker.js", import.meta.url).href,
});

/** A worker with a model in it. */
export class ModelClient {
  constructor() {
    /** @type {Map<number, {resolve: (reply: any) => void, reject: (error: Error) => void, onEvent?: (event: any) => void}>} */
    this.waiting = new Map();
    this.lastId = 0;
    const address = policy ? policy.createScriptURL("") : new URL("./worker.js", import.meta.url);
    this.worker = new Worker(/** @type {any} */ (address), { type: "module" });
    this.worker.addEventListener("message", (event) => this.#receive(event.data));
    this.worker.addEventListener("error", (event) => this.#failAll(event.message || "The model's worker stopped."));
  }

  /**
   * The last reply to `request`; `progress` and `token` replies go to `onEvent` on the way.
   *
   * @param {Record<string, any>} request a request of worker.js without its `id`
   * @param {(event: any) => void} [onEvent]
   * @returns {Promise<any>}
   */
  ask(request, onEvent) {
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
    if (reply.type === "error") waiting.reject(new Error(reply.message));
    else waiting.resolve(reply);
  }

  /** @param {string} message */
  #failAll(message) {
    for (const { reject } of this.waiting.values()) reject(new Error(message));
    this.waiting.clear();
  }
}
