/**
 * The chat page. What the model says is shown by markdown.js, as nodes made one by one: nothing in it can become markup.
 */

import { ModelClient, serve } from "./client.js";
import { markdown } from "./markdown.js";

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

/** @type {ModelClient} Made once the page is isolated, if it can be. */
let client;
/** @type {Message[]} User and assistant in turn; the system prompt is put in front when asking. */
let conversation = [];
let isReady = false;
let isBusy = false;
/** Whether the visitor asked for the answer at hand to end. */
let isStopping = false;
/** The timer of a running warm-up, else 0. */
let warmUpEnds = 0;
/** Changes with every new chat, so that an answer to the old one is dropped. */
let generation = 0;
/** @type {App} */
let app;

/** @param {string} text @param {boolean} failed */
function showNotice(text, failed = false) {
  const notice = element("notice");
  notice.classList.toggle("failed", failed);
  notice.textContent = text;
}

/** Tell people who listen to the page what others see. @param {string} text */
function announce(text) {
  element("said").textContent = text;
}

function update() {
  send.disabled = !isReady || isBusy || !question.value.trim();
  send.hidden = isBusy;
  stop.hidden = !isBusy;
  element("welcome").hidden = conversation.length > 0;
  element("restart").hidden = conversation.length === 0;
  for (const button of element("questions").querySelectorAll("button")) button.disabled = !isReady || isBusy;
  const answers = turns.querySelectorAll(".turn.assistant .again");
  answers.forEach((button, index) => {
    /** @type {HTMLButtonElement} */ (button).hidden = isBusy || index + 1 < answers.length;
  });
}

/** @param {'user' | 'assistant'} role @param {string} text @returns {{item: HTMLElement, body: HTMLElement}} */
function addTurn(role, text) {
  const item = document.createElement("li");
  item.className = `turn ${role}`;
  const speaker = document.createElement("span");
  speaker.className = "unseen";
  speaker.textContent = role === "user" ? "You: " : "Answer: ";
  const body = document.createElement("div");
  body.className = "text";
  body.textContent = text;
  item.append(speaker, body);
  turns.append(item);
  item.scrollIntoView({ block: "end" });
  return { item, body };
}

/** @param {string} text */
async function ask(text) {
  if (!isReady || isBusy || !text.trim()) return;
  conversation.push({ role: "user", content: text.trim() });
  addTurn("user", text.trim());
  question.value = "";
  if (await answer()) return;
  conversation.pop();
  turns.lastElementChild?.remove();
  if (!question.value) question.value = text;
  update();
}

/** Another answer to the last question; chosen by chance, since the likeliest one is there already. */
async function answerAgain() {
  if (!isReady || isBusy) return;
  const old = conversation.pop();
  const item = turns.lastElementChild;
  if (item?.contains(document.activeElement)) question.focus(); // the button that was pressed goes
  item?.remove();
  if (!(await answer(false)) && old && item) {
    conversation.push(old);
    turns.append(item);
    update();
  }
}

/**
 * Let the model answer the conversation's last question.
 *
 * @param {boolean} greedy
 * @returns {Promise<boolean>} whether there is an answer, or nobody waits for it any more; none if it was stopped before its first word
 */
