"""Every figure of README's two chapters of results follows from a file in `benchmarks/results/`."""

import json
import math
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = ("What came out of the demo", "Beside other runtimes and trainers")
NUMBER = re.compile(r"(?<![\w.-])\d+(?:\.\d+)?(?![\w.-]*\w)")
NOT_MEASURED = (
    "1 in 10",  # the numerator of a share; the share itself is checked
    "1 in 15",
    "60 questions in visitors' words that set nothing; 95 % intervals",
    "24 of them",
    "2 AMD EPYC cores",
    "Q4_0",
    "4 bits",
    "4-bit",
    "3 rounds",
    "Gemma 3",
    "50 test conversations",
    "all 20 about something else",
    "prompt of 32, 512 tokens",
    "Of 50 other questions",
    "losses within 0.05 %",  # a bound, checked by a test of its own
)
"""Names, sizes of sets, and settings."""
FROM_EXPERIMENTS = {
    "50 % and 68 %": ("docs/experiments/answers.md", "right first, in three | 0.50, 0.68 -> 0.73, 0.92")
}
"""Words of README -> a page of experiments, and the words there."""


def results(name: str) -> Any:
    return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text(encoding="utf-8"))


def percent(measured: dict[str, float], with_interval: bool = True) -> str:
    value = f"{100 * measured['value']:.0f} %"
    if not with_interval:
        return value
    return f"{value} ({100 * measured['ci95_low']:.0f} to {100 * measured['ci95_high']:.0f})"


def between(measured: dict[str, float], digits: int) -> str:
    value, low, high = (f"{measured[key]:.{digits}f}" for key in ("value", "ci95_low", "ci95_high"))
    return f"{value} ({low} to {high})"


def figures() -> list[str]:
    """Pieces of README with every figure in them computed from the results."""
    demo = results("demo")["measured"]
    answers, browser, train = results("answers"), results("browser"), results("train")["models"]
    smol, gemma = "smollm2-135m-instruct", "gemma-3-270m"
    facts = {
        name: percent(demo[f"evaluate.facts.{name}"], with_interval=False)
        for name in ("trained.page", "reworded.int4", "reworded.page")
    }
    trained = demo["evaluate.facts.trained.int4"]
    return [
        f"Answers {math.floor(10 * demo['answers.known.right_shown']['value'])} of 10 known questions right",
        f"1 in {1 / demo['answers.known.wrong_shown']['value']:.0f} wrong "
        f"(1 in {1 / demo['answers.known.wrong']['value']:.0f} as if it were sure)",
        f"| {percent(demo['answers.known.right'])}; {percent(demo['answers.known.right_in_3'])} "
        f"| {percent(demo['evaluate.closed_book.right'])} |",
        f"| {percent(demo['answers.known.wrong'])}; {percent(demo['answers.known.silent'])} |",
        f"for {percent(demo['answers.near.refused'])} of questions on the subject",
        f"{percent({'value': answers[smol]['right']}, with_interval=False)} find it first. "
        f"{answers[smol]['added_mb']:.1f} MB more to download, {answers[smol]['query_ms']:.0f} ms a question.",
        f"perplexity {between(demo['evaluate.perplexity.test.base'], 1)} for the base, "
        f"{between(demo['evaluate.perplexity.test.tuned'], 1)} tuned, "
        f"{between(demo['evaluate.perplexity.test.int4'], 1)} in the "
        f"{demo['export.weights_bytes']['value'] / 1e6:.1f} MB of INT4, "
        f"{demo['evaluate.ratio.test.int4_over_tuned']['value']:.3f} times the tuned model's "
        f"({demo['evaluate.ratio.test.int4_over_tuned']['ci95_low']:.3f} to "
        f"{demo['evaluate.ratio.test.int4_over_tuned']['ci95_high']:.3f}); plain rounding gives "
        f"{demo['export.recipe.rtn.perplexity_ratio']['value']:.3f} times.",
        f"it states {percent(trained)} of the facts it was trained on, the page {facts['trained.page']}; "
        f"in other words {facts['reworded.int4']} and {facts['reworded.page']}.",
        f"loaded in {demo['bench.wasm.load_seconds']['value']:.1f} s, first token after "
        f"{demo['bench.wasm.first_token_seconds']['value']:.2f} s, then "
        f"{demo['bench.wasm.decode_tokens_per_second']['value']:.0f} tokens/s.",
        "| tokens/s, higher is better | "
        + " | ".join(
            f"{browser[m]['decode_vs_wllama']:.1f} ({browser[m]['decode_vs_stock_q4']:.0f})" for m in (smol, gemma)
        )
        + " |",
        "lower is better | "
        + " | ".join(
            f"{browser[m]['first32_vs_wllama']:.2f}, {browser[m]['first512_vs_wllama']:.2f}" for m in (smol, gemma)
        )
        + " |",
        "| time to load, lower is better | "
        + " | ".join(f"{browser[m]['load_vs_wllama']:.2f}" for m in (smol, gemma))
        + " |",
        f"lower is better: ours {over_tuned(browser, smol, 'tinsmith'):.3f}, Transformers.js "
        f"{over_tuned(browser, smol, 'stock_q4'):.3f}, wllama {over_tuned(browser, smol, 'wllama'):.3f}; for Gemma "
        f"{over_tuned(browser, gemma, 'tinsmith'):.3f}, {over_tuned(browser, gemma, 'stock_q4'):.3f} and "
        f"{over_tuned(browser, gemma, 'wllama'):.3f}.",
        f"{train[smol]['speed_ratio']:.1f} and {train[gemma]['speed_ratio']:.1f} times the tokens/s in "
        f"{train[smol]['memory_ratio']:.2f} and {train[gemma]['memory_ratio']:.2f} of the memory",
    ]


def over_tuned(browser: dict[str, Any], model: str, side: str) -> float:
    return browser[model]["perplexity"][f"{side}_over_tuned"][0]


def chapters() -> str:
    """README's two chapters as one line without quotation marks for code."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    parts = [re.search(rf"^## {title}\n(.*?)^## ", text, re.MULTILINE | re.DOTALL) for title in CHAPTERS]
    return "\n".join(" ".join(part[1].split()) for part in parts if part)


def problems(text: str) -> list[str]:
    """Pieces that the text lacks, and numbers in no piece."""
    return [piece for piece in figures() if piece not in text] + unexplained(text)


def unexplained(text: str) -> list[str]:
    """Numbers in no piece that the results give."""
    for piece in (*figures(), *FROM_EXPERIMENTS, *NOT_MEASURED):
        text = text.replace(piece, " ")
    return [text[max(0, match.start() - 40) : match.end() + 20] for match in NUMBER.finditer(text)]


def test_every_figure_follows_from_the_results_and_there_is_no_other():
    assert problems(chapters()) == []


def test_words_from_experiments_stand_there():
    for page, words in FROM_EXPERIMENTS.values():
        assert words in " ".join((ROOT / page).read_text(encoding="utf-8").split())


def test_losses_are_within_what_readme_says():
    assert all(abs(model["loss_ratio"] - 1) < 0.0005 for model in results("train")["models"].values())


def test_every_changed_digit_is_found():
    text = chapters()
    starts = [number.start() + at for number in NUMBER.finditer(text) for at, c in enumerate(number[0]) if c.isdigit()]
    assert len(starts) > 150
    for at in starts:
        changed = text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :]
        assert problems(changed), text[max(0, at - 30) : at + 10]
