/**
 * What the benchmark measures: the same on this machine, driven by `tinsmith bench`, and on another that opened remote.html.
 *
 * Times are milliseconds on one clock, since the Unix epoch at the resolution of performance.now().
 *
 * @typedef {'auto' | 'wasm' | 'webgpu'} Device
 * @typedef {{name: string, messages: object[], newTokens: number, runs: number}} Prompt
 * @typedef {object} Plan
 * @property {string} modelUrl
 * @property {Device} device
 * @property {number} warmUpRuns
 * @property {number} softwareNewTokens on a software WebGPU adapter, which takes seconds for each and reads the first prompt only
 * @property {number} promptSeconds a prompt is run no more once its runs have taken as long, and not at all if one would
 * @property {Prompt[]} prompts from the shortest on
 */

import { ModelClient } from "./client.js";

const now = () => performance.timeOrigin + performance.now();

/** One model in one worker at a time, and what it takes. */
export class Bench {
  /** Of `measure` and `reload`, for whoever watches. */
  progress = { done: 0, total: 0 };

  /** @type {ModelClient | null} */
  #client = null;

  /** @param {(line: string) => void} show */
  constructor(show) {
    this.show = show;
  }

  get #loaded() {
    if (!this.#client) throw new Error("No model is loaded; call load first.");
    return this.#client;
  }

  /**
   * Start a worker and load the model in it; `seconds` runs from before the worker exists to its `ready`.
   *
   * @param {{modelUrl: string, device: Device, threads?: number, reportsPlacement?: boolean}} options
   */
  async load(options) {
    this.#client?.close();
    const asked = now();
    this.#client = new ModelClient();
    const ready = await this.#client.load(options);
    const seconds = (ready.time - asked) / 1000;
    this.show(`loaded on ${ready.device} with ${ready.threads} threads in ${seconds.toFixed(2)} s`);
    return { ...ready, seconds };
  }

  /**
   * One greedy answer. Nothing read before is used, unless `continued`.
   *
   * @param {{messages: object[], maxNewTokens: number, minNewTokens?: number, continued?: boolean}} options
   */
  async generate({ continued = false, ...options }) {
    if (!continued) await this.#loaded.ask({ type: "forget" });
    const askedAt = now();
    const done = await this.#loaded.ask({ type: "generate", greedy: true, ...options });
    this.show(`${done.promptTokens} tokens read, ${done.tokenIds.length} made in ${((done.times.at(-1) - askedAt) / 1000).toFixed(2)} s`);
    return { ...done, askedAt };
  }

  /**
   * Token ids of whole conversations, by the package's own chat template.
   *
   * @param {object[][]} conversations
   * @returns {Promise<number[][]>}
   */
  async tokenize(conversations) {
    const found = [];
    for (const messages of conversations) found.push((await this.#loaded.ask({ type: "tokenize", messages })).tokenIds);
    return found;
  }

  /**
   * How far the model's logits are from a reference's: 0 is agreement, and what is unrelated is above 1.
   *
   * @param {import('./reference.js').Reference} reference
   * @returns {Promise<number>}
   */
  async compare(reference) {
    return (await this.#loaded.ask({ type: "compare", reference })).disagreement;
  }

  /**
   * A first load and the runs of every prompt. `notMeasured` says why a prompt has none.
   *
   * @param {Plan} plan
   */
  async measure(plan) {
    const runsOf = (/** @type {Prompt[]} */ prompts) => prompts.reduce((sum, prompt) => sum + prompt.runs, 0);
    this.progress = { done: 0, total: 1 + plan.warmUpRuns + runsOf(plan.prompts) };
    const ready = await this.load({ modelUrl: plan.modelUrl, device: plan.device });
    const software = ready.device === "webgpu" && !!ready.adapter?.software;
    const prompts = software ? [{ ...plan.prompts[0], newTokens: plan.softwareNewTokens }] : plan.prompts;
    this.progress = { done: 1, total: 1 + plan.warmUpRuns + runsOf(prompts) };
    for (let run = 0; run < plan.warmUpRuns; run++) await this.#timed(prompts[0]);
    const measured = [];
    let secondsPerToken = 0;
    for (const prompt of prompts) {
      const result = await this.#runs(prompt, plan.promptSeconds, secondsPerToken);
      if (result.runs.length) secondsPerToken = (result.runs[0].times[0] - result.runs[0].askedAt) / 1000 / result.promptTokens;
      measured.push(result);
    }
    return { ready, software, prompts: measured };
  }

  /**
   * @param {Prompt} prompt
   * @param {number} patience in seconds
   * @param {number} secondsPerToken of a shorter prompt; 0 if there was none
   */
  async #runs(prompt, patience, secondsPerToken) {
    const { name, messages, newTokens } = prompt;
    const [ids] = await this.tokenize([messages]);
    const expected = secondsPerToken * ids.length;
    /** @type {{askedAt: number, times: number[]}[]} */
    const runs = [];
    if (expected > patience) {
      this.progress.done += prompt.runs;
      return { name, promptTokens: ids.length, newTokens, runs, notMeasured: `one answer would take about ${expected.toFixed(0)} s here` };
    }
    const started = now();
    let promptTokens = 0;
    while (runs.length < prompt.runs && (!runs.length || now() - started < patience * 1000)) {
      const done = await this.#timed(prompt);
      promptTokens = done.promptTokens;
      runs.push({ askedAt: done.askedAt, times: done.times });
    }
    this.progress.done += prompt.runs - runs.length;
    return { name, promptTokens, newTokens, runs, notMeasured: "" };
  }

  /** @param {Prompt} prompt */
  async #timed({ messages, newTokens }) {
    const done = await this.generate({ messages, maxNewTokens: newTokens, minNewTokens: newTokens });
    if (done.tokenIds.length !== newTokens) throw new Error(`asked for ${newTokens} tokens, got ${done.tokenIds.length}`);
    this.progress.done++;
    return done;
  }

  /**
   * A second load, from what the browser kept, and a third that also asks where every node of the graph runs; on a software
   * adapter, which takes a minute to load, the third alone.
   *
   * @param {Plan} plan
   * @param {boolean} software as `measure` found it
   */
  async reload({ modelUrl, device }, software) {
    this.progress = { done: 0, total: software ? 1 : 2 };
    let warmLoadSeconds = null;
    if (!software) {
      const warm = await this.load({ modelUrl, device });
      this.progress.done++;
      if (warm.isKept) warmLoadSeconds = warm.seconds;
    }
    const { placement } = await this.load({ modelUrl, device, reportsPlacement: true });
    this.progress.done++;
    return { warmLoadSeconds, placement };
  }
}
