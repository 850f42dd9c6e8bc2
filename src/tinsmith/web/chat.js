/**
 * The chat page. A question is first looked up in the owner's answers. The model answers where the ladder says so, and alone
 * where a site has no answers. It is downloaded only when it is needed.
 *
 * markdown.js renders answers as DOM nodes and parses nothing as HTML, so an answer cannot inject markup.
 *
 * @import { Answers, Done, Message, Passage, Ranked, RankedPassage, Ready, Token } from "./messages.js"
 * @import { Rated } from "./feedback.js"
 * @import { Outcome } from "./owner.js"
 * @import { Kind } from "./small_talk.js"
 * @import { Turn } from "./turns.js"
 */

import { ModelClient, RequestFailed, startServiceWorker } from "./client.js";
import { element, make, newButton } from "./elements.js";
import { Feedback } from "./feedback.js";
import { modelMark, otherPassages, passageView, suggestions } from "./ladder_view.js";
import { markdown } from "./markdown.js";
import { ownerView } from "./owner.js";
import { SmallTalk } from "./small_talk.js";
import { titleOf } from "./sources.js";
import { megabytes, progressBar, speedometer, statistics } from "./statistics.js";
import { addTurn, copyButton, isNearBottom, lastTurn, putBack, removeTurns, reveal } from "./turns.js";
import { Version } from "./versions.js";

/**
 * @typedef {object} App content of `app.json`, which is written when the site is built
 * @property {string} title
 * @property {string} system_prompt
 * @property {string[]} questions examples
 * @property {string} model address of the package
 * @property {number} model_bytes size of its first download
 * @property {string | null} [answers] address of the folder with the owner's answers, if the site has one
 * @property {string} owner whose words the answers are
 * @property {Record<Kind, string>} small_talk the owner's replies
 * @property {boolean} [owner_view] whether to show under every answer why it was given
 * @property {number} max_new_tokens
 */

/** Length and time limit of the hidden answer that warms up the model. */
const WARM_UP = { tokens: 48, maxMilliseconds: 5000 };

/**
 * What each outcome shows: whose words, and how many other passages at once. Further ones wait behind "Other answers".
 *
 * @type {Record<Outcome, {from: Rated["from"], offered: number}>}
 */
const OUTCOMES = {
  sure: { from: "owner", offered: 0 },
  likely: { from: "owner", offered: 2 },
  chosen: { from: "owner", offered: 0 },
  unknown: { from: "unknown", offered: 3 },
  model: { from: "model", offered: 3 },
};

const question = /** @type {HTMLTextAreaElement} */ (element("question"));
const system = /** @type {HTMLTextAreaElement} */ (element("system"));
const sendButton = /** @type {HTMLButtonElement} */ (element("send"));
const stopButton = /** @type {HTMLButtonElement} */ (element("stop"));
const feedback = new Feedback();

/** Set once the page is isolated, if it can be. @type {ModelClient} */
let client;
/** @type {App} */
let app;
/** @type {SmallTalk} */
let smallTalk;
/** Questions and answers, without the system prompt. @type {Message[]} */
let conversation = [];
/** Set while the owner's answers can be searched. @type {Answers | null} */
let answers = null;
/** The worker that opened them. @type {Worker | undefined} */
let answersWorker;
let isModelReady = false;
/** Whether an earlier visit downloaded the model. */
let isModelKept = false;
/** Whether the model could not be loaded. It is then loaded again only if the visitor asks for it. */
let hasModelFailed = false;
/** Resolves when the model is ready or cannot be loaded; null until it is needed. @type {Promise<void> | null} */
let modelLoading = null;
/** Ends the wait for the model, while a question waits. @type {(() => void) | undefined} */
let stopWaiting;
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

function canAsk() {
  return (isModelReady || answers !== null) && !isBusy;
}

function update() {
  sendButton.disabled = !canAsk() || !question.value.trim();
  sendButton.hidden = isBusy;
  stopButton.hidden = !isBusy;
  element("can-ask").hidden = !answers || isBusy;
  element("welcome").hidden = conversation.length > 0;
  element("restart").hidden = conversation.length === 0;
  /** @type {NodeListOf<HTMLButtonElement>} */
  const questionButtons = document.querySelectorAll(".questions button");
  for (const button of questionButtons) button.disabled = !canAsk();
  /** @type {NodeListOf<HTMLButtonElement>} */
  const againButtons = document.querySelectorAll(".turn .again");
  for (const again of againButtons) {
    again.hidden = isBusy || !lastTurn()?.contains(again);
    if (again.classList.contains("offer")) again.textContent = offerLabel();
  }
}

