/**
 * Edits the owner's questions. The page is one file with its data inside; it loads nothing and sends nothing.
 * `tinsmith.model.answers.questions` reads what it downloads, and checks the same.
 *
 * @typedef {"known" | "near" | "far" | "hostile" | "follow_up"} Kind
 *
 * @typedef {"owner" | "rules" | "base" | "endpoint"} Origin who wrote a question
 *
 * @typedef {object} Question
 * @property {string} question
 * @property {Kind} kind
 * @property {string} id passage that answers it
 * @property {string[]} must_state
 * @property {string[]} must_not_state
 * @property {string[]} previous
 * @property {Origin} origin
 *
 * @typedef {{id: string, title: string, text: string}} Passage
 *
 * @typedef {object} Fields the controls of a question
 * @property {HTMLSelectElement} kind
 * @property {HTMLTextAreaElement} question
 * @property {HTMLTextAreaElement} previous
 * @property {HTMLInputElement} id
 * @property {HTMLTextAreaElement} must_state
 * @property {HTMLTextAreaElement} must_not_state
 */

/** @type {Record<Kind, string>} */
const KINDS = {
  known: "one of your answers answers it",
  follow_up: "a follow-up: it needs the question before it",
  near: "on your topic, but you do not answer it",
  far: "on another topic",
  hostile: "asks to ignore rules or to confirm something untrue",
};

/** @type {Record<Origin, string>} */
const ORIGINS = { owner: "", rules: "by rules", base: "by a model", endpoint: "by a model" };

/** @param {string} id @returns {HTMLElement} */
const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @type {{questions: Question[], passages: Passage[]}} */
const data = JSON.parse(element("data").textContent ?? "");

/** @type {Map<string, Passage>} */
const passages = new Map(data.passages.map((passage) => [passage.id, passage]));

/** Questions on the page, in order, with the function that checks each. @type {Map<Question, () => string[]>} */
const questions = new Map();
let isChanged = false;

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {string} [className]
 * @param {(Node | string)[]} children texts are added as text
 * @returns {HTMLElementTagNameMap[T]}
 */
function make(tag, className = "", ...children) {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
}

/** @param {string} text @returns {string[]} its lines that are not blank */
function linesOf(text) {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
}

/** @param {string} text @returns {string} with one spelling of dashes, case and spaces */
function normalized(text) {
  const plain = text
    .normalize("NFKC")
    .replace(/[\u2010-\u2015\u2212]/g, "-")
    .replace(/[\u2018\u2019]/g, "'");
  return plain
    .toLowerCase()
    .replace(/\p{Cf}/gu, "")
    .replace(/\s+/g, " ")
    .trim()
    .replace(/(\d) ?- ?(?=\d)/g, "$1-");
}

/** @param {Question} question @returns {boolean} whether an answer is right for it */
function isAnswerable({ kind }) {
  return kind === "known" || kind === "follow_up";
}

/** @param {Question} asked @returns {string[]} what makes it unusable */
function problemsOf(asked) {
  const { question, kind, id, must_state: stated, must_not_state: excluded, previous } = asked;
  const passage = passages.get(id);
  const text = normalized(passage?.text ?? "");
  const missing = stated.filter((phrase) => !text.includes(normalized(phrase)));
  const wrong = excluded.filter((phrase) => stated.some((other) => normalized(other) === normalized(phrase)));
  /** @type {[boolean, string][]} */
  const checks = [
    [!question, "Write the question."],
    [kind === "follow_up" && !previous.length, "Write the question before it."],
    [!!id && !passage, "No answer has this id: choose one from the list."],
    [isAnswerable(asked) && !id && !stated.length, "Choose the answer that is right, or write what it must contain."],
    [
      !isAnswerable(asked) && !!(id || stated.length),
      "No answer is right for this kind: empty the answer and its phrases.",
    ],
    [!!passage && missing.length > 0, `The answer does not contain: ${missing.join(", ")}`],
    [wrong.length > 0, `A right answer cannot contain and not contain: ${wrong.join(", ")}`],
  ];
  return checks.filter(([isWrong]) => isWrong).map(([, problem]) => problem);
}

/** @param {string} text @param {HTMLElement} control */
function labelled(text, control) {
  return make("label", "", text, control);
}

