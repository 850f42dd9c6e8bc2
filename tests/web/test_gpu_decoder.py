"""The pages' own WebGPU kernels compute what ONNX Runtime computes, on every path and for every family."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from packages import tiny_run
from tinsmith.browser.chromium import Browser
from tinsmith.browser.page import Page
from tinsmith.browser.runtime import WEB_DIR
from tinsmith.browser.serve import SiteServer
from tinsmith.core.run_dir import read_json
from tinsmith.model.onnx_decoder import OnnxDecoder, load_onnx
from tinsmith.model.package_format import DECODER_PLAN_FILE

pytestmark = pytest.mark.browser

MAX_ERROR = 1e-6
"""Squared differences of logits over their variance."""
CASES = ((7, 5), (45, 3))
"""Tokens of a prompt, and tokens read one by one behind it. Gemma's window is 16 tokens."""
NEW_TOKENS = 6
DISPATCHES_A_LAYER = 5
DISPATCHES_AROUND = 3
"""A token's row of the embedding, the logits, and the choice of the next token."""
PATHS = {"plain": 0, "subgroups": 4}
"""Lanes of a subgroup that kernels rely on. The software adapter has four."""

OPEN = """
(async (lanes) => {
  const { Kernels } = await import("./gpu/kernels.js");
  const adapter = await navigator.gpu.requestAdapter();
  const requiredFeatures = lanes ? ["subgroups"] : [];
  const device = await adapter.requestDevice({ requiredFeatures });
  globalThis.problems = [];
  device.addEventListener("uncapturederror", ({ error }) => problems.push(error.message));
  globalThis.kernels = new Kernels(device, { subgroupLanes: lanes });
  return adapter.features.has("subgroups");
})
"""
COMPUTE = """
(async ({ plan, ids, cases, newTokens }) => {
  const { GpuEngine } = await import("./gpu/engine.js");
  const files = {};
  const readFile = async (name, start, end) => {
    files[name] ??= fetch(`./model/onnx/${name}`).then((response) => response.arrayBuffer());
    return new Uint8Array((await files[name]).slice(start, end));
  };
  const engine = await GpuEngine.create(kernels, plan, readFile);
  const logits = [];
  for (const [prompt, more] of cases) {
    await engine.read(ids.slice(0, prompt), 0);
    logits.push([...(await engine.logitsAfterPrompt())]);
    for (let at = prompt; at < prompt + more; at++) logits.push([...(await engine.logitsAfter(ids[at], at))]);
  }
  // The cache is cut to a third of a prompt, and read on from there.
  const [[prompt]] = cases;
  const kept = Math.floor(prompt / 3);
  await engine.read(ids.slice(0, prompt), 0);
  await engine.read(ids.slice(kept, prompt), kept);
  const greedy = await engine.generate({ position: prompt, count: newTokens, ends: [] });
  await engine.read(ids.slice(0, prompt), 0);
  const least = await engine.generate({ position: prompt, count: newTokens, least: 2, ends: greedy.slice(0, 1) });
  const sampling = { top: 3, temperature: 0.7, seed: 7 };
  await engine.read(ids.slice(0, prompt), 0);
  const sampled = await engine.generate({ position: prompt, count: newTokens, ends: [], sampling });
  const result = { logits, greedy, least, sampled, dispatches: engine.dispatches };
  engine.destroy();
  return result;
})
"""


@dataclass(frozen=True)
class Opened:
    """A page with kernels for one path, and a package with what ONNX Runtime computes of it."""

    page: Page
    plan: dict[str, Any]
    decoder: OnnxDecoder
    ids: list[int]
    expected: np.ndarray

    def compute(self, plan: dict[str, Any] | None = None) -> dict[str, Any]:
        request = {"plan": plan or self.plan, "ids": self.ids, "cases": CASES, "newTokens": NEW_TOKENS}
        result = self.page.evaluate(f"{COMPUTE}({json.dumps(request)})", 600)
        assert self.page.evaluate("problems") == []
        return result

    def error(self, logits: list[list[float]]) -> float:
        """The largest squared difference over variance of any position."""
        centred = self.expected - self.expected.mean(axis=1, keepdims=True)
        squares = ((np.asarray(logits) - self.expected) ** 2).sum(axis=1)
        return float((squares / (centred**2).sum(axis=1)).max())


