"""A page of Chromium with the pages' own WebGPU kernels, on the software adapter, and what ONNX Runtime computes."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinsmith.browser.chromium import Browser
from tinsmith.browser.page import Page
from tinsmith.browser.runtime import WEB_DIR
from tinsmith.browser.serve import SiteServer
from tinsmith.core.run_dir import read_json
from tinsmith.model.onnx_decoder import OnnxDecoder, load_onnx
from tinsmith.model.package_format import DECODER_PLAN_FILE

MAX_ERROR = 1e-6
"""Squared differences of logits over their variance."""
SECONDS = 1800
WEBGPU_BYTES = 16384
"""A workgroup's memory on every adapter, and on a device that asks for no more."""
PATHS = {"plain": (0, WEBGPU_BYTES), "subgroups": (4, WEBGPU_BYTES), "little memory": (4, 0)}
"""Lanes of a subgroup that kernels rely on, and a workgroup's memory. The software adapter's subgroups have four."""

OPEN = """
(async (subgroupLanes, workgroupBytes) => {
  const { Kernels } = await import("./gpu/kernels.js");
  const { GpuEngine } = await import("./gpu/engine.js");
  const adapter = await navigator.gpu.requestAdapter();
  const device = await adapter.requestDevice({ requiredFeatures: subgroupLanes ? ["subgroups"] : [] });
  globalThis.problems = [];
  device.addEventListener("uncapturederror", ({ error }) => problems.push(error.message));
  const kernels = new Kernels(device, { subgroupLanes, workgroupBytes });
  const files = {};
  const readFile = async (name, start, end) => {
    files[name] ??= fetch(`./model/onnx/${name}`).then((response) => response.arrayBuffer());
    return new Uint8Array((await files[name]).slice(start, end));
  };
  globalThis.createEngine = (plan) => GpuEngine.create(kernels, plan, readFile);
  return device.limits.maxComputeWorkgroupStorageSize;
})
"""


@dataclass(frozen=True)
class Opened:
    """A page with kernels for one path, a package's plan, and its graph on ONNX Runtime."""

    page: Page
    plan: dict[str, Any]
    decoder: OnnxDecoder

    def run(self, function: str, **request: Any) -> Any:
        """Result of an asynchronous JavaScript function of `request` and the plan. The GPU must not refuse anything."""
        result = self.page.evaluate(f"({function})({json.dumps({'plan': self.plan, **request})})", SECONDS)
        assert self.page.evaluate("problems") == []
        return result

    def ids(self, count: int) -> list[int]:
        """Random tokens of the vocabulary, special ones aside."""
        return np.random.default_rng(3).integers(6, self.plan["vocabulary"], count).tolist()

    def greedy(self, prompt: list[int], count: int) -> list[int]:
        """The most likely tokens after a prompt, by ONNX Runtime."""
        sequence, tokens = self.decoder.start(), []
        row = sequence.feed(prompt, 1)[0]
        while len(tokens) < count:
            tokens.append(int(row.argmax()))
            row = sequence.feed(tokens[-1:], 1)[0]
        return tokens

    def logits(self, ids: list[int], prompt: int) -> np.ndarray:
        """Logits behind the first `prompt` tokens and behind each further one, by ONNX Runtime (N, V)."""
        sequence = self.decoder.start()
        rows = [sequence.feed(ids[:prompt], 1), *(sequence.feed([token], 1) for token in ids[prompt:])]
        return np.concatenate(rows)


def error(logits: list[list[float]], expected: np.ndarray) -> float:
    """The largest squared difference over variance of any position."""
    centred = expected - expected.mean(axis=1, keepdims=True)
    squares = ((np.asarray(logits) - expected) ** 2).sum(axis=1)
    return float((squares / (centred**2).sum(axis=1)).max())


@contextmanager
def opened_package(package: Path, lanes: int, workgroup_bytes: int) -> Generator[Opened]:
    """Open a package in a browser of its own, with the kernels of a path."""
    with SiteServer({"/": WEB_DIR, "/model/": package}) as server, Browser(webgpu="software") as browser:
        page = browser.open(f"{server.origin}/bench.html")
        assert page.evaluate(f"{OPEN}({lanes}, {workgroup_bytes})", 60) == WEBGPU_BYTES
        plan = read_json(package / DECODER_PLAN_FILE)
        yield Opened(page, plan, load_onnx(package / "onnx/model_q4.onnx"))
