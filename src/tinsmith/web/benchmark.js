/**
 * Measures a package in this browser: driven by `tinsmith bench` (bench.html), or by a visitor of remote.html.
 *
 * Times are milliseconds since the Unix epoch, at the resolution of performance.now().
 *
 * @import { Done, LoadRequest, Message, Ready } from "./messages.js"
 * @import { Reference } from "./reference.js"
 *
 * @typedef {object} Prompt
 * @property {string} name
 * @property {Message[]} messages
 * @property {number} newTokens
 * @property {number} runs
 *
 * @typedef {object} Plan
 * @property {string} modelUrl
 * @property {"auto" | "wasm" | "webgpu"} device
 * @property {number} warmUpRuns
 * @property {number} softwareNewTokens on a software WebGPU adapter, which takes seconds per token: it answers the first prompt once
 * @property {number} promptSeconds no run of a prompt starts after this time; a prompt is skipped if a single run would exceed it
 * @property {Prompt[]} prompts shortest first
 *
 * @typedef {object} Run
 * @property {number} askedAt
 * @property {number[]} times of the tokens
 *
 * @typedef {object} PromptResult
 * @property {string} name
 * @property {number} promptTokens
 * @property {number} newTokens
 * @property {Run[]} runs
 * @property {string} notMeasured empty, or why there are no runs
 *
 * @typedef {object} GenerateOptions
 * @property {Message[]} messages
 * @property {number} maxNewTokens
 * @property {number} [minNewTokens]
 * @property {boolean} [continued] whether to reuse the cache of the last answer; false by default
 */

import { ModelClient } from "./client.js";

const now = () => performance.timeOrigin + performance.now();

/** Measures one model in one worker at a time. */
export class Bench {
  /** Progress of `measure` and `reload`, for a progress bar. */
  progress = { done: 0, total: 0 };

  /** @type {ModelClient | null} */
  #client = null;

  /** @param {(line: string) => void} log */
  constructor(log) {
    this.log = log;
  }

  get #loadedClient() {
    if (!this.#client) throw new Error("No model is loaded; call load first.");
    return this.#client;
  }

  /**
   * Start a worker and load the model in it.
   *
   * @param {LoadRequest} request
   * @returns {Promise<Ready & {seconds: number}>} `seconds` from creating the worker to its `ready`
   */
  async load(request) {
    this.#client?.close();
    const startedAt = now();
    this.#client = new ModelClient();
    const ready = await this.#client.load(request);
    const seconds = (ready.time - startedAt) / 1000;
    this.log(`loaded on ${ready.device} with ${ready.threads} threads in ${seconds.toFixed(2)} s`);
    return { ...ready, seconds };
  }

  /**
   * Generate one greedy answer.
   *
   * @param {GenerateOptions} options
   * @returns {Promise<Done & {askedAt: number}>}
   */
  async generate({ continued = false, ...options }) {
    if (!continued) await this.#loadedClient.ask({ type: "forget" });
    const askedAt = now();
    const done = await this.#loadedClient.ask({ type: "generate", greedy: true, ...options });
    const seconds = ((done.times.at(-1) ?? NaN) - askedAt) / 1000;
    this.log(`${done.promptTokens} tokens read, ${done.tokenIds.length} generated in ${seconds.toFixed(2)} s`);
    return { ...done, askedAt };
  }

