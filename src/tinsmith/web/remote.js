/**
 * Measures the device that opened this page, by the protocol of `tinsmith bench`, and sends the signed result back.
 */

import { Bench } from "./protocol.js";

const element = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
const [form, nameField, start, progress, state, log] = ["form", "name", "start", "progress", "state", "log"].map(element);

/** The one-time code of this page's address, with which its result is signed. */
const code = location.pathname.split("/").at(-2) ?? "";

const bench = new Bench((line) => log.append(`${line}\n`));

form.addEventListener("submit", async (/** @type {Event} */ event) => {
  event.preventDefault();
  if (!nameField.value.trim()) return;
  start.disabled = nameField.disabled = true;
  progress.hidden = false;
  const watching = setInterval(() => {
    progress.max = bench.progress.total || 1;
    progress.value = bench.progress.done;
  }, 500);
  try {
    await send(await measured());
    state.textContent = "Done, and sent. You may close this page.";
  } catch (error) {
    state.textContent = `Nothing was sent: ${error instanceof Error ? error.message : error}`;
    start.disabled = nameField.disabled = false;
  } finally {
    clearInterval(watching);
    progress.hidden = true;
    // The model was kept for the second load only.
    for (const name of (await globalThis.caches?.keys()) ?? []) await caches.delete(name);
  }
});

/** What every device with this page's browser can be asked, and its answers. */
async function measured() {
  if (!crossOriginIsolated || !crypto.subtle) {
    throw new Error("the browser does not treat this page as a secure one, so it would measure one thread and no GPU");
  }
  await keepAwake();
  const plan = await (await answered("./plan.json")).json();
  const backends = [];
  for (const device of (await hasGpu()) ? ["webgpu", "wasm"] : ["wasm"]) {
    state.textContent = device === "webgpu" ? "Measuring the graphics processor" : "Measuring the processor";
    const asked = { ...plan, device };
    const measured = await bench.measure(asked);
    backends.push({ asked: device, measured, reloaded: await bench.reload(asked, measured.software) });
  }
  const sums = await (await answered("./model/SHA256SUMS")).arrayBuffer();
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
  const body = new TextEncoder().encode(JSON.stringify(result));
  const key = await crypto.subtle.importKey("raw", new TextEncoder().encode(code), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const signature = hex(await crypto.subtle.sign("HMAC", key, body));
  await answered("./result", { method: "POST", body, headers: { "Content-Type": "application/json", "X-Signature": signature } });
}

/**
 * @param {string} address
 * @param {RequestInit} [options]
 */
async function answered(address, options) {
  const response = await fetch(address, options);
  if (response.status === 404) throw new Error("this address has been used; ask for the new one");
  if (!response.ok) throw new Error(`the computer answered ${response.status}`);
  return response;
}

/** Software adapters compute rightly, but their speed says nothing of the device. */
async function hasGpu() {
  const adapter = await /** @type {any} */ (navigator).gpu?.requestAdapter();
  return !!adapter && !adapter.info?.isFallbackAdapter;
}

/** A screen that goes dark stops the timing on phones. */
async function keepAwake() {
  await /** @type {any} */ (navigator).wakeLock?.request("screen").catch(() => {});
}

/** @param {ArrayBuffer} bytes */
function hex(bytes) {
  return [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
