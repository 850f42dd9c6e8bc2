/**
 * Loads a tinsmith package from any address.
 *
 * Transformers.js takes a Hub name, not an address: `pipeline('text-generation', 'https://host/model/')` refuses to load.
 * It does take a host and a path pattern, which is what `pointAt` sets.
 */

/**
 * @typedef {object} LoadOptions
 * @property {'wasm' | 'webgpu'} device
 * @property {(event: {status: string, file?: string, loaded?: number, total?: number}) => void} [onProgress]
 * @property {Record<string, any>} [sessionOptions] passed on to ONNX Runtime
 */

/**
 * The name to pass to `from_pretrained` or `pipeline` after pointing Transformers.js at a folder.
 *
 * @param {any} env `env` of the Transformers.js module in use
 * @param {string | URL} url address of the package folder, absolute or relative to the page
 * @returns {string}
 */
export function pointAt(env, url) {
  const folder = folderUrl(url);
  const names = folder.pathname.split("/").filter(Boolean);
  const name = names.pop() ?? "";
  env.remoteHost = `${folder.origin}/${names.map((part) => part + "/").join("")}`;
  env.remotePathTemplate = name ? `${name}/` : "";
  env.allowRemoteModels = true;
  env.allowLocalModels = false;
  // Only a label from here on: the template does not use it.
  return "model";
}

/**
 * The package's `config.json`, or an error that says what the host answered instead.
 *
 * Many hosts answer a missing file with a page and status 200, which would be parsed as a model and cached.
 *
 * @param {string | URL} url address of the package folder
 * @returns {Promise<Record<string, any>>}
 */
export async function preflight(url) {
  const address = new URL("config.json", folderUrl(url)).href;
  let response;
  try {
    response = await fetch(address, { cache: "no-cache" });
  } catch (error) {
    throw new Error(`${address} cannot be reached. Is the address right, and does the host allow this page to read it (CORS)?`);
  }
  if (!response.ok) {
    throw new Error(`${address} answered ${response.status}. The address must be the folder that holds config.json.`);
  }
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${address} is not JSON; the host answered with: ${text.slice(0, 60)}`);
  }
}

/**
 * Tokenizer and model of the package at `url`.
 *
 * @param {any} transformers the Transformers.js module
 * @param {string | URL} url
 * @param {LoadOptions} options
 * @returns {Promise<{tokenizer: any, model: any, config: Record<string, any>}>}
 */
export async function loadFrom(transformers, url, { device, onProgress, sessionOptions = {} }) {
  const config = await preflight(url);
  const name = pointAt(transformers.env, url);
  transformers.env.cacheKey = await cacheName(url);
  const shared = { progress_callback: onProgress };
  const tokenizer = await transformers.AutoTokenizer.from_pretrained(name, shared);
  const model = await withLostErrors(
    transformers.AutoModelForCausalLM.from_pretrained(name, {
      ...shared,
      device,
      dtype: "q4",
      session_options: sessionOptions,
    }),
  );
  return { tokenizer, model, config };
}

/**
 * `loading`, or the first error that nobody handled meanwhile.
 *
 * Transformers.js 4.3.1 downloads weights inside a promise that never settles when the download fails, so without this a
 * missing `model_q4.onnx_data` would load forever.
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

/**
 * Name of the browser cache for exactly this version of the package; caches of other versions are deleted.
 *
 * @param {string | URL} url
 * @returns {Promise<string>}
 */
async function cacheName(url) {
  const folder = folderUrl(url);
  // Both are missing outside secure contexts, where Transformers.js caches nothing either.
  if (!globalThis.caches || !globalThis.crypto?.subtle) return "tinsmith";
  const response = await fetch(new URL("SHA256SUMS", folder), { cache: "no-cache" });
  if (!response.ok) return `tinsmith ${folder.pathname}`;
  const digest = await crypto.subtle.digest("SHA-256", await response.arrayBuffer());
  const version = [...new Uint8Array(digest).slice(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const current = `tinsmith ${folder.pathname} ${version}`;
  for (const name of await caches.keys()) {
    if (name.startsWith(`tinsmith ${folder.pathname} `) && name !== current) await caches.delete(name);
  }
  return current;
}

/** @param {string | URL} url @returns {URL} */
function folderUrl(url) {
  const folder = new URL(url, globalThis.location?.href);
  if (!folder.pathname.endsWith("/")) folder.pathname += "/";
  folder.search = folder.hash = "";
  return folder;
}