  /**
   * Token ids of whole conversations, in the package's own chat template.
   *
   * @param {Message[][]} conversations
   * @returns {Promise<number[][]>}
   */
  async tokenize(conversations) {
    const tokenIds = [];
    for (const messages of conversations) {
      tokenIds.push((await this.#loadedClient.ask({ type: "tokenize", messages })).tokenIds);
    }
    return tokenIds;
  }

  /**
   * How far the model's logits are from a reference's: 0 is agreement; unrelated logits are above 1.
   *
   * @param {Reference} reference
   * @returns {Promise<number>}
   */
  async compare(reference) {
    return (await this.#loadedClient.ask({ type: "compare", reference })).disagreement;
  }

  /**
   * Measure a first load and the runs of every prompt. A software adapter answers the first prompt once, without a warm-up:
   * the answer shows that the page works there, and its speed says nothing about a GPU.
   *
   * @param {Plan} plan
   * @returns {Promise<{ready: Ready & {seconds: number}, software: boolean, prompts: PromptResult[]}>}
   */
  async measure(plan) {
    const runsOf = (/** @type {Prompt[]} */ prompts) => prompts.reduce((sum, prompt) => sum + prompt.runs, 0);
    this.progress = { done: 0, total: 1 + plan.warmUpRuns + runsOf(plan.prompts) };
    const ready = await this.load({ modelUrl: plan.modelUrl, device: plan.device });
    const software = ready.device === "webgpu" && !!ready.adapter?.software;
    const prompts = software ? [{ ...plan.prompts[0], newTokens: plan.softwareNewTokens, runs: 1 }] : plan.prompts;
    const warmUpRuns = software ? 0 : plan.warmUpRuns;
    this.progress = { done: 1, total: 1 + warmUpRuns + runsOf(prompts) };
    for (let run = 0; run < warmUpRuns; run++) await this.#timedRun(prompts[0]);
    /** @type {PromptResult[]} */
    const results = [];
    let secondsPerToken = 0;
    for (const prompt of prompts) {
      const result = await this.#runPrompt(prompt, plan.promptSeconds, secondsPerToken);
      const [run] = result.runs;
      if (run) secondsPerToken = (run.times[0] - run.askedAt) / 1000 / result.promptTokens;
      results.push(result);
    }
    return { ready, software, prompts: results };
  }

  /**
   * @param {Prompt} prompt
   * @param {number} maxSeconds
   * @param {number} secondsPerToken of a shorter prompt; 0 if there was none
   * @returns {Promise<PromptResult>}
   */
  async #runPrompt(prompt, maxSeconds, secondsPerToken) {
    const { name, messages, newTokens } = prompt;
    const [ids] = await this.tokenize([messages]);
    const expectedSeconds = secondsPerToken * ids.length;
    if (expectedSeconds > maxSeconds) {
      this.progress.done += prompt.runs;
      const notMeasured = `one answer would take about ${expectedSeconds.toFixed(0)} s here`;
      return { name, promptTokens: ids.length, newTokens, runs: [], notMeasured };
    }
    /** @type {Run[]} */
    const runs = [];
    const startedAt = now();
    let promptTokens = 0;
    while (runs.length < prompt.runs && (!runs.length || now() - startedAt < maxSeconds * 1000)) {
      const done = await this.#timedRun(prompt);
      promptTokens = done.promptTokens;
      runs.push({ askedAt: done.askedAt, times: done.times });
    }
    this.progress.done += prompt.runs - runs.length;
    return { name, promptTokens, newTokens, runs, notMeasured: "" };
  }

  /** @param {Prompt} prompt */
  async #timedRun({ messages, newTokens }) {
    const done = await this.generate({ messages, maxNewTokens: newTokens, minNewTokens: newTokens });
    if (done.tokenIds.length !== newTokens) {
      throw new Error(`The model generated ${done.tokenIds.length} tokens instead of ${newTokens}.`);
    }
    this.progress.done++;
    return done;
  }

  /**
   * Measure a second load, from the browser's cache, then load once more to find out where every node of the graph runs. A
   * software adapter needs a minute to load, and its first load already reported where nodes run.
   *
   * @param {Plan} plan
   * @param {{software: boolean, ready: Ready}} measured the result of `measure`
   * @returns {Promise<{warmLoadSeconds: number | null, placement: Record<string, number> | null}>}
   */
  async reload({ modelUrl, device }, { software, ready }) {
    if (software) return { warmLoadSeconds: null, placement: ready.placement };
    this.progress = { done: 0, total: 2 };
    const warm = await this.load({ modelUrl, device });
    this.progress.done++;
    const warmLoadSeconds = warm.isKept ? warm.seconds : null;
    if (warm.engine === "own") {
      this.progress.done++;
      return { warmLoadSeconds, placement: null }; // there is no graph whose nodes could run elsewhere
    }
    const { placement } = await this.load({ modelUrl, device, reportsPlacement: true });
    this.progress.done++;
    return { warmLoadSeconds, placement };
  }
}
