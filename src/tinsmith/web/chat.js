/**
 * The chat page. markdown.js renders answers as DOM nodes and parses nothing as HTML, so an answer cannot inject markup.
 *
 * @import { Done, Events, Message, Ready, Token } from "./messages.js"
 */

import { ModelClient, RequestFailed, startServiceWorker } from "./client.js";
import { markdown } from "./markdown.js";
import { progressBar, speedometer, statistics } from "./statistics.js";

/**
 * @typedef {object} App content of `app.json`, which is written when the site is built
 * @property {string} title
 * @property {string} system_prompt
 * @property {string[]} questions examples
 * @property {string} model address of the package
 * @property {number} max_new_tokens
 *
 * @typedef {{item: HTMLElement, body: HTMLElement}} Turn
 */

/** Length and time limit of the hidden answer that warms up the model. */
const WARM_UP = { tokens: 48, maxMilliseconds: 5000 };

/** The page scrolls along with an answer while its end is closer than this. */
const NEAR_BOTTOM_PIXELS = 160;

/** @param {string} id @returns {HTMLElement} */
const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

const question = /** @type {HTMLTextAreaElement} */ (element("question"));
const system = /** @type {HTMLTextAreaElement} */ (element("system"));
const sendButton = /** @type {HTMLButtonElement} */ (element("send"));
const stopButton = /** @type {HTMLButtonElement} */ (element("stop"));
const turns = element("turns");

/** Set once the page is isolated, if it can be. @type {ModelClient} */
let client;
/** @type {App} */
let app;
/** Questions and answers, without the system prompt. @type {Message[]} */
let conversation = [];
let isReady = false;
let isBusy = false;
/** Whether the visitor stopped the current answer. */
let isStopping = false;
/** Ends the warm-up, while it runs. @type {ReturnType<typeof setTimeout> | undefined} */
let warmUpTimer;
/** Number of the chat; answers to an earlier one are dropped. */
let chat = 0;

/** @param {string} text @param {boolean} [failed] */
function showNotice(text, failed = false) {
  const notice = element("notice");
  notice.classList.toggle("failed", failed);
  notice.textContent = text;
}

/** Tell users of screen readers what others see. @param {string} text */
function announce(text) {
  element("said").textContent = text;
}

function update() {
  sendButton.disabled = !isReady || isBusy || !question.value.trim();
  sendButton.hidden = isBusy;
  stopButton.hidden = !isBusy;
  element("welcome").hidden = conversation.length > 0;
  element("restart").hidden = conversation.length === 0;
  for (const example of element("questions").querySelectorAll("button")) example.disabled = !isReady || isBusy;
  /** @type {NodeListOf<HTMLButtonElement>} */
  const againButtons = turns.querySelectorAll(".turn.assistant .again");
  againButtons.forEach((again, index) => {
    again.hidden = isBusy || index + 1 < againButtons.length;
  });
}

/** @param {"user" | "assistant"} role @param {string} text @returns {Turn} */
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
  conversation.push(userMessage(text.trim()));
  addTurn("user", text.trim());
  question.value = "";
  if (await answer()) return;
  conversation.pop();
  turns.lastElementChild?.remove();
  if (!question.value) question.value = text;
  update();
}

