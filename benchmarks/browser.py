"""Compare tinsmith's package with stock Transformers.js and wllama, in headless Chromium on the processor.

Each model is fine-tuned on the data and exported twice: as the package, and as a Q4_0 GGUF file as llama.cpp's own tool
would write it (head in Q8_0). In every round each side loads in a new browser with an empty profile, answers once to
warm up, and then answers prompts of about 32 and 512 tokens with 64 greedy tokens. All sides get the same text and the
same number of threads.

The last line is one JSON object, `{model: {decode_vs_wllama, decode_vs_stock_q4, decode512_vs_wllama,
first32_vs_wllama, first512_vs_wllama, load_vs_wllama, mb_vs_wllama, all_mb_vs_wllama, ppl_vs_q4}}`. Speeds and times
are ratios within a round, then medians over rounds; 32 and 512 are prompt tokens. `mb` counts the model's files as
downloaded, `all_mb` all files. `ppl_vs_q4` is the perplexity of the WASM graph over that of the 4-bit graph on the test
split, the larger of two readings: whole conversations at once, and token by token. `benchmarks/results/browser.json`
holds every figure and the machine. Models that a call leaves out keep their earlier results.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness import HERE, SEED, data_path, environment, fine_tuned, publish, published, run_measured
from int4_score import FLOAT32_CPU

from tinsmith.base.gguf import convert
from tinsmith.bench.plan import question_of
from tinsmith.browser.chromium import Browser
from tinsmith.browser.page import Page
from tinsmith.browser.runtime import WEB_DIR, write_runtime
from tinsmith.browser.serve import SiteServer
from tinsmith.derive.losses import paired_ratio
from tinsmith.derive.timing import TimedRun, decode_tokens_per_second, first_token_seconds
from tinsmith.evaluate.nll import onnx_scorer
from tinsmith.export.models import conversation_losses, frozen_model
from tinsmith.model.conversations import read_jsonl
from tinsmith.model.onnx_decoder import OnnxDecoder, load_onnx
from tinsmith.model.package_format import FLOAT32, INT8_PAGE
from tinsmith.model.tokens import ChatTokenizer, Tokens, load_tokenizer

PAGES = HERE / "browser_pages"
WLLAMA = PAGES / "node_modules" / "@wllama" / "wllama" / "esm"
PROMPT_TOKENS = {"short": 32, "long": 512}
NEW_TOKENS: int = 64
SIDES = {"tinsmith": "bench.html", "stock_q4": "peers/stock.html", "wllama": "peers/wllama.html"}
PATIENCE_SECONDS: float = 900


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt in the form that each side takes."""

    messages: list[dict[str, str]]
    text: str
    """The rendered chat template without the beginning-of-sequence token, which llama.cpp adds by itself."""
    tokens: int


def main() -> None:
    arguments = parsed_arguments()
    measured_on = {
        "environment": environment(arguments.data, ("onnxruntime",))
        | {"peers": json.loads((PAGES / "package.json").read_text())["dependencies"]}
    }
    models = published("browser")
    for model in arguments.models.split(","):
        result = compare(arguments.run or exported(model, arguments), arguments)
        models[model] = result["ratios"] | measured_on | {key: result[key] for key in ("sides", "perplexity")}
        # A model that this call left out may have been measured before a ratio was added.
        publish(
            "browser", models, {name: {key: row.get(key) for key in result["ratios"]} for name, row in models.items()}
        )


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_path())
    parser.add_argument("--models", default="smollm2-135m-instruct,gemma-3-270m")
    parser.add_argument("--run", type=Path, help="a run whose export has a GGUF file, in place of a new one")
    parser.add_argument("--recipe", default="auto", help="of the package")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=min(8, os.cpu_count() or 1))
    return parser.parse_args()


def exported(model: str, arguments: argparse.Namespace) -> Path:
    """A run folder with its package and GGUF file, reused from an earlier call with the same settings."""
    run, command = fine_tuned(model, arguments.data, arguments.epochs)
    export = ["--set", "export.gguf=q4_0", "--set", f"export.recipe={arguments.recipe}", "--to", "export"]
    run_measured([*command, *export], run.parent / "export.log")
    return run


