/**
 * wllama (llama.cpp in WASM) with a GGUF file of the same model, on the processor or with all layers on WebGPU.
 */

import { Wllama } from "/wllama/index.js";

const now = () => performance.timeOrigin + performance.now();
let wllama;

globalThis.bench = {
  /** Seconds until the model is ready. */
  async load({ threads, contextTokens, device }) {
    const asked = now();
    wllama = new Wllama({ default: `${location.origin}/wllama/wasm/wllama.wasm` }, { suppressNativeLog: true });
    await wllama.loadModelFromUrl(`${location.origin}/gguf/model.gguf`, {
      n_ctx: contextTokens, n_parallel: 1, n_threads: threads, n_gpu_layers: device === "webgpu" ? 999 : 0, useCache: false,
    });
    return { seconds: (now() - asked) / 1000, threads: wllama.getNumThreads() };
  },

  /** One greedy answer of exactly `newTokens` to a prompt as the chat template renders it; milliseconds on one clock. */
  async generate({ prompt, newTokens }) {
    const times = [];
    let promptTokens = 0;
    const askedAt = now();
    await wllama.createCompletion({
      prompt, max_tokens: newTokens, temperature: 0, ignore_eos: true, cache_prompt: false, stream: true, timings_per_token: true,
      onData: (chunk) => {
        // The last chunk repeats what is known.
        if (chunk.timings && chunk.timings.predicted_n > times.length) times.push(now());
        if (chunk.timings) promptTokens = chunk.timings.prompt_n;
      },
    });
    return { askedAt, times, promptTokens };
  },
};
