"""Whether the recipe that ships costs speed: packages of `rtn` and `mixed` in turn, in headless Chromium on the processor.

The packages are those of `int4.py` (`make bench-int4` first). In every round each loads in a new browser, answers once to warm
up, and answers prompts of about 32 and 512 tokens with 64 greedy tokens.

The last line is one JSON object, `{model: {decode, decode512, first32, first512, load}}`: medians over rounds of `mixed`'s
figure over `rtn`'s. The same with every round and the machine is in `benchmarks/results/recipe_speed.json`.
"""

import argparse
import os
import statistics
import sys

from browser import PROMPT_TOKENS, measured, prompt_of, site
from harness import chosen_data, environment, publish, published
from int4 import WORK

from tinsmith.chat import read_jsonl
from tinsmith.tokens import load_tokenizer

FIGURES = {"decode": "decode_short", "decode512": "decode_long", "first32": "first_short", "first512": "first_long", "load": "load"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="smollm2-135m-instruct,gemma-3-270m")
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    data, models = chosen_data(), published("recipe_speed")
    for model in arguments.models.split(","):
        rounds = rounds_of(f"{model}-{data.stem}", arguments.rounds)
        ratios = {name: statistics.median(a[key] / b[key] for a, b in zip(rounds["mixed"], rounds["rtn"], strict=True))
                  for name, key in FIGURES.items()}
        models[model] = ratios | {"environment": environment(data, ()), "rounds": rounds}
        publish("recipe_speed", models, {name: {key: one[key] for key in FIGURES} for name, one in models.items()})


def rounds_of(name: str, count: int) -> dict[str, list[dict[str, float]]]:
    """Recipe -> what each round measured of it."""
    packages = {recipe: WORK / name / recipe / "package" for recipe in ("rtn", "mixed")}
    for package in packages.values():
        if not package.is_dir():
            sys.exit(f"{package}: missing; run make bench-int4 first")
    tokenizer = load_tokenizer(packages["rtn"])
    train = read_jsonl(WORK.parent / "tuned" / name / "run" / "data" / "train.jsonl")
    words = " ".join(message.content for conversation in train for message in conversation.messages).split()
    prompts = {length: prompt_of(tokenizer, words, tokens) for length, tokens in PROMPT_TOKENS.items()}
    rounds: dict[str, list[dict[str, float]]] = {recipe: [] for recipe in packages}
    for number in range(count):
        for recipe, package in list(packages.items())[:: 1 if number % 2 else -1]:
            with site(package) as server:
                row = measured("tinsmith", f"{server.origin}/bench.html", prompts, min(8, os.cpu_count() or 1))
            rounds[recipe].append(row)
            print(f"round {number + 1}, {recipe}: " + ", ".join(f"{k} {v:.4g}" for k, v in row.items()), file=sys.stderr)
    return rounds


if __name__ == "__main__":
    main()