/** @param {string} text */
async function ask(text) {
  if (!canAsk() || !text.trim()) return;
  conversation.push(userMessage(text.trim()));
  addTurn("user", text.trim());
  question.value = "";
  if (await answer(answerMessage)) return;
  conversation.pop();
  lastTurn()?.remove();
  if (!question.value) question.value = text;
  update();
}

/**
 * Replace the last answer with one by the model.
 *
 * @param {Ranked | null} ranked what was found for the question
 * @param {boolean} greedy false samples, because the most likely answer was already shown
 */
async function replaceAnswer(ranked, greedy) {
  if (isBusy) return;
  hasModelFailed = false;
  const old = conversation.pop();
  const item = lastTurn();
  if (item?.contains(document.activeElement)) question.focus(); // the pressed button is removed
  item?.remove();
  if (!(await answer((turn) => answerByModel(turn, ranked, greedy))) && old && item) {
    conversation.push(old);
    putBack(item);
    update();
  }
}

/**
 * Answer the conversation's last question.
 *
 * @param {(turn: Turn) => Promise<boolean>} reply shows an answer in a turn; false if there is none to show
 * @returns {Promise<boolean>} true if there is an answer or the visitor restarted the chat; false if it failed or was stopped
 *   before its first word
 */
async function answer(reply) {
  const own = chat;
  isBusy = true;
  isStopping = false;
  if (warmUpTimer) endWarmUp();
  showNotice("");
  const turn = addTurn("assistant");
  turn.item.setAttribute("aria-busy", "true"); // screen readers read it once, when it is complete
  const focused = document.activeElement;
  const wasOnButton = focused === sendButton || element("questions").contains(focused);
  update();
  if (wasOnButton) question.focus(); // the focused button is hidden now
  try {
    const isShown = await reply(turn);
    if (own === chat && !isShown) turn.item.remove();
    return own !== chat || isShown;
  } catch (error) {
    return own !== chat || (await answerAfterFailure(error, turn, reply));
  } finally {
    if (own === chat) endAnswer();
  }
}

/**
 * Answer again on the processor if the GPU failed; else say what happened, and offer what was found.
 *
 * @param {unknown} error
 * @param {Turn} turn that failed
 * @param {(turn: Turn) => Promise<boolean>} reply
 * @returns {Promise<boolean>} as `answer`
 */
async function answerAfterFailure(error, { item, ranked }, reply) {
  const own = chat;
  item.remove();
  const problem = await problemAfterRecovery(error);
  if (own !== chat) return true;
  if (!problem && !isStopping) return answer(reply);
  if (problem) showNotice(problem, true);
  return !!ranked && !!answers && showUnknown(addTurn("assistant"), ranked, answers);
}

/** @param {Turn} turn @returns {Promise<boolean>} false if the visitor stopped or restarted it first */
function answerMessage(turn) {
  const kind = answers && smallTalk.kindOf(userTexts().at(-1) ?? "");
  return kind ? answerSmallTalk(turn, kind) : answerByLadder(turn);
}

/**
 * Answer as the ladder says: with a passage, by the model, or by saying that there is no answer.
 *
 * @param {Turn} turn
 * @returns {Promise<boolean>} false if the visitor stopped it first
 */
async function answerByLadder(turn) {
  const own = chat;
  const ranked = answers ? await lookUp() : null;
  if (own !== chat || isStopping) return false;
  if (!ranked || !answers) return answerByModel(turn, null, true);
  const [best] = ranked.passages;
  if (best && ranked.rung !== "unsure") return showPassage(turn, ranked, best.passage, ranked.rung);
  turn.ranked = ranked;
  if (answers.fallback === "model" && (await answerByModel(turn, ranked, true))) return true;
  return own === chat && showUnknown(turn, ranked, answers);
}

/**
 * Answer small talk: with a passage if the ladder is sure, by the model if it answers at once, else with the owner's reply.
 *
 * @param {Turn} turn
 * @param {Kind} kind
 * @returns {Promise<boolean>} false if the visitor stopped or restarted it first
 */