/** Replace the last answer with a sampled one, since the most likely answer was already shown. */
async function answerAgain() {
  if (!isReady || isBusy) return;
  const old = conversation.pop();
  const item = turns.lastElementChild;
  if (item?.contains(document.activeElement)) question.focus(); // the pressed button is removed
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
 * @param {boolean} [greedy]
 * @returns {Promise<boolean>} true if there is an answer or the visitor restarted the chat; false if it failed or was stopped
 *   before its first word
 */
async function answer(greedy = true) {
  const own = chat;
  isBusy = true;
  isStopping = false;
  if (warmUpTimer) endWarmUp();
  showNotice("");
  const turn = addTurn("assistant", "");
  turn.item.setAttribute("aria-busy", "true"); // screen readers read it once, when it is complete
  const focused = document.activeElement;
  const wasOnButton = focused === sendButton || element("questions").contains(focused);
  update();
  if (wasOnButton) question.focus(); // the focused button is hidden now
  try {
    const done = await generateInto(turn, greedy);
    return own !== chat || showAnswer(turn, done);
  } catch (error) {
    if (own !== chat) return true;
    turn.item.remove();
    const problem = await problemAfterRecovery(error);
    if (own !== chat) return true;
    if (!problem && !isStopping) return await answer(greedy);
    if (problem) showNotice(problem, true);
    return false;
  } finally {
    if (own === chat) endAnswer();
  }
}

/**
 * Generate an answer and show it in `turn` while it is generated.
 *
 * @param {Turn} turn
 * @param {boolean} greedy
 * @returns {Promise<Done>}
 */
function generateInto({ item, body }, greedy) {
  const own = chat;
  const messages = [...systemMessages(), ...conversation];
  const speed = speedometer();
  let text = "";
  const onToken = (/** @type {Token} */ token) => {
    if (own !== chat) return;
    text += token.text;
    if (token.text) body.replaceChildren(markdown(text));
    element("speed").textContent = speed(token.time);
    if (isNearBottom()) item.scrollIntoView({ block: "end" });
  };
  return client.ask({ type: "generate", messages, maxNewTokens: app.max_new_tokens, greedy }, onToken);
}

/** @param {Turn} turn @param {Done} done @returns {boolean} false if the answer was stopped before its first word */
function showAnswer({ item, body }, done) {
  if (!done.text && done.stopped === "request") {
    item.remove();
    return false;
  }
  body.replaceChildren(markdown(done.text || "(no answer)"));
  item.removeAttribute("aria-busy");
  conversation.push({ role: "assistant", content: done.text });
  const follows = isNearBottom();
  item.append(statistics(done), actions(done.text));
  if (follows) item.scrollIntoView({ block: "end" });
  return true;
}

function endAnswer() {
  isBusy = false;
  const wasOnStop = document.activeElement === stopButton;
  update();
  if (wasOnStop) question.focus();
}

/**
 * Try to recover from an error, and return what to tell the visitor. If the GPU failed, load the model on the processor,
 * since browsers do not report when a GPU works again.
 *
 * @param {unknown} error
 * @returns {Promise<string>} empty if the processor took over
 */
async function problemAfterRecovery(error) {
  const { message } = /** @type {Error} */ (error);
  if (!(error instanceof RequestFailed) || !error.isUnsuitable) return `The model stopped: ${message}`;
  isReady = false;
  try {
    await loadModel(message);
    return "";
  } catch (failure) {
    element("loading").hidden = true;
    const reason = /** @type {Error} */ (failure).message;
    return `The model stopped: ${message}, and the processor could not load it: ${reason}`;
  }
}

/** @param {string} text @returns {HTMLElement} buttons to show below an answer */
function actions(text) {
  const line = document.createElement("div");
  line.className = "actions";
  const copy = newButton("Copy", async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "The browser does not allow copying";
    }
    setTimeout(() => (copy.textContent = "Copy"), 2000);
  });
  const again = newButton("Another answer", answerAgain);
  again.classList.add("again");
  line.append(copy, again);
  return line;
}

/** @param {string} label @param {() => void} onClick @returns {HTMLButtonElement} */
function newButton(label, onClick) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain";
  button.textContent = label;
  button.addEventListener("click", onClick);
  return button;
}

function isNearBottom() {
  const page = document.documentElement;
  return page.scrollHeight - page.scrollTop - page.clientHeight < NEAR_BOTTOM_PIXELS;
}

function restart() {
  if (isBusy) client.stop();
  chat += 1;
  isBusy = false;
  conversation = [];
  turns.replaceChildren();
  showNotice("");
  if (isReady) client.ask({ type: "forget" }).catch(() => {}); // fails if the worker was closed, which freed the cache
  element("speed").textContent = "";
  update();
  question.focus();
}

