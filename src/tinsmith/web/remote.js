/**
 * Measures the device that opened this page, like `tinsmith bench`, and sends the signed result back.
 *
 * @import { Plan } from "./benchmark.js"
 */

import { Bench } from "./benchmark.js";

/** @template {HTMLElement} T @param {string} id @returns {T} */
const element = (id) => /** @type {T} */ (document.getElementById(id));

const form = /** @type {HTMLFormElement} */ (element("form"));
const nameField = /** @type {HTMLInputElement} */ (element("name"));
const startButton = /** @type {HTMLButtonElement} */ (element("start"));
const progress = /** @type {HTMLProgressElement} */ (element("progress"));
const state = element("state");
const log = element("log");

/** The one-time code of this page's address, which signs its result. */
const code = location.pathname.split("/").at(-2) ?? "";

const bench = new Bench((line) => log.append(`${line}\n`));

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!nameField.value.trim()) return;
  startButton.disabled = nameField.disabled = true;
  progress.hidden = false;
  const watching = setInterval(() => {
    progress.max = bench.progress.total || 1;
    progress.value = bench.progress.done;
  }, 500);
  try {
    await send(await measureDevice());
    state.textContent = "Done: the result was sent. You can close this page.";
  } catch (error) {
    state.textContent = `Nothing was sent: ${error instanceof Error ? error.message : error}`;
    startButton.disabled = nameField.disabled = false;
  } finally {
    clearInterval(watching);
    progress.hidden = true;
    // The model was cached for the second load only.
    for (const name of (await globalThis.caches?.keys()) ?? []) await caches.delete(name);
  }
});

/** @returns {Promise<object>} measurements of every backend of this browser, and what it reports about the device */
async function measureDevice() {
  if (!crossOriginIsolated || !crypto.subtle) {
    throw new Error(
      "the browser does not treat this page as secure, so only a single thread could be measured and no graphics processor",
    );
  }
  await keepAwake();
  /** @type {Plan} */
  const plan = await (await fetchOk("./plan.json")).json();
  /** @type {("webgpu" | "wasm")[]} */
  const devices = (await hasGpu()) ? ["webgpu", "wasm"] : ["wasm"];
  const backends = [];
  for (const device of devices) {
    state.textContent = device === "webgpu" ? "Measuring the graphics processor" : "Measuring the processor";
    const devicePlan = { ...plan, device };
    const measured = await bench.measure(devicePlan);
    backends.push({ asked: device, measured, reloaded: await bench.reload(devicePlan, measured) });
  }
  const sums = await (await fetchOk("./model/SHA256SUMS")).arrayBuffer();
  return {
    package: hex(await crypto.subtle.digest("SHA-256", sums)),
    name: nameField.value.trim(),
    userAgent: navigator.userAgent,
    cores: navigator.hardwareConcurrency ?? 0,
    backends,
  };
}

/** @param {object} result */
async function send(result) {
  const encoder = new TextEncoder();
  const body = encoder.encode(JSON.stringify(result));
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", encoder.encode(code), algorithm, false, ["sign"]);
  const signature = hex(await crypto.subtle.sign("HMAC", key, body));
  const headers = { "Content-Type": "application/json", "X-Signature": signature };
  await fetchOk("./result", { method: "POST", body, headers });
}

/**
 * @param {string} address
 * @param {RequestInit} [options]
 * @returns {Promise<Response>}
 * @throws {Error} if the status is not a success
 */
async function fetchOk(address, options) {
  const response = await fetch(address, options);
  if (response.status === 404) throw new Error("this address has been used already; ask for a new one");
  if (!response.ok) throw new Error(`the computer answered ${response.status}`);
  return response;
}

/** Whether there is a graphics processor; software adapters compute correctly, but their speed says nothing. */
async function hasGpu() {
  const adapter = await navigator.gpu?.requestAdapter();
  return !!adapter && !adapter.info?.isFallbackAdapter;
}

/** Phones stop timers when the screen goes dark. */
async function keepAwake() {
  await navigator.wakeLock?.request("screen").catch(() => {}); // refused on low battery; the measurement works without it
}

/** @param {ArrayBuffer} bytes @returns {string} in hexadecimal */
function hex(bytes) {
  return [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