async function answer(greedy = true) {
  const mine = generation;
  isBusy = true;
  isStopping = false;
  if (warmUpEnds) endWarmUp();
  showNotice("");
  const { item, body } = addTurn("assistant", "");
  item.setAttribute("aria-busy", "true"); // read out once, when it is whole
  const wasOnButton = [send, ...document.querySelectorAll(".questions button")].includes(/** @type {any} */ (document.activeElement));
  update();
  if (wasOnButton) question.focus(); // that button is gone now
  try {
    const request = { type: "generate", messages: [...opening(), ...conversation], maxNewTokens: app.max_new_tokens, greedy };
    const speed = speedometer();
    let text = "";
    const done = await client.ask(request, (event) => {
      if (mine !== generation) return;
      text += event.text;
      if (event.text) body.replaceChildren(markdown(text));
      element("speed").textContent = speed(event.time);
      if (isNearBottom()) item.scrollIntoView({ block: "end" });
    });
    if (mine !== generation) return true;
    if (!done.text && done.stopped === "request") {
      item.remove();
      return false;
    }
    body.replaceChildren(markdown(done.text || "(no answer)"));
    item.removeAttribute("aria-busy");
    conversation.push({ role: "assistant", content: done.text });
    const follows = isNearBottom();
    item.append(measureLine(done), actions(done.text));
    if (follows) item.scrollIntoView({ block: "end" });
    return true;
  } catch (error) {
    if (mine !== generation) return true;
    item.remove();
    const problem = await problemThatStays(/** @type {any} */ (error));
    if (mine !== generation) return true;
    if (!problem && !isStopping) return await answer(greedy);
    if (problem) showNotice(problem, true);
    return false;
  } finally {
    if (mine === generation) {
      isBusy = false;
      const wasOnStop = document.activeElement === stop;
      update();
      if (wasOnStop) question.focus();
    }
  }
}

/**
 * After a GPU failed, for good as far as browsers tell, load the model on the processor.
 *
 * @param {Error & {isUnsuitable?: boolean}} error
 * @returns {Promise<string>} what to tell the visitor; nothing if the processor can do what the GPU could not
 */
async function problemThatStays(error) {
  if (!error.isUnsuitable) return `The model stopped: ${error.message}`;
  isReady = false;
  try {
    await loadModel(error.message);
    return "";
  } catch (failure) {
    element("loading").hidden = true;
    return `The model stopped: ${error.message}, and the processor could not load it: ${/** @type {Error} */ (failure).message}`;
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

/** @param {{tokenIds: number[], times: number[], promptTokens: number, contextTokens: number, droppedTurns: number, stopped: string}} done */
function measureLine(done) {
  const line = document.createElement("span");
  line.className = "measure";
  const parts = [`${done.tokenIds.length} tokens`];
  if (done.times.length > 1) parts.push(`${perSecond(done.times)} tokens/s`);
  parts.push(`context ${done.promptTokens + done.tokenIds.length} of ${done.contextTokens}`);
  if (done.droppedTurns) parts.push(`the oldest ${done.droppedTurns === 1 ? "turn" : `${done.droppedTurns} turns`} left out`);
  if (done.stopped === "length") parts.push("cut at the longest answer allowed");
  if (done.stopped === "request") parts.push("stopped");
  line.textContent = parts.join(" · ");
  return line;
}

/** @param {string} text @returns {HTMLElement} what can be done with an answer */
function actions(text) {
  const line = document.createElement("div");
  line.className = "actions";
  const copy = button("Copy", async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "The browser does not allow copying";
    }
    setTimeout(() => (copy.textContent = "Copy"), 2000);
  });
  const again = button("Another answer", answerAgain);
  again.classList.add("again");
  line.append(copy, again);
  return line;
}

/** @param {string} label @param {() => void} act @returns {HTMLButtonElement} */
function button(label, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "plain";
  made.textContent = label;
  made.addEventListener("click", act);
  return made;
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
  if (isReady) client.ask({ type: "forget" }).catch(() => {}); // of a worker that is gone
  element("speed").textContent = "";
  update();
  question.focus();
}

/** @param {number} started @param {number} loaded @param {number} total @returns {string} empty until it can be said */
function timeLeft(started, loaded, total) {
  const seconds = (performance.now() - started) / 1000;
  if (seconds < 2 || !loaded) return "";
  const left = (seconds * (total - loaded)) / loaded;
  return left < 90 ? `, about ${Math.ceil(left)} s left` : `, about ${Math.round(left / 60)} minutes left`;
}