async function answerSmallTalk(turn, kind) {
  const own = chat;
  if (answers?.smallTalk.includes(kind)) {
    const ranked = await lookUp();
    if (own !== chat || isStopping) return false;
    if (ranked?.rung === "sure") return showPassage(turn, ranked, ranked.passages[0].passage, "sure");
  }
  if (answers?.fallback === "model" && isModelReady && (await answerByModel(turn, null, true))) return true;
  return own === chat && showReply(turn, kind);
}

/** @returns {string[]} what the visitor wrote, oldest first */
function userTexts() {
  return conversation.filter(({ role }) => role === "user").map(({ content }) => content);
}

/** @returns {Promise<Ranked | null>} passages for the last question; null if the answers cannot be searched */
async function lookUp() {
  const asked = userTexts().at(-1) ?? "";
  const earlier = userTexts().slice(0, -1);
  const previous = smallTalk.kindOf(asked) ? [] : earlier.filter((text) => !smallTalk.kindOf(text));
  if (answersWorker !== client.worker) await openAnswers(); // a worker on the processor took over from the GPU's
  if (!answers) return null;
  const { worker } = client;
  try {
    return await client.ask({ type: "look_up", question: asked, previous });
  } catch (error) {
    if (worker !== client.worker) return lookUp();
    closeAnswers(/** @type {Error} */ (error).message);
    return null;
  }
}

/**
 * @param {Turn} turn
 * @param {Ranked | null} ranked what was found for the question, to offer below the answer
 * @param {boolean} greedy
 * @returns {Promise<boolean>} false if there is no answer: the visitor stopped it before its first word, or the model cannot
 *   be loaded
 */
async function answerByModel(turn, ranked, greedy) {
  const own = chat;
  if (!(await waitForModel(turn)) || own !== chat) return false;
  const done = await generateInto(turn, greedy);
  return own === chat && showAnswer(turn, done, ranked);
}

/** @param {Turn} turn @returns {Promise<boolean>} whether the model is ready and the visitor did not stop the answer */
async function waitForModel({ body }) {
  if (isModelReady) return true;
  if (hasModelFailed) return false;
  const text = answers
    ? `No answer of ${app.owner} fits well enough. The model will write one when it has loaded.`
    : "The model is loading.";
  body.replaceChildren(make("p", "waiting", text));
  announce(text);
  await Promise.race([requireModel(), new Promise((resolve) => (stopWaiting = () => resolve(null)))]);
  stopWaiting = undefined;
  body.replaceChildren();
  return isModelReady && !isStopping;
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
  if (app.answers) body.before(modelMark(app.owner));
  return client.ask({ type: "generate", messages, maxNewTokens: app.max_new_tokens, greedy }, onToken);
}

/** @param {Turn} turn @param {Done} done @param {Ranked | null} ranked @returns {boolean} false if it has no first word */
function showAnswer(turn, done, ranked) {
  const { item, body } = turn;
  if (!done.text && done.stopped === "request") {
    item.querySelector(".mark")?.remove();
    return false;
  }
  body.replaceChildren(markdown(done.text || "(no answer)"));
  const follows = isNearBottom();
  item.append(statistics(done));
  endTurn(turn, "model", done.text, ranked, [againButton("Another answer", ranked, false)]);
  if (follows) item.scrollIntoView({ block: "end" });
  return true;
}

/**
 * Show a passage as the answer.
 *
 * @param {Turn} turn
 * @param {Ranked} ranked
 * @param {Passage} passage
 * @param {"sure" | "likely" | "chosen"} outcome
 * @returns {true}
 */
function showPassage(turn, ranked, passage, outcome) {
  turn.body.replaceWith(...passageView(passage, app.owner, outcome !== "likely"));
  endTurn(turn, outcome, passage.text, ranked, [], passage);
  reveal(turn.item);
  return true;
}

/** @param {Turn} turn @param {Ranked} ranked @param {Answers} settings @returns {true} */
function showUnknown(turn, ranked, { fallback, unknown }) {
  turn.body.replaceChildren(markdown(unknown));
  const buttons = fallback === "unknown" ? [] : [againButton(offerLabel(), ranked, true, " offer")];
  endTurn(turn, "unknown", unknown, ranked, buttons);
  reveal(turn.item);
  return true;
}

/** @returns {string} label of the button, with the size of the download that it would start */
function offerLabel() {
  return `Let the model answer${modelLoading || isModelKept ? "" : ` (${megabytes(app.model_bytes)} MB)`}`;
}

/**
 * Show the owner's reply to small talk, and suggest questions.
 *
 * @param {Turn} turn
 * @param {Kind} kind
 * @returns {true}
 */
