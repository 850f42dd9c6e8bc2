/**
 * Lets a rater review replies without knowing whose they are. The page is one file with its data inside; it loads and
 * sends nothing. `tinsmith.assess.review_file` reads what it saves, and checks the same.
 *
 * @import { Progress, ReviewData } from "./review_progress.js"
 */

import { element, make } from "./elements.js";
import { ItemView } from "./review_item.js";
import { Kept, doneCount, newProgress, signedReview } from "./review_progress.js";

/** @type {ReviewData} */
const data = JSON.parse(element("data").textContent ?? "");
const kept = new Kept(data.set);

/** @type {Progress | null} */
let current = null;
/** Place of the item on the page; the number of items at the end. */
let place = 0;
/** @type {ItemView | null} */
let view = null;
let isUnsaved = false;

const start = /** @type {HTMLFormElement} */ (element("start"));
const itemForm = /** @type {HTMLFormElement} */ (element("item"));
const nameField = /** @type {HTMLInputElement} */ (element("name"));
const authorField = /** @type {HTMLInputElement} */ (element("author"));
const bar = /** @type {HTMLProgressElement} */ (element("progress"));

/** @param {string} text */
function tell(text) {
  element("state").textContent = text;
}

/** Keep what is done, and show how much that is. */
function changed() {
  if (!current) return;
  const isKept = kept.save(current);
  isUnsaved = !isKept;
  const done = doneCount(current);
  bar.max = current.items.length;
  bar.value = done;
  element("count").textContent = `${done} of ${current.items.length} done`;
  element("kept").textContent = isKept ? "" : "This browser keeps nothing: finish without closing the page.";
  element("save").hidden = done < data.min_items || place === current.items.length;
}

/** @param {Progress} progress */
function begin(progress) {
  current = progress;
  start.hidden = true;
  element("header").hidden = false;
  const open = progress.items.findIndex((item) => !item.isDone);
  show(open < 0 ? progress.items.length : open);
}

/** @param {number} at place of an item; the number of items for the end */
function show(at) {
  if (!current) return;
  place = at;
  const reviewed = current.items[at];
  itemForm.hidden = !reviewed;
  element("end").hidden = !!reviewed;
  element("question").hidden = !reviewed;
  changed();
  if (!reviewed) {
    view = null;
    itemForm.replaceChildren();
    element("end-text").textContent =
      `Thank you. All ${current.items.length} questions are done. Save the file and give it to whoever gave you this page.`;
    element("save-all").focus();
    return;
  }
  view = new ItemView(data, reviewed, changed);
  element("question").textContent = view.question;
  itemForm.replaceChildren(...view.parts(at ? "Back" : ""));
  view.focusNext();
  scrollTo(0, 0);
}

/** What Enter does: show the reference answer, or go on to the next item. */
function goOn() {
  if (!current || !view) return;
  if (!view.focusNext()) {
    tell("Answer this first.");
    return;
  }
  tell("");
  const reviewed = current.items[place];
  if (!reviewed.isRevealed) {
    reviewed.isRevealed = true;
    show(place);
    return;
  }
  for (const fact of reviewed.facts) fact.is_confirmed ??= true;
  reviewed.isDone = true;
  show(place + 1);
}

function goBack() {
  if (current && place > 0) show(place - 1);
}

async function save() {
  if (!current) return;
  const { name, content } = await signedReview(data, current);
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  tell(`Saved ${name} with ${doneCount(current)} questions. Give it to whoever gave you this page.`);
}

start.addEventListener("submit", (event) => {
  event.preventDefault();
  const name = nameField.value.toWellFormed().trim();
  if (!name) return;
  begin(kept.find(name) ?? newProgress(data, { name, is_author: authorField.checked }));
});
itemForm.addEventListener("submit", (event) => {
  event.preventDefault();
  goOn();
});
itemForm.addEventListener("click", (event) => {
  if (event.target instanceof HTMLElement && event.target.dataset.action === "back") goBack();
});
addEventListener("keydown", (event) => {
  const isText = event.target instanceof HTMLInputElement && event.target.type === "text";
  if (event.key !== "Backspace" || isText || !current) return;
  event.preventDefault();
  goBack();
});
element("save").addEventListener("click", save);
element("save-all").addEventListener("click", save);
element("back").addEventListener("click", goBack);
addEventListener("beforeunload", (event) => {
  if (isUnsaved) event.preventDefault();
});

element("what").textContent =
  `You see ${data.items.length} questions with ${data.of.length} replies each, and not who wrote which. ` +
  `The order is random. ${data.min_items} questions are enough; it takes about a minute each.`;
for (const progress of kept.all()) {
  const button = make("button", "plain", `${progress.rater.name}: ${doneCount(progress)} of ${progress.items.length}`);
  button.type = "button";
  button.addEventListener("click", () => begin(progress));
  element("reviews").append(make("li", "", button));
  element("earlier").hidden = false;
}
if (crypto.subtle) {
  nameField.focus();
} else {
  element("problem").textContent =
    "This browser cannot sign the file here. Save the page to your disk, and open it from there.";
  for (const control of start.querySelectorAll("input, button")) control.setAttribute("disabled", "");
}