/** @param {string} gpuProblem why it must be the processor */
async function loadModel(gpuProblem = "") {
  element("loading").hidden = false;
  announce("Loading the model");
  /** @type {Map<string, {loaded: number, total: number}>} */
  const files = new Map();
  const bar = /** @type {HTMLProgressElement} */ (element("loading-bar"));
  const megabytes = (/** @type {number} */ bytes) => (bytes / 1e6).toFixed(bytes < 1e6 ? 1 : 0);
  const started = performance.now();
  // Without this a browser may delete the model when the disk fills up. It may ask the visitor, so nothing waits for it.
  navigator.storage?.persist?.().catch(() => {});
  const onEvent = (/** @type {{file: string, loaded: number, total: number}} */ event) => {
    files.set(event.file, event);
    const loaded = [...files.values()].reduce((sum, file) => sum + file.loaded, 0);
    const total = [...files.values()].reduce((sum, file) => sum + file.total, 0);
    if (!files.has(WEIGHTS)) return; // the small files before it say nothing of how long it takes
    bar.value = loaded / total;
    const all = loaded >= total;
    element("loading-text").textContent = all
      ? `Preparing the model (${megabytes(total)} MB)`
      : `Loading the model: ${megabytes(loaded)} of ${megabytes(total)} MB${timeLeft(started, loaded, total)}`;
  };
  const request = { modelUrl: new URL(app.model, location.href).href, device: "auto" };
  const ready = await (gpuProblem ? client.loadOnProcessor(gpuProblem, request, onEvent) : client.load(request, onEvent));
  element("loading").hidden = true;
  const device = ready.device === "webgpu" ? "WebGPU" : "WASM";
  const threads = ready.device === "wasm" ? `, ${ready.threads} ${ready.threads === 1 ? "thread" : "threads"}` : "";
  element("facts").textContent = `Nothing leaves this device · ${device}${threads}`;
  const oneThread = ready.device === "wasm" && !ready.crossOriginIsolated;
  element("fallback").textContent = [
    ready.notice,
    oneThread && "One thread only: this host does not send the headers for cross-origin isolation",
    !ready.isKept && "The browser has no room to keep the model: the next visit downloads it again",
  ].filter(Boolean).join(". ");
  isReady = true;
  update();
  announce("The model is ready");
  warmUp();
}

/** The largest file of a package, or the first piece of it. */
const WEIGHTS = "onnx/model_q4.onnx_data";

/** Of an answer that nobody sees. */
const WARM_UP = { tokens: 48, mostMilliseconds: 5000 };

/**
 * Answer something unseen, until the visitor asks: browsers compile what runs often once more, for speed, and what
 * conversations here begin with is read already.
 */
async function warmUp() {
  const messages = [...opening(), { role: "user", content: app.questions[0] ?? app.title }];
  const { tokens, mostMilliseconds } = WARM_UP;
  warmUpEnds = setTimeout(endWarmUp, mostMilliseconds);
  const asking = client.ask({ type: "generate", messages, maxNewTokens: tokens, minNewTokens: tokens });
  const failure = await asking.then(() => null, (error) => error);
  clearTimeout(warmUpEnds);
  warmUpEnds = 0;
  if (failure && !isBusy) showNotice(await problemThatStays(failure), true); // else the answer at hand says so
}

function endWarmUp() {
  clearTimeout(warmUpEnds);
  client.stop();
}

function stopAnswer() {
  isStopping = true;
  client.stop();
}

/** The system prompt as it stands. @returns {Message[]} */
function opening() {
  return system.value.trim() ? [{ role: "system", content: system.value }] : [];
}

async function start() {
  await serve();
  client = new ModelClient();
  const response = await fetch("./app.json");
  if (!response.ok) throw new Error(`app.json answered ${response.status}`);
  app = await response.json();
  document.title = app.title;
  element("title").textContent = app.title;
  system.value = app.system_prompt;
  for (const text of app.questions) {
    const item = document.createElement("li");
    const example = button(text, () => ask(text));
    example.classList.remove("plain");
    example.disabled = true;
    item.append(example);
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
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.isComposing && isBusy) stopAnswer();
});
stop.addEventListener("click", stopAnswer);
element("restart").addEventListener("click", restart);
update();
start().catch((error) => {
  element("loading").hidden = true;
  announce("");
  showNotice(`The model could not be loaded. ${error.message}`, true);
});
