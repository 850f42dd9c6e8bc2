/**
 * The chat page. What the model says becomes text nodes only, never markup.
 */

import { ModelClient } from "./client.js";

/**
 * `app.json`, written when the page is built.
 *
 * @typedef {{title: string, system_prompt: string, questions: string[], model: string, max_new_tokens: number}} App
 * @typedef {{role: 'system' | 'user' | 'assistant', content: string}} Message
 */

/** @template {HTMLElement} T @param {string} id @returns {T} */
const element = (id) => /** @type {T} */ (document.getElementById(id));

const question = /** @type {HTMLTextAreaElement} */ (element("question"));
const system = /** @type {HTMLTextAreaElement} */ (element("system"));
const send = /** @type {HTMLButtonElement} */ (element("send"));
const stop = /** @type {HTMLButtonElement} */ (element("stop"));
const turns = element("turns");

const client = new ModelClient();
/** @type {Message[]} User and assistant in turn; the system prompt is put in front when asking. */
let conversation = [];
let isReady = false;
let isBusy = false;
/** Changes with every new chat, so that an answer to the old one is dropped. */
let generation = 0;
/** @type {App} */
let app;

/** @param {string} text @param {boolean} failed */
function showNotice(text, failed = false) {
  const notice = element("notice");
  notice.textContent = text;
  notice.classList.toggle("failed", failed);
  notice.hidden = !text;
}

function update() {
  send.disabled = !isReady || isBusy || !question.value.trim();
  send.hidden = isBusy;
  stop.hidden = !isBusy;
  element("welcome").hidden = conversation.length > 0;
  element("restart").hidden = conversation.length === 0;
  for (const button of element("questions").querySelectorAll("button")) button.disabled = !isReady || isBusy;
}

/** @param {'user' | 'assistant'} role @param {string} text @returns {{item: HTMLElement, body: HTMLElement}} */
function addTurn(role, text) {
  const item = document.createElement("li");
  item.className = `turn ${role}`;
  const body = document.createElement("span");
  body.className = "text";
  body.textContent = text;
  item.append(body);
  turns.append(item);
  item.scrollIntoView({ block: "end" });
  return { item, body };
}

/** @param {string} text */
async function ask(text) {
  if (!isReady || isBusy || !text.trim()) return;
  const mine = generation;
  isBusy = true;
  showNotice("");
  conversation.push({ role: "user", content: text.trim() });
  addTurn("user", text.trim());
  const { item, body } = addTurn("assistant", "");
  question.value = "";
  update();
  stop.focus();
  /** @type {Message[]} */
  const prompt = system.value.trim() ? [{ role: "system", content: system.value }] : [];
  try {
    const request = { type: "generate", messages: [...prompt, ...conversation], maxNewTokens: app.max_new_tokens, greedy: true };
    const speed = speedometer();
    const done = await client.ask(request, (event) => {
      if (mine !== generation) return;
      body.append(event.text);
      element("speed").textContent = speed(event.time);
      if (isNearBottom()) item.scrollIntoView({ block: "end" });
    });
    if (mine !== generation) return;
    body.textContent = done.text || "(no answer)";
    conversation.push({ role: "assistant", content: done.text });
    const follows = isNearBottom();
    item.append(measureLine(done));
    if (follows) item.scrollIntoView({ block: "end" });
  } catch (error) {
    if (mine !== generation) return;
    conversation.pop();
    item.remove();
    showNotice(`The model stopped: ${/** @type {Error} */ (error).message}`, true);
  } finally {
    if (mine === generation) {
      isBusy = false;
      update();
      question.focus();
    }
  }
}

/** Text for the speed so far, fed with each token's time in milliseconds. */
function speedometer() {
  /** @type {number[]} */
  const times = [];
  return (/** @type {number} */ time) => {
    times.push(time);
    return times.length > 1 ? `${perSecond(times)} tokens/s` : "";
  };
}

/** @param {number[]} times */
function perSecond(times) {
  return (((times.length - 1) * 1000) / (times[times.length - 1] - times[0])).toFixed(1);
}

/** @param {{tokenIds: number[], times: number[], stopped: string}} done */
function measureLine(done) {
  const line = document.createElement("span");
  line.className = "measure";
  const parts = [`${done.tokenIds.length} tokens`];
  if (done.times.length > 1) parts.push(`${perSecond(done.times)} tokens/s`);
  if (done.stopped === "length") parts.push("cut at the longest answer allowed");
  if (done.stopped === "request") parts.push("stopped");
  line.textContent = parts.join(" · ");
  return line;
}

function isNearBottom() {
  const page = document.documentElement;
  return page.scrollHeight - page.scrollTop - page.clientHeight < 160;
}

function restart() {
  if (isBusy) client.stop();
  generation += 1;
  isBusy = false;
  conversation = [];
  turns.replaceChildren();
  showNotice("");
  element("speed").textContent = "";
  update();
  question.focus();
}

async function loadModel() {
  /** @type {Map<string, {loaded: number, total: number}>} */
  const files = new Map();
  const bar = /** @type {HTMLProgressElement} */ (element("loading-bar"));
  const megabytes = (/** @type {number} */ bytes) => (bytes / 1e6).toFixed(bytes < 1e6 ? 1 : 0);
  const ready = await client.ask({ type: "load", modelUrl: new URL(app.model, location.href).href, device: "auto" }, (event) => {
    files.set(event.file, event);
    const loaded = [...files.values()].reduce((sum, file) => sum + file.loaded, 0);
    const total = [...files.values()].reduce((sum, file) => sum + file.total, 0);
    bar.value = loaded / total;
    const all = loaded >= total;
    element("loading-text").textContent = all
      ? `Preparing the model (${megabytes(total)} MB)`
      : `Loading the model: ${megabytes(loaded)} of ${megabytes(total)} MB`;
  });
  element("loading").hidden = true;
  const device = ready.device === "webgpu" ? "WebGPU" : "WASM";
  const threads = ready.device === "wasm" ? `, ${ready.threads} ${ready.threads === 1 ? "thread" : "threads"}` : "";
  element("facts").textContent = `Nothing leaves this device · ${device}${threads}`;
  element("fallback").textContent = ready.notice;
  if (ready.device === "wasm" && !ready.crossOriginIsolated) {
    showNotice("One thread only: this host does not send the headers for cross-origin isolation.");
  }
  isReady = true;
  update();
}

async function start() {
  const response = await fetch("./app.json");
  if (!response.ok) throw new Error(`app.json answered ${response.status}`);
  app = await response.json();
  document.title = app.title;
  element("title").textContent = app.title;
  system.value = app.system_prompt;
  for (const text of app.questions) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.disabled = true;
    button.textContent = text;
    button.addEventListener("click", () => ask(text));
    item.append(button);
    element("questions").append(item);
  }
  await loadModel();
}

element("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask(question.value);
});
question.addEventListener("input", update);
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    ask(question.value);
  }
});
stop.addEventListener("click", () => client.stop());
element("restart").addEventListener("click", restart);
update();
start().catch((error) => {
  element("loading").hidden = true;
  showNotice(`The model could not be loaded. ${error.message}`, true);
});
