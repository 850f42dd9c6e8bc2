"""Hold conversations in one tab of headless Chromium: the cost of later turns, and whether memory grows.

The first part holds ten conversations of five turns. For every turn after the first it records the tokens read again,
and the time to the first token beside that of the same prompt without a cache.

The second part holds conversations until `--minutes` are over and samples the memory of all browser processes after
each. Once a minute the page and its workers collect their garbage before the sample; that memory must not grow.

The last line is one JSON object, also in `benchmarks/results/browser_soak.json`: `{conversations, later_turns,
read_again_tokens, first_token_ratio, minutes, tokens, most_mb, memory_after_warm_up_mb, memory_at_end_mb,
mb_per_minute}`. `most_mb` is over all samples, the other memory figures are over samples after garbage collection.
`mb_per_minute` is the slope of a line fitted to the last three quarters of the time.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import time
from concurrent.futures import wait
from pathlib import Path

import psutil
from harness import environment, publish

from browser import PATIENCE_SECONDS, site
from tinsmith.browser.chromium import Browser
from tinsmith.browser.page import Page
from tinsmith.model.conversations import read_jsonl

CONVERSATIONS, TURNS = 10, 5
NEW_TOKENS = 24
WARM_UP_SHARE = 0.25
COLLECTING_SECONDS = 2
"""Threads asleep in WebAssembly never answer, and hold no garbage."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/demo"), help="a finished run")
    parser.add_argument("--minutes", type=float, default=20)
    arguments = parser.parse_args()
    package = arguments.run / "export" / "package"
    test = read_jsonl(arguments.run / "data" / "test.jsonl")
    questions = [
        message.content for conversation in test for message in conversation.messages if message.role == "user"
    ]
    with site(package) as server, Browser(webgpu="none") as browser:
        page = browser.open(f"{server.origin}/bench.html")
        page.wait_for("globalThis.bench")
        page.evaluate('bench.load({modelUrl: "./model/", device: "wasm"})', PATIENCE_SECONDS)
        turns = [
            turn for number in range(CONVERSATIONS) for turn in conversation(page, questions[number * TURNS :][:TURNS])
        ]
        soaked = soak(browser, page, questions, arguments.minutes)
        if page.exceptions:
            sys.exit(page.exceptions[0])
    summary = {
        "conversations": CONVERSATIONS,
        "later_turns": len(turns),
        "read_again_tokens": sum(turn["read_again"] for turn in turns),
        "first_token_ratio": statistics.median(turn["first"] / turn["first_from_nothing"] for turn in turns),
        **soaked["summary"],
    }
    publish(
        "browser_soak",
        summary
        | {"environment": environment(arguments.run, ("onnxruntime",)), "turns": turns, "samples": soaked["samples"]},
        summary,
    )


def conversation(page: Page, questions: list[str]) -> list[dict]:
    """Cost of every turn after the first, with the cache and without it."""
    messages, turns, before = [], [], None
    for question in questions:
        messages.append({"role": "user", "content": question})
        answer = ask(page, messages, continued=before is not None)
        if before is not None:
            read = answer["promptTokens"] - answer["keptTokens"]
            # The last token of an answer was sampled but never read, so it counts as new.
            new = answer["promptTokens"] - (before["promptTokens"] + len(before["tokenIds"]) - 1)
            turns.append(
                {
                    "prompt": answer["promptTokens"],
                    "read": read,
                    "read_again": max(0, read - new),
                    "first": first_token_seconds(answer),
                }
            )
        before = answer
        messages.append({"role": "assistant", "content": answer["text"]})
    for number, turn in enumerate(turns, start=1):
        turn["first_from_nothing"] = first_token_seconds(ask(page, messages[: 2 * number + 1], continued=False))
    return turns


def ask(page: Page, messages: list[dict], continued: bool) -> dict:
    request = {"messages": messages, "maxNewTokens": NEW_TOKENS, "continued": continued}
    return page.evaluate(f"bench.generate({json.dumps(request)})", PATIENCE_SECONDS)


def first_token_seconds(answer: dict) -> float:
    return (answer["times"][0] - answer["askedAt"]) / 1000


def soak(browser: Browser, page: Page, questions: list[str], minutes: float) -> dict:
    """Hold conversations for `minutes` and sample the browser's memory after each, once a minute after a collection."""
    started, tokens, samples, due = time.monotonic(), 0, [], 0.0
    for first in itertools.cycle(range(len(questions))):
        elapsed = (time.monotonic() - started) / 60
        sample = {"minutes": elapsed, "mb": memory_mb()}
        if elapsed >= due:
            collect_garbage(browser, page)
            sample["collected_mb"] = memory_mb()
            due = min(elapsed + min(1, minutes / 10), minutes)
        samples.append(sample)
        print(
            f"{elapsed:5.1f} min, {tokens} tokens, "
            + ", ".join(f"{name} {mb:.0f}" for name, mb in sample.items() if name != "minutes"),
            file=sys.stderr,
        )
        if elapsed >= minutes:
            break
        messages: list[dict] = []
        for number in range(TURNS):
            messages.append({"role": "user", "content": questions[(first + number) % len(questions)]})
            answer = ask(page, messages, continued=True)
            tokens += len(answer["tokenIds"])
            messages.append({"role": "assistant", "content": answer["text"]})
    warm = [sample for sample in samples if "collected_mb" in sample and sample["minutes"] >= WARM_UP_SHARE * minutes]
    slope = statistics.linear_regression([s["minutes"] for s in warm], [s["collected_mb"] for s in warm]).slope
    return {
        "samples": samples,
        "summary": {
            "minutes": samples[-1]["minutes"],
            "tokens": tokens,
            "most_mb": max(sample["mb"] for sample in samples),
            "memory_after_warm_up_mb": warm[0]["collected_mb"],
            "memory_at_end_mb": warm[-1]["collected_mb"],
            "mb_per_minute": slope,
        },
    }


def collect_garbage(browser: Browser, page: Page) -> None:
    """Collect garbage in the page and its workers; at least the page and the answering worker must have done so."""
    sessions = [session for session, owner in list(browser._pages.items()) if owner is page]
    requests = [browser.send("HeapProfiler.collectGarbage", {}, session) for session in sessions]
    finished, _ = wait(requests, COLLECTING_SECONDS)
    if sum("error" not in request.result() for request in finished) < 2:
        sys.exit("the browser did not collect its garbage")


def memory_mb() -> float:
    """Proportional set size of all child processes, which are the browser's."""
    children = psutil.Process(os.getpid()).children(recursive=True)
    return sum(child.memory_full_info().pss for child in children) / 1e6


if __name__ == "__main__":
    main()
