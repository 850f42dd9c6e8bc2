/**
 * Opens the page without a network, and enables threads on hosts that cannot send headers.
 *
 * Files come from the network and are cached; without a network they come from the cache. store.js handles the model's files.
 * Every response gets the headers of cross-origin isolation, which shared memory needs. Scripts also get a content security
 * policy, because a worker's policy comes from its own response.
 */

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (globalThis));

const HERE = new URL("./", location.href);
const CACHE = `tinsmith page ${HERE.pathname}`;
const MODEL = new URL("./model/", HERE).href;

/** Hosts to which Hugging Face's static Spaces redirect requests for large files. */
const REDIRECTS = HERE.hostname.endsWith(".hf.space") ? " https://*.hf.co https://*.huggingface.co" : "";
const WORKER_POLICY = `default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'${REDIRECTS}`;

/** Statuses of responses without a body. */
const BODILESS = [101, 204, 205, 304];

/** Files that the page fetched before this worker was running. */
const OPENING = [
  "./",
  "./app.json",
  "./card.html",
  "./chat.css",
  "./chat.js",
  "./client.js",
  "./elements.js",
  "./feedback.js",
  "./ladder_view.js",
  "./markdown.js",
  "./owner.js",
  "./page.css",
  "./small_talk.js",
  "./small_talk.json",
  "./sources.js",
  "./statistics.js",
  "./turns.js",
  "./versions.js",
  "./worker.js",
];

worker.addEventListener("install", (event) => {
  const requests = OPENING.map((name) => new Request(new URL(name, HERE), { cache: "no-cache" }));
  const filling = caches.open(CACHE).then((cache) => cache.addAll(requests));
  event.waitUntil(filling.then(() => worker.skipWaiting()));
});

worker.addEventListener("activate", (event) => event.waitUntil(worker.clients.claim()));

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const isOurs = request.url.startsWith(HERE.href) && !request.url.startsWith(MODEL);
  if (request.method === "GET" && isOurs) event.respondWith(respond(event));
});

/** @param {FetchEvent} event @returns {Promise<Response>} */
async function respond(event) {
  const { request } = event;
  const cache = await caches.open(CACHE);
  const cached = await cache.match(request, { ignoreSearch: true });
  let response;
  try {
    response = await fetch(request);
  } catch (error) {
    if (!cached) throw error;
    return isolated(cached, request.url);
  }
  if (response.ok && !isSame(cached, response)) {
    event.waitUntil(cache.put(request, response.clone()).catch(() => {})); // a full disk must not stop the page
  }
  return isolated(response, request.url);
}

/**
 * Whether the cached response is the new one, by the host's headers.
 *
 * @param {Response | undefined} cached
 * @param {Response} response
 */
function isSame(cached, response) {
  const marks = ["etag", "last-modified"].filter((name) => response.headers.has(name));
  if (!cached || !marks.length) return false;
  return [...marks, "content-length"].every((name) => cached.headers.get(name) === response.headers.get(name));
}

/** @param {Response} response @param {string} url @returns {Response} the same response with the headers for isolation */
function isolated(response, url) {
  if (response.type === "opaqueredirect") return response; // the browser follows it, and asks again
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  if (new URL(url).pathname.endsWith(".js")) headers.append("Content-Security-Policy", WORKER_POLICY);
  const { status, statusText } = response;
  return new Response(BODILESS.includes(status) ? null : response.body, { status, statusText, headers });
}