def compare(run: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Results of every side and round, and the ratios of the last line."""
    package = run / "export" / "package"
    (gguf,) = (run / "export" / "gguf").glob("*.gguf")
    tokenizer = load_tokenizer(package)
    test = read_jsonl(run / "data" / "test.jsonl")
    words = " ".join(message.content for conversation in test for message in conversation.messages).split()
    prompts = {name: prompt_of(tokenizer, words, tokens) for name, tokens in PROMPT_TOKENS.items()}
    rounds: dict[str, list[dict]] = {side: [] for side in SIDES}
    with site(package, gguf) as server:
        for number in range(arguments.rounds):
            for side, address in SIDES.items():
                row = measured(side, f"{server.origin}/{address}", prompts, arguments.threads)
                rounds[side].append(row)
                print(
                    f"round {number + 1}, {side}: " + ", ".join(f"{k} {v:.4g}" for k, v in row.items()), file=sys.stderr
                )
    perplexity = perplexity_of(run, gguf, tokenizer, tokenizer.encode_all(test))
    for side in SIDES:
        print(f"{side}: perplexity {perplexity[f'{side}_over_tuned'][0]:.4f} of the tuned model's", file=sys.stderr)
    return {
        "sides": rounds,
        "perplexity": perplexity,
        "ratios": {
            "decode_vs_wllama": ratio(rounds, "decode_short", "wllama"),
            "decode_vs_stock_q4": ratio(rounds, "decode_short", "stock_q4"),
            "decode512_vs_wllama": ratio(rounds, "decode_long", "wllama"),
            "first32_vs_wllama": ratio(rounds, "first_short", "wllama"),
            "first512_vs_wllama": ratio(rounds, "first_long", "wllama"),
            "load_vs_wllama": ratio(rounds, "load", "wllama"),
            "mb_vs_wllama": ratio(rounds, "model_mb", "wllama"),
            "all_mb_vs_wllama": ratio(rounds, "all_mb", "wllama"),
            "ppl_vs_q4": max(perplexity["at_once"][0], perplexity["stepped"][0]),
        },
    }


def prompt_of(tokenizer: ChatTokenizer, words: list[str], tokens: int) -> Prompt:
    """A question of as many `words` as fit into a prompt of `tokens`."""
    question = question_of(tokenizer, words, tokens)
    ids = tokenizer.encode_prompt((question,))
    text = tokenizer.tokenizer.decode(ids, skip_special_tokens=False)
    return Prompt([{"role": question.role, "content": question.content}], text.removeprefix(tokenizer.bos), len(ids))


@contextmanager
def site(package: Path, gguf: Path | None = None) -> Generator[SiteServer]:
    """Serve all three sides' pages and files on loopback. Without `gguf`, wllama has no model."""
    with tempfile.TemporaryDirectory(prefix="tinsmith-runtime-") as runtime:
        write_runtime(Path(runtime))
        mounts = {"/": WEB_DIR, "/runtime/": Path(runtime), "/model/": package, "/peers/": PAGES, "/wllama/": WLLAMA}
        if gguf:
            mounts["/gguf/model.gguf"] = gguf
        with SiteServer(mounts) as server:
            yield server


def measured(
    side: str,
    url: str,
    prompts: dict[str, Prompt],
    threads: int,
    adapter: Literal["none", "auto", "software"] = "none",
    **loading: Any,
) -> dict[str, float]:
    """Measure one side in a new browser: seconds to load and to the first token, tokens/s, MB fetched.

    Args:
        adapter: The WebGPU adapter; `none` measures WASM.
        loading: More for the page's `load`.
    """
    context = max(prompt.tokens for prompt in prompts.values()) + 2 * NEW_TOKENS
    device = "wasm" if adapter == "none" else "webgpu"
    with Browser(webgpu=adapter) as browser:
        page = browser.open(url)
        page.wait_for("globalThis.bench")
        asked = {"threads": threads, "contextTokens": context, "modelUrl": "./model/", "device": device} | loading
        ready = page.evaluate(f"bench.load({json.dumps(asked)})", PATIENCE_SECONDS)
        if ready.get("device", device) != device:
            sys.exit(f"{side} runs on {ready['device']}, not {device}: {ready.get('notice')}")
        if device == "wasm" and ready["threads"] != threads:
            sys.exit(f"{side} runs on {ready['threads']} threads, not {threads}")
        answered(page, prompts["short"], NEW_TOKENS)
        row = {"load": ready["seconds"]}
        for name, prompt in prompts.items():
            run = answered(page, prompt, NEW_TOKENS)
            if len(run.token_ms) != NEW_TOKENS or abs(run.prompt_tokens - prompt.tokens) > 1:
                sys.exit(
                    f"{side} made {len(run.token_ms)} tokens after {run.prompt_tokens}, "
                    f"not {NEW_TOKENS} after {prompt.tokens}"
                )
            row |= {f"first_{name}": first_token_seconds(run), f"decode_{name}": decode_tokens_per_second(run)}
        fetched = [(one.url, one.size_bytes) for one in page.requests]
        if page.exceptions:
            sys.exit(f"{side}: {page.exceptions[0]}")
    model_bytes = sum(size for url, size in fetched if "/model/" in url or "/gguf/" in url)
    return row | {"model_mb": model_bytes / 1e6, "all_mb": sum(size for _, size in fetched) / 1e6}


def answered(page: Page, prompt: Prompt, new_tokens: int) -> TimedRun:
    """One greedy answer of exactly `new_tokens`."""
    request = {
        "messages": prompt.messages,
        "prompt": prompt.text,
        "newTokens": new_tokens,
        "maxNewTokens": new_tokens,
        "minNewTokens": new_tokens,
    }
    answer = page.evaluate(f"bench.generate({json.dumps(request)})", PATIENCE_SECONDS)
    return TimedRun(answer["askedAt"], tuple(answer["times"]), answer["promptTokens"])


def ratio(rounds: dict[str, list[dict]], figure: str, peer: str) -> float:
    """Median over rounds of tinsmith's figure over the peer's."""
    return statistics.median(a[figure] / b[figure] for a, b in zip(rounds["tinsmith"], rounds[peer], strict=True))


def perplexity_of(run: Path, gguf: Path, tokenizer: ChatTokenizer, test: list[Tokens]) -> dict[str, list[float]]:
    """Perplexity ratios `[ratio, low, high]`: each side over the tuned model, and the INT8 graph over the 4-bit graph.

    The last is taken twice: conversations read at once, and token by token. The GGUF file is scored by its dequantized
    weights; llama.cpp also rounds activations to 8 bits.
    """
    package = run / "export" / "package"
    int8, q4 = (load_onnx(package / name) for name in (INT8_PAGE.file, FLOAT32.file))
    losses = {"tuned": conversation_losses(frozen_model(run / "merge" / "model", FLOAT32_CPU), test)}
    with tempfile.TemporaryDirectory(prefix="tinsmith-gguf-") as folder:
        convert(gguf, package / "tokenizer.json", Path(folder))
        losses["wllama"] = conversation_losses(frozen_model(Path(folder), FLOAT32_CPU), test)
    losses |= {
        name: [onnx_scorer(graph)(one) for one in test] for name, graph in (("tinsmith", int8), ("stock_q4", q4))
    }
    stepped_losses = [[stepped_scorer(graph)(one) for one in test] for graph in (int8, q4)]

    def over(numerator: list[float], denominator: list[float], tokens: list[Tokens]) -> list[float]:
        value, interval = paired_ratio(numerator, denominator, [one.supervised for one in tokens], SEED)
        return [value, interval["ci95_low"], interval["ci95_high"]]

    return {f"{side}_over_tuned": over(losses[side], losses["tuned"], test) for side in SIDES} | {
        "at_once": over(losses["tinsmith"], losses["stock_q4"], test),
        "stepped": over(*stepped_losses, test),
    }


def stepped_scorer(decoder: OnnxDecoder) -> Callable[[Tokens], float]:
    """Score in the order of a visitor's browser: the prompt at once, then one token at a time."""
    import numpy as np

    def score(tokens: Tokens) -> float:
        sequence, total = decoder.start(), 0.0
        start = tokens.mask.index(1)
        logits = sequence.feed(tokens.ids[:start], keep=1)[-1]
        for token, on in zip(tokens.ids[start:], tokens.mask[start:], strict=True):
            if on:
                total += float(np.logaddexp.reduce(logits.astype(np.float64)) - logits[token])
            logits = sequence.feed([token], keep=1)[-1]
        return total

    return score


if __name__ == "__main__":
    main()