function showReply({ item, body }, kind) {
  const reply = app.small_talk[kind];
  body.replaceChildren(markdown(reply));
  conversation.push({ role: "assistant", content: reply });
  if (kind !== "goodbye") item.append(...unasked());
  if (app.owner_view) item.append(make("p", "owner-view", "Small talk, and the search is not sure of an answer."));
  item.removeAttribute("aria-busy");
  reveal(item);
  return true;
}

/** @returns {HTMLElement[]} the owner's suggested questions that the visitor has not asked; empty if there are none */
function unasked() {
  const questions = app.questions.filter((text) => !userTexts().includes(text));
  return questions.length ? [suggestions(questions, ask)] : [];
}

/** @param {Ranked | null} ranked @returns {boolean} whether the question is far from everything that was found */
function isFar(ranked) {
  const first = ranked?.passages[0];
  return !!first && !!answers && ranked?.rung === "unsure" && first.closeness < answers.thresholds.minCloseness;
}

/** @param {Ranked | null} ranked @param {Passage} [shown] @returns {RankedPassage[]} passages that are worth a look */
function otherThan(ranked, shown) {
  if (!ranked || isFar(ranked)) return [];
  return ranked.passages.filter(({ passage }) => passage.id !== shown?.id);
}

/**
 * Complete a turn with other passages, buttons and, for the owner, the reasons.
 *
 * @param {Turn} turn
 * @param {Outcome} outcome
 * @param {string} text of the answer
 * @param {Ranked | null} ranked
 * @param {HTMLButtonElement[]} buttons
 * @param {Passage} [passage] the one that is shown
 */
function endTurn({ item }, outcome, text, ranked, buttons, passage) {
  const { from, offered } = OUTCOMES[outcome];
  const asked = conversation.at(-1)?.content ?? "";
  conversation.push({ role: "assistant", content: text });
  /** @type {Rated} */
  const rated = { question: asked, answer: text, from, passage: passage?.id ?? "", rung: ranked?.rung ?? "" };
  const passages = otherThan(ranked, passage);
  const others = otherPassages(passages, offered, !!passage, (other) => ranked && showChosen(ranked, other));
  const line = make("div", "actions", copyButton(text), ...buttons, ...others.toggle, feedback.buttons(rated));
  item.append(...others.offered, ...(isFar(ranked) ? unasked() : []), line, ...others.more);
  if (app.owner_view && ranked && answers) item.append(ownerView(ranked, answers, outcome));
  item.removeAttribute("aria-busy");
}

/** Show the passage that the visitor chose, without another search. @param {Ranked} ranked @param {Passage} passage */
function showChosen(ranked, passage) {
  if (isBusy) return;
  showNotice("");
  conversation.push(userMessage(titleOf(passage)));
  addTurn("user", titleOf(passage));
  showPassage(addTurn("assistant"), ranked, passage, "chosen");
  update();
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
  isModelReady = false;
  let failure = "";
  modelLoading = loadModel(message).catch((problem) => {
    modelLoading = null;
    hasModelFailed = true;
    element("loading").hidden = true;
    failure = `The model stopped: ${message}, and the processor could not load it: ${problem.message}`;
  });
  await modelLoading;
  return failure;
}

/**
 * A button below the last answer.
 *
 * @param {string} label
 * @param {Ranked | null} ranked
 * @param {boolean} greedy
 * @param {string} [className] an additional class, after a space
 * @returns {HTMLButtonElement}
 */
function againButton(label, ranked, greedy, className = "") {
  return newButton(label, () => replaceAnswer(ranked, greedy), `plain again${className}`);
}

function restart() {
  if (isBusy) client.stop();
  chat += 1;
  isBusy = false;
  conversation = [];
  removeTurns();
  showNotice("");
  if (isModelReady) client.ask({ type: "forget" }).catch(() => {}); // fails if the worker was closed, which freed the cache
  element("speed").textContent = "";
  update();
  question.focus();
}

/** Load the model, unless that has begun. @returns {Promise<void>} that never rejects */
function requireModel() {
  modelLoading ??= loadModel().catch((error) => {
    modelLoading = null;
    hasModelFailed = true;
    element("loading").hidden = true;
    announce("");
    const instead = answers ? ` The answers of ${app.owner} work without it.` : "";
    showNotice(`The model could not be loaded. ${error.message}${instead}`, true);
  });
  return modelLoading;
}