/** @param {string} [gpuProblem] why the model must run on the processor */
async function loadModel(gpuProblem = "") {
  element("loading").hidden = false;
  announce("Loading the model");
  // Without this a browser may delete the model when the disk is full. It may ask the visitor, so do not wait for it.
  navigator.storage?.persist?.().catch(() => {});
  const request = { modelUrl: new URL(app.model, location.href).href };
  const bar = /** @type {HTMLProgressElement} */ (element("loading-bar"));
  const onProgress = progressBar(bar, element("loading-text"));
  const onEvent = (/** @type {Events["load"]} */ event) => {
    if (event.type === "progress") onProgress(event);
  };
  const loading = gpuProblem ? client.loadOnProcessor(gpuProblem, request, onEvent) : client.load(request, onEvent);
  showDevice(await loading);
  isReady = true;
  update();
  announce("The model is ready");
  warmUp();
}

/** @param {Ready} ready */
function showDevice({ device, threads, notice, isKept, crossOriginIsolated: isIsolated }) {
  element("loading").hidden = true;
  const isOnProcessor = device === "wasm";
  const backend = isOnProcessor ? `WASM, ${threads} ${threads === 1 ? "thread" : "threads"}` : "WebGPU";
  element("facts").textContent = `Nothing leaves this device · ${backend}`;
  element("fallback").textContent = [
    notice,
    isOnProcessor && !isIsolated && "One thread only: this host does not send the headers for cross-origin isolation",
    !isKept && "The browser has no room for the model: the next visit downloads it again",
  ]
    .filter(Boolean)
    .join(". ");
}

/**
 * Generate a hidden answer until the visitor asks a question: browsers then compile hot code for speed, and the beginning
 * of every conversation is cached.
 */
async function warmUp() {
  const messages = [...systemMessages(), userMessage(app.questions[0] ?? app.title)];
  const { tokens, maxMilliseconds } = WARM_UP;
  warmUpTimer = setTimeout(endWarmUp, maxMilliseconds);
  const generating = client.ask({ type: "generate", messages, maxNewTokens: tokens, minNewTokens: tokens });
  const failure = await generating.then(
    () => null,
    (error) => error,
  );
  clearTimeout(warmUpTimer);
  warmUpTimer = undefined;
  // An answer in progress runs into the same failure and reports it.
  if (failure && !isBusy) showNotice(await problemAfterRecovery(failure), true);
}

function endWarmUp() {
  clearTimeout(warmUpTimer);
  client.stop();
}

function stopAnswer() {
  isStopping = true;
  client.stop();
}

/** @returns {Message[]} the current system prompt; none if it is empty */
function systemMessages() {
  return system.value.trim() ? [{ role: "system", content: system.value }] : [];
}

/** @param {string} content @returns {Message} */
function userMessage(content) {
  return { role: "user", content };
}

/** @param {string} text @returns {HTMLLIElement} an example question to click */
function exampleQuestion(text) {
  const item = document.createElement("li");
  const example = newButton(text, () => ask(text));
  example.classList.remove("plain");
  example.disabled = true;
  item.append(example);
  return item;
}

async function start() {
  await startServiceWorker();
  client = new ModelClient();
  const response = await fetch("./app.json");
  if (!response.ok) throw new Error(`The host answered ${response.status} for app.json.`);
  app = await response.json();
  document.title = app.title;
  element("title").textContent = app.title;
  system.value = app.system_prompt;
  element("questions").append(...app.questions.map(exampleQuestion));
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
stopButton.addEventListener("click", stopAnswer);
element("restart").addEventListener("click", restart);
update();
start().catch((error) => {
  element("loading").hidden = true;
  announce("");
  showNotice(`The model could not be loaded. ${error.message}`, true);
});
