"""Compare the pages' own WebGPU kernels with Transformers.js on WebGPU, in the same browser.

`make bench-web-gpu PACKAGE=runs/demo/export/package` loads a package both ways and generates a few tokens after the
package's own reference prompt. It counts dispatches, times what JavaScript does for a token until the GPU has all of
its work, and adds up what each page downloads. Speeds on a software adapter say nothing about a GPU.
"""

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

from tinsmith.browser.chromium import Browser
from tinsmith.browser.runtime import WEB_DIR, write_runtime
from tinsmith.browser.serve import SiteServer
from tinsmith.core.device import cpu_name
from tinsmith.core.run_dir import read_json, write_json
from tinsmith.core.scratch import scratch_folder

RESULTS = Path(__file__).parent / "results/web_gpu.json"
_SECONDS = 900
_COUNT = """
  const counted = { dispatches: 0, submitted: 0 };
  const pass = GPUComputePassEncoder.prototype;
  for (const name of ["dispatchWorkgroups", "dispatchWorkgroupsIndirect"]) {
    const dispatch = pass[name];
    pass[name] = function (...sizes) { counted.dispatches++; return dispatch.apply(this, sizes); };
  }
  const { submit } = GPUQueue.prototype;
  GPUQueue.prototype.submit = function (commands) {
    submit.call(this, commands);
    counted.submitted = performance.now();
  };
"""
_OWN = """
(async (newTokens) => {
  %s
  const { importTransformers, ownOptions } = await import("./device.js");
  const { loadOwn } = await import("./loader.js");
  const transformers = await importTransformers("wasm", 1);
  const started = performance.now();
  const { model } = await loadOwn(transformers, "./model/", { device: "webgpu", ...(await ownOptions(true)) });
  const loadSeconds = (performance.now() - started) / 1000;
  const { reference } = await (await fetch("./model/browser.json")).json();
  const { engine } = model;
  const ids = reference.prompt_ids;
  const asked = performance.now();
  await engine.read(ids, 0);
  const times = [];
  const onToken = () => times.push(performance.now());
  await engine.generate({ position: ids.length, count: newTokens, ends: [], onToken });
  return { loadSeconds, tokenMs: times.map((time) => time - asked), submitMs: engine.submitMs,
    dispatches: engine.dispatches, promptTokens: ids.length };
})
"""
_RUNTIME = """
(async (newTokens) => {
  %s
  const { importTransformers, gpuOptions, requestAdapter } = await import("./device.js");
  const { loadChat } = await import("./loader.js");
  const transformers = await importTransformers("webgpu", 1);
  const started = performance.now();
  const options = await gpuOptions(await requestAdapter(), true);
  const { model } = await loadChat(transformers, "./model/", { device: "webgpu", ...options });
  const loadSeconds = (performance.now() - started) / 1000;
  const { reference } = await (await fetch("./model/browser.json")).json();
  const ids = reference.prompt_ids;
  const submitMs = [];
  let dispatches = 0;
  const forward = model.forward.bind(model);
  model.forward = async (inputs) => {
    const began = performance.now();
    const before = counted.dispatches;
    const outputs = await forward(inputs);
    submitMs.push(counted.submitted - began);
    dispatches = counted.dispatches - before;
    return outputs;
  };
  const asked = performance.now();
  const times = [];
  const streamer = { put: () => times.push(performance.now()), end: () => {} };
  await model.generate({
    input_ids: new transformers.Tensor("int64", ids.map(BigInt), [1, ids.length]),
    attention_mask: transformers.ones([1, ids.length]),
    max_new_tokens: newTokens, min_new_tokens: newTokens, do_sample: false, streamer,
  });
  // The streamer first gets the prompt, and the first run reads it.
  return { loadSeconds, tokenMs: times.slice(1).map((time) => time - asked), submitMs: submitMs.slice(1), dispatches,
    promptTokens: ids.length };
})
"""
ENGINES = {"own kernels": _OWN, "ONNX Runtime": _RUNTIME}


def measure(origin: str, script: str, new_tokens: int) -> dict[str, Any]:
    """One engine in a browser of its own: its times, and what the page downloaded besides its own scripts."""
    with Browser(webgpu="software") as browser:
        page = browser.open(f"{origin}/bench.html")
        page.wait_for("!!globalThis.bench")
        result = page.evaluate(f"{script % _COUNT}({new_tokens})", _SECONDS)
        received: dict[str, int] = {}
        for request in page.requests:
            path = request.url.removeprefix(f"{origin}/")
            received[path] = max(received.get(path, 0), request.size_bytes)
        folders = {"runtime": "runtime/", "package": "model/"}
        sizes = {
            name: sum(size for path, size in received.items() if path.startswith(prefix))
            for name, prefix in folders.items()
        }
        return result | {"bytes": sizes, "browser": browser.version}


def row(name: str, result: dict[str, Any]) -> str:
    """One line of the table."""
    times = result["tokenMs"]
    speed = 1000 * (len(times) - 1) / (times[-1] - times[0])
    submit = f"{median(result['submitMs']):.2f} (least {min(result['submitMs']):.2f})"
    megabytes = " + ".join(f"{size / 1e6:.1f}" for size in result["bytes"].values())
    seconds = f"{result['loadSeconds']:.1f} | {times[0] / 1000:.1f} | {speed:.2f}"
    return f"| {name} | {result['dispatches']} | {submit} | {seconds} | {megabytes} |"


def main() -> None:
    """Measure both engines; print the table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path)
    parser.add_argument("--new-tokens", type=int, default=6)
    arguments = parser.parse_args()
    with scratch_folder("tinsmith-runtime-") as runtime:
        write_runtime(runtime)
        with SiteServer({"/": WEB_DIR, "/runtime/": runtime, "/model/": arguments.package}) as server:
            results = {name: measure(server.origin, script, arguments.new_tokens) for name, script in ENGINES.items()}
    plan = read_json(arguments.package / "onnx/decoder_plan.json")
    report = {"layers": len(plan["layers"]), "hidden": plan["hidden"], "cpu": cpu_name(), "engines": results}
    write_json(RESULTS, report)
    print(
        "| engine | dispatches | ms to encode a token | load, s | first token, s | tokens/s | runtime + package, MB |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, result in results.items():
        print(row(name, result))
    print(json.dumps({"results": str(RESULTS)}))


if __name__ == "__main__":
    main()
