/**
 * Lets the page open without a network, and gives it threads on hosts that cannot send headers.
 *
 * Files come from the network and are kept; without a network they come from what was kept. The model is not this worker's
 * business: store.js keeps it. Every answer gets the headers of cross-origin isolation, which shared memory needs, and the
 * policy for workers, which take it from their own answer only.
 */

const HERE = new URL("./", location.href);
const CACHE = `tinsmith page ${HERE.pathname}`;
const MODEL = new URL("./model/", HERE).href;

/** Where Hugging Face's static Spaces may send who asks for a large file. */
const REDIRECTS = HERE.hostname.endsWith(".hf.space") ? " https://*.hf.co https://*.huggingface.co" : "";
const WORKER_POLICY = `default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'${REDIRECTS}`;

/** What the page had fetched before this worker was there. */
const OPENING = [
  "./", "./app.json", "./card.html", "./chat.css", "./chat.js", "./client.js", "./markdown.js", "./page.css", "./worker.js",
];

self.addEventListener("install", (event) => {
  const requests = OPENING.map((name) => new Request(new URL(name, HERE), { cache: "no-cache" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(requests)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(HERE.href) || request.url.startsWith(MODEL)) return;
  event.respondWith(answer(event));
});

/** @param {any} event */
async function answer(event) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(event.request, { ignoreSearch: true });
  let response;
  try {
    response = await fetch(event.request);
  } catch (error) {
    if (!kept) throw error;
    return isolated(kept, event.request.url);
  }
  if (response.ok && !isSame(kept, response)) {
    event.waitUntil(cache.put(event.request, response.clone()).catch(() => {})); // a full disk keeps nobody from reading
  }
  return isolated(response, event.request.url);
}

/** Whether a kept answer is the new one, as far as the host says. */
function isSame(kept, response) {
  const marks = ["etag", "last-modified"].filter((name) => response.headers.has(name));
  return !!kept && marks.length > 0 && [...marks, "content-length"].every((name) => kept.headers.get(name) === response.headers.get(name));
}

function isolated(response, url) {
  if (response.type === "opaqueredirect") return response; // the browser follows it, and asks again
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  if (new URL(url).pathname.endsWith(".js")) headers.append("Content-Security-Policy", WORKER_POLICY);
  const { status, statusText } = response;
  return new Response([101, 204, 205, 304].includes(status) ? null : response.body, { status, statusText, headers });
}