def logits_of(decoder: OnnxDecoder, ids: list[int]) -> np.ndarray:
    rows = []
    for prompt, more in CASES:
        sequence = decoder.start()
        rows.append(sequence.feed(ids[:prompt], 1))
        rows += [sequence.feed([token], 1) for token in ids[prompt : prompt + more]]
    return np.concatenate(rows)


def opened_with(path: str, page: Page, package: Path) -> Opened:
    assert page.evaluate(f"{OPEN}({PATHS[path]})", 60) or path == "plain"
    plan, decoder = read_json(package / DECODER_PLAN_FILE), load_onnx(package / "onnx/model_q4.onnx")
    ids = np.random.default_rng(3).integers(6, plan["vocabulary"], max(map(sum, CASES))).tolist()
    return Opened(page, plan, decoder, ids, logits_of(decoder, ids))


@pytest.fixture(
    params=[
        ("llama", "subgroups"),
        ("gemma3", "plain"),
        *(
            pytest.param((kind, path), marks=pytest.mark.long)
            for kind in ("llama", "gemma3", "qwen2", "qwen3", "llama3")
            for path in PATHS
            if (kind, path) not in (("llama", "subgroups"), ("gemma3", "plain"))
        ),
    ],
    ids="-".join,
)
def opened(request, tmp_path_factory):
    kind, path = request.param
    package = tiny_run(kind, tmp_path_factory) / "export/package"
    with SiteServer({"/": WEB_DIR, "/model/": package}) as server, Browser(webgpu="software") as browser:
        page = browser.open(f"{server.origin}/bench.html")
        yield kind, opened_with(path, page, package)


def greedy_of(decoder: OnnxDecoder, prompt: list[int], count: int) -> list[int]:
    sequence, tokens = decoder.start(), []
    row = sequence.feed(prompt, 1)[0]
    while len(tokens) < count:
        tokens.append(int(row.argmax()))
        row = sequence.feed(tokens[-1:], 1)[0]
    return tokens


def is_likely(decoder: OnnxDecoder, prompt: list[int], tokens: list[int], top: int) -> bool:
    """Whether every token is among the `top` most likely ones after those before it."""
    sequence = decoder.start()
    row = sequence.feed(prompt, 1)[0]
    for token in tokens:
        if (row > row[token]).sum() >= top:
            return False
        row = sequence.feed([token], 1)[0]
    return True


def swap_scales(plan: dict[str, Any]) -> None:
    first, second = (layer["output"] for layer in plan["layers"])
    assert first["rows"] == second["rows"]
    first["scales_at"], second["scales_at"] = second["scales_at"], first["scales_at"]


def widen_window(plan: dict[str, Any]) -> None:
    plan["layers"][0]["window"] += 1


def drop_post_norms(plan: dict[str, Any]) -> None:
    for layer in plan["layers"]:
        layer["attention_norm"] = layer["feed_forward_norm"] = None


def test_logits_and_tokens_are_those_of_onnxruntime(opened):
    kind, page = opened
    result = page.compute()
    assert page.error(result["logits"]) <= MAX_ERROR
    prompt = page.ids[: CASES[0][0]]
    greedy = greedy_of(page.decoder, prompt, NEW_TOKENS)
    assert result["greedy"] == greedy
    assert result["least"][0] != greedy[0] and len(result["least"]) >= 2  # the end token was ruled out twice
    assert is_likely(page.decoder, prompt, result["sampled"], 3) and result["sampled"] != greedy
    assert result["dispatches"] == len(page.plan["layers"]) * DISPATCHES_A_LAYER + DISPATCHES_AROUND
    controls: list[Callable[[dict[str, Any]], None]] = [swap_scales]
    if kind == "gemma3":
        controls += [widen_window, drop_post_norms]
    for change in controls:
        wrong = copy.deepcopy(page.plan)
        change(wrong)
        assert page.error(page.compute(wrong)["logits"]) > 100 * MAX_ERROR
