/**
 * Numbers that the chat page shows: speed and size of answers, progress of loading.
 *
 * @import { Done, Progress } from "./messages.js"
 */

/** The first file of weights, and often the only one. The total size is unknown until its download starts. */
const WEIGHTS = "onnx/model_q4.onnx_data";

/** @returns {(time: number) => string} converts each token's time in milliseconds into the speed so far, as text */
export function speedometer() {
  /** @type {number[]} */
  const times = [];
  return (time) => {
    times.push(time);
    return times.length > 1 ? `${tokensPerSecond(times)} tokens/s` : "";
  };
}

/** @param {number[]} times in milliseconds */
function tokensPerSecond(times) {
  return (((times.length - 1) * 1000) / (times[times.length - 1] - times[0])).toFixed(1);
}

/** @param {Done} done @returns {HTMLElement} a line of numbers to show below an answer */
export function statistics(done) {
  const line = document.createElement("span");
  line.className = "measure";
  const parts = [`${done.tokenIds.length} tokens`];
  if (done.times.length > 1) parts.push(`${tokensPerSecond(done.times)} tokens/s`);
  parts.push(`context ${done.promptTokens + done.tokenIds.length} of ${done.contextTokens}`);
  if (done.droppedTurns) {
    parts.push(`without the oldest ${done.droppedTurns === 1 ? "turn" : `${done.droppedTurns} turns`}`);
  }
  if (done.stopped === "length") parts.push("cut off at the maximum answer length");
  if (done.stopped === "request") parts.push("stopped");
  line.textContent = parts.join(" · ");
  return line;
}

/**
 * @param {HTMLProgressElement} bar
 * @param {HTMLElement} label
 * @param {"the answers" | "the model"} what is loaded
 * @returns {(progress: Progress) => void} shows the progress
 */
export function progressBar(bar, label, what) {
  /** @type {Map<string, Progress>} */
  const files = new Map();
  let startedAt = performance.now();
  bar.removeAttribute("value");
  label.textContent = `Loading ${what}`;
  return (progress) => {
    if (!files.has(WEIGHTS) && progress.file === WEIGHTS) startedAt = performance.now();
    files.set(progress.file, progress);
    if (what === "the model" && !files.has(WEIGHTS)) return; // the small files before say nothing about the time
    const loaded = [...files.values()].reduce((sum, file) => sum + file.loaded, 0);
    const total = [...files.values()].reduce((sum, file) => sum + file.total, 0);
    bar.value = total ? loaded / total : 0;
    label.textContent =
      loaded >= total
        ? `Preparing ${what} (${megabytes(total)} MB)`
        : `Loading ${what}: ${megabytes(loaded)} of ${megabytes(total)} MB${timeLeft(startedAt, loaded, total)}`;
  };
}

/** @param {number} bytes @returns {string} */
export function megabytes(bytes) {
  return (bytes / 1e6).toFixed(bytes < 1e6 ? 1 : 0);
}

/** @param {number} startedAt @param {number} loaded @param {number} total @returns {string} empty while it is unknown */
function timeLeft(startedAt, loaded, total) {
  const seconds = (performance.now() - startedAt) / 1000;
  if (seconds < 2 || !loaded) return "";
  const left = (seconds * (total - loaded)) / loaded;
  return left < 90 ? `, about ${Math.ceil(left)} s left` : `, about ${Math.round(left / 60)} minutes left`;
}