/** @param {string[]} values @returns {HTMLTextAreaElement} one value on each line */
function linesBox(values) {
  const box = make("textarea");
  box.rows = Math.max(1, values.length);
  box.value = values.join("\n");
  return box;
}

/** @param {Question} question @returns {Fields} */
function fieldsOf(question) {
  const kind = make("select");
  for (const [value, text] of Object.entries(KINDS)) kind.append(new Option(text, value));
  kind.value = question.kind;
  kind.setAttribute("aria-label", "Kind of question");
  const id = make("input");
  id.value = question.id;
  id.setAttribute("list", "passages");
  return {
    kind,
    question: linesBox([question.question]),
    previous: linesBox(question.previous),
    id,
    must_state: linesBox(question.must_state),
    must_not_state: linesBox(question.must_not_state),
  };
}

/** @param {Question} question @param {Fields} fields */
function readFields(question, fields) {
  question.kind = /** @type {Kind} */ (fields.kind.value);
  question.question = fields.question.value.trim();
  question.previous = linesOf(fields.previous.value);
  question.id = fields.id.value.trim();
  question.must_state = linesOf(fields.must_state.value);
  question.must_not_state = linesOf(fields.must_not_state.value);
  question.origin = "owner";
}

/** @param {Question} question @returns {HTMLLIElement} */
function editor(question) {
  const fields = fieldsOf(question);
  const origin = make("span");
  const remove = make("button", "", "Remove");
  const passage = make("blockquote");
  const problem = make("p", "problem");
  const answerable = [
    labelled("Id of the right answer", fields.id),
    passage,
    labelled("A right answer contains (one phrase a line)", fields.must_state),
  ];
  const previous = labelled("Questions before it (one a line)", fields.previous);
  const wrong = labelled("Only a wrong answer contains (one phrase a line)", fields.must_not_state);
  const item = make("li", "", make("div", "head", fields.kind, origin, remove), previous);
  item.append(labelled("Question", fields.question), ...answerable, wrong, problem);
  const show = () => {
    const { title = "", text = "" } = passages.get(question.id) ?? {};
    passage.replaceChildren(make("strong", "", title), make("br"), text);
    previous.hidden = question.kind !== "follow_up" && !question.previous.length;
    const hasNoAnswer = !isAnswerable(question) && !question.id && !question.must_state.length;
    for (const part of answerable) part.hidden = hasNoAnswer;
    passage.hidden = !text;
    origin.textContent = ORIGINS[question.origin];
    const problems = problemsOf(question);
    problem.textContent = problems.join(" ");
    return problems;
  };
  questions.set(question, show);
  item.addEventListener("input", () => {
    readFields(question, fields);
    changed();
  });
  remove.type = "button";
  remove.addEventListener("click", () => {
    questions.delete(question);
    item.remove();
    changed();
  });
  return item;
}

/** Check every question, and say how many there are. */
function update() {
  let unusable = 0;
  for (const show of questions.values()) if (show().length) unusable += 1;
  const counts = `${questions.size} ${questions.size === 1 ? "question" : "questions"}`;
  element("state").textContent = unusable ? `${counts}, ${unusable} to correct` : counts;
}

function changed() {
  isChanged = true;
  update();
}

/** @param {Question} question @returns {string} a line of JSON without empty fields */
function lineOf(question) {
  const filled = Object.entries(question).filter(([, value]) => value.length);
  return `${JSON.stringify(Object.fromEntries(filled))}\n`;
}

function download() {
  const link = make("a");
  const content = new Blob([...questions.keys()].map(lineOf), { type: "application/jsonl" });
  link.href = URL.createObjectURL(content);
  link.download = "questions.jsonl";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  isChanged = false;
}

function add() {
  /** @type {Question} */
  const empty = {
    question: "",
    kind: "known",
    id: "",
    must_state: [],
    must_not_state: [],
    previous: [],
    origin: "owner",
  };
  const item = editor(empty);
  element("list").prepend(item);
  changed();
  item.querySelector("textarea")?.focus();
}

for (const { id, title } of data.passages) {
  const option = new Option("", id);
  option.label = title;
  element("passages").append(option);
}
element("list").append(...data.questions.map(editor));
element("add").addEventListener("click", add);
element("download").addEventListener("click", download);
addEventListener("beforeunload", (event) => {
  if (isChanged) event.preventDefault();
});
update();
