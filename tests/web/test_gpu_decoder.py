"""The pages' own WebGPU kernels compute what ONNX Runtime computes, on every path and for every family."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from own_kernels import MAX_ERROR, PATHS, Opened, error, opened_package
from packages import smollm2_run, tiny_run, wide_run
from tinsmith.model.onnx_decoder import OnnxDecoder

pytestmark = pytest.mark.browser

PROMPTS = ((7, 5), (45, 3))
"""Tokens of a prompt, and tokens read one by one behind it. Gemma's window is 16 tokens."""
NEW_TOKENS = 6
DISPATCHES_A_LAYER = 5
DISPATCHES_AROUND = 3
"""A token's row of the embedding, the logits, and the choice of the next token."""

LOGITS = """
async ({ plan, ids, prompts }) => {
  const engine = await createEngine(plan);
  const logits = [];
  for (const [prompt, more] of prompts) {
    await engine.read(ids.slice(0, prompt), 0);
    logits.push([...(await engine.logitsAfterPrompt())]);
    for (let at = prompt; at < prompt + more; at++) logits.push([...(await engine.logitsAfter(ids[at], at))]);
  }
  engine.destroy();
  return logits;
}
"""
ANSWERS = """
async ({ plan, prompt, newTokens }) => {
  const engine = await createEngine(plan);
  // The cache is cut to a third of a prompt, and read on from there.
  const kept = Math.floor(prompt.length / 3);
  await engine.read(prompt, 0);
  await engine.read(prompt.slice(kept), kept);
  const rest = { position: prompt.length, count: newTokens };
  const greedy = await engine.generate({ ...rest, ends: [] });
  await engine.read(prompt, 0);
  const least = await engine.generate({ ...rest, least: 2, ends: greedy.slice(0, 1) });
  await engine.read(prompt, 0);
  const sampled = await engine.generate({ ...rest, ends: [], sampling: { top: 3, temperature: 0.7, seed: 7 } });
  engine.destroy();
  return { greedy, least, sampled, dispatches: engine.dispatches };
}
"""


BY_DEFAULT = ("gemma3", "plain")
"""`test_gpu_engine.py` runs Llama with subgroups."""
CASES = [
    pytest.param(kind, path, marks=[] if (kind, path) == BY_DEFAULT else pytest.mark.long)
    for kind in ("llama", "gemma3", "qwen2", "qwen3", "llama3", "wide")
    for path in PATHS
] + [pytest.param("smollm2", "subgroups", marks=pytest.mark.long)]


def is_likely(decoder: OnnxDecoder, prompt: list[int], tokens: list[int], top: int) -> bool:
    """Whether every token is among the `top` most likely ones after those before it."""
    sequence = decoder.start()
    row = sequence.feed(prompt, 1)[0]
    for token in tokens:
        if (row > row[token]).sum() >= top:
            return False
        row = sequence.feed([token], 1)[0]
    return True


def shift_scales(plan: dict[str, Any]) -> None:
    plan["layers"][0]["output"]["scales_at"] += 2  # every block gets the scale of the one behind it


def widen_window(plan: dict[str, Any]) -> None:
    plan["layers"][0]["window"] += 1


def drop_post_norms(plan: dict[str, Any]) -> None:
    for layer in plan["layers"]:
        layer["attention_norm"] = layer["feed_forward_norm"] = None


def error_of(opened: Opened, ids: list[int], plan: dict[str, Any]) -> float:
    expected = np.concatenate([opened.logits(ids[: prompt + more], prompt) for prompt, more in PROMPTS])
    return error(opened.run(LOGITS, plan=plan, ids=ids, prompts=PROMPTS), expected)


@pytest.fixture
def package(kind, tmp_path_factory, monkeypatch):
    if kind == "smollm2":
        return smollm2_run(tmp_path_factory, monkeypatch) / "export/package"
    run = wide_run(tmp_path_factory) if kind == "wide" else tiny_run(kind, tmp_path_factory)
    return run / "export/package"


@pytest.mark.parametrize(("kind", "path"), CASES)
def test_logits_and_tokens_are_those_of_onnxruntime(kind, path, package):
    with opened_package(package, *PATHS[path]) as opened:
        ids = opened.ids(max(map(sum, PROMPTS)))
        difference = error_of(opened, ids, opened.plan)
        print(f"{kind}, {path}: {difference:.1e}")
        assert difference <= MAX_ERROR
        prompt = ids[: PROMPTS[0][0]]
        answers = opened.run(ANSWERS, prompt=prompt, newTokens=NEW_TOKENS)
        greedy = opened.greedy(prompt, NEW_TOKENS)
        assert answers["greedy"] == greedy
        assert answers["least"][0] != greedy[0] and len(answers["least"]) >= 2  # the end token was ruled out twice
        assert is_likely(opened.decoder, prompt, answers["sampled"], 3) and answers["sampled"] != greedy
        joins = kind == "wide" or path == "little memory"
        assert answers["dispatches"] == len(opened.plan["layers"]) * (DISPATCHES_A_LAYER + joins) + DISPATCHES_AROUND
        controls: list[Callable[[dict[str, Any]], None]] = [shift_scales]
        if kind == "gemma3":
            controls += [widen_window, drop_post_norms]
        for change in controls:
            wrong = copy.deepcopy(opened.plan)
            change(wrong)
            assert error_of(opened, ids, wrong) > 100 * MAX_ERROR
