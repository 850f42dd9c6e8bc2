/**
 * Time single tokens of two INT8 graphs that alternate, in the browser's runtime with two threads.
 *
 * Usage: node recipe_steps.mjs A B PAST COUNT. A and B are folders with `model_int8.onnx`, its weight files and
 * `inputs.json`. Prints one JSON object: the median milliseconds of each graph, and the tenth percentile, median and
 * ninetieth percentile of B's time over A's.
 */
import fs from "node:fs";

import * as ort from "../src/tinsmith/web/node_modules/onnxruntime-web/dist/ort.node.min.mjs";

const [folders, past, count] = [process.argv.slice(2, 4), Number(process.argv[4]), Number(process.argv[5])];
const WARM_UP = 10;
ort.env.wasm.numThreads = 2;

/** A function that runs the graph in `folder` for one token after `past` others and returns its milliseconds. */
async function loaded(folder) {
  const { files, inputs } = JSON.parse(fs.readFileSync(`${folder}/inputs.json`, "utf8"));
  const externalData = files.map((path) => ({ path, data: fs.readFileSync(`${folder}/${path}`) }));
  const session = await ort.InferenceSession.create(fs.readFileSync(`${folder}/model_int8.onnx`), { executionProviders: ["wasm"], externalData });
  const feeds = {
    input_ids: new ort.Tensor("int64", [300n], [1, 1]),
    attention_mask: new ort.Tensor("int64", new BigInt64Array(past + 1).fill(1n), [1, past + 1]),
    position_ids: new ort.Tensor("int64", [BigInt(past)], [1, 1]),
    num_logits_to_keep: new ort.Tensor("int64", [1n], []),
  };
  for (const [name, width] of Object.entries(inputs)) {
    feeds[name] = new ort.Tensor("float32", Float32Array.from({ length: past * width }, () => Math.random() - 0.5), [1, past, width]);
  }
  return async () => {
    const begin = performance.now();
    await session.run(feeds, ["logits"]);
    return performance.now() - begin;
  };
}

const sides = [await loaded(folders[0]), await loaded(folders[1])];
const turns = [];
for (let turn = 0; turn < WARM_UP + count; turn++) {
  const times = [];
  for (const side of turn % 2 ? [0, 1] : [1, 0]) times[side] = await sides[side]();
  if (turn >= WARM_UP) turns.push(times);
}
const quantile = (values, share) => [...values].sort((one, other) => one - other)[Math.floor(share * values.length)];
const ratios = turns.map(([a, b]) => b / a);
console.log(JSON.stringify({
  ms: [0, 1].map((side) => quantile(turns.map((times) => times[side]), 0.5)),
  ratio: [0.1, 0.5, 0.9].map((share) => quantile(ratios, share)),
}));
process.exit(0); // the runtime's threads would keep it
