/**
 * Transformers.js as its documentation uses it: the bundle it ships with: a graph of 4-bit products (`dtype: 'q4'`).
 */

import { AutoModelForCausalLM, AutoTokenizer, env, TextStreamer } from "/runtime/transformers.webgpu.js";

env.remoteHost = `${location.origin}/`;
env.remotePathTemplate = "{model}/";
env.allowLocalModels = false;
env.backends.onnx.wasm.wasmPaths = { wasm: "/runtime/ort-wasm-simd-threaded.asyncify.wasm" };

const now = () => performance.timeOrigin + performance.now();
let tokenizer, model;

globalThis.bench = {
  /** Seconds until the model is ready. */
  async load({ threads, device }) {
    const asked = now();
    env.backends.onnx.wasm.numThreads = threads;
    tokenizer = await AutoTokenizer.from_pretrained("model");
    model = await AutoModelForCausalLM.from_pretrained("model", { device, dtype: "q4" });
    return { seconds: (now() - asked) / 1000, threads };
  },

  /** One greedy answer of exactly `newTokens`; milliseconds on one clock. */
  async generate({ messages, newTokens }) {
    const times = [];
    const askedAt = now();
    const inputs = tokenizer.apply_chat_template(messages, { add_generation_prompt: true, return_dict: true });
    const streamer = new TextStreamer(tokenizer, {
      skip_prompt: true,
      callback_function: () => {},
      token_callback_function: () => times.push(now()),
    });
    await model.generate({ ...inputs, max_new_tokens: newTokens, min_new_tokens: newTokens, do_sample: false, streamer });
    return { askedAt, times, promptTokens: inputs.input_ids.dims[1] };
  },
};