/** @param {string} [gpuProblem] why the model must run on the processor */
async function loadModel(gpuProblem = "") {
  const onProgress = showLoading("the model");
  const request = { modelUrl: addressOf(app.model) };
  const loading = gpuProblem
    ? client.loadOnProcessor(gpuProblem, request, onProgress)
    : client.load(request, onProgress);
  const ready = await loading;
  showDevice(ready);
  element("system-box").hidden = false;
  isModelReady = true;
  isModelKept ||= ready.isKept;
  update();
  announce("The model is ready");
  if (!isBusy) warmUp();
}

/** @param {"the answers" | "the model"} what @returns {ReturnType<typeof progressBar>} */
function showLoading(what) {
  element("loading").hidden = false;
  // Without this a browser may delete the files when the disk is full. It may ask the visitor, so do not wait for it.
  navigator.storage?.persist?.().catch(() => {});
  return progressBar(/** @type {HTMLProgressElement} */ (element("loading-bar")), element("loading-text"), what);
}

/** @param {string} folder @returns {string} */
function addressOf(folder) {
  return new URL(folder, location.href).href;
}

/** Open the owner's answers in the current worker, or say why that is impossible. */
async function openAnswers() {
  const { worker } = client;
  const onProgress = answers ? undefined : showLoading("the answers");
  try {
    answers = await client.ask({ type: "open_answers", url: addressOf(app.answers ?? "") }, onProgress);
  } catch (error) {
    if (worker !== client.worker) return openAnswers();
    closeAnswers(/** @type {Error} */ (error).message);
    return;
  }
  answersWorker = worker;
  if (onProgress) showAnswers(answers);
}

/** @param {Answers} opened */
function showAnswers({ fallback, isKept, passages }) {
  element("loading").hidden = true;
  element("promise").textContent =
    `Where ${app.owner} has an answer, you get it word for word. Everything runs inside this tab: nothing you type leaves \
this device.`;
  element("facts").textContent = `Nothing leaves this device · ${passages.toLocaleString("en")} passages`;
  if (!isKept) showFallback("The browser has no room for the answers: the next visit downloads them again");
  element("system-box").hidden = fallback !== "model"; // hidden until the model is loaded
  announce("You can ask now");
  update();
}

/** @param {string} problem why the owner's answers cannot be searched */
function closeAnswers(problem) {
  answers = null;
  element("system-box").hidden = false;
  element("answers-problem").textContent =
    `The answers of ${app.owner} cannot be searched, so the model answers alone: ${problem}`;
  update();
}

/** @param {Ready} ready */
function showDevice({ device, threads, notice, isKept, crossOriginIsolated: isIsolated }) {
  element("loading").hidden = true;
  const isOnProcessor = device === "wasm";
  const backend = isOnProcessor ? `WASM, ${threads} ${threads === 1 ? "thread" : "threads"}` : "WebGPU";
  element("facts").textContent = `Nothing leaves this device · ${backend}`;
  showFallback(
    notice,
    isOnProcessor && !isIsolated && "One thread only: this host does not send the headers for cross-origin isolation",
    !isKept && "The browser has no room for the model: the next visit downloads it again",
  );
}

/** @param {(string | false)[]} notes on what works less well than it could */
function showFallback(...notes) {
  element("fallback").textContent = notes.filter(Boolean).join(". ");
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
  stopWaiting?.();
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
  const example = newButton(text, () => ask(text), "");
  example.disabled = true;
  return make("li", "", example);
}

/** @param {string} name of a file beside the page */
async function fetchJson(name) {
  const response = await fetch(`./${name}`);
  if (!response.ok) throw new Error(`The host answered ${response.status} for ${name}.`);
  return response.json();
}

async function start() {
  await startServiceWorker();
  client = new ModelClient();
  const [settings, phrases] = await Promise.all(["app.json", "small_talk.json"].map(fetchJson));
  app = settings;
  smallTalk = new SmallTalk(phrases);
  document.title = app.title;
  element("title").textContent = app.title;
  system.value = app.system_prompt;
  element("questions").append(...app.questions.map(exampleQuestion));
  if (app.answers) {
    announce("Loading the answers");
    await openAnswers();
  } else {
    element("system-box").hidden = false;
  }
  isModelKept = await Version.isKept(new URL(app.model, location.href));
  if (answers && answers.fallback !== "model") return;
  announce(answers ? "You can ask now. The model is still loading" : "Loading the model");
  await requireModel();
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
  showNotice(`The page could not start. ${error.message}`, true);
});
