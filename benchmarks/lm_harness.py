"""Compare a run's perplexity with lm-evaluation-harness's `onnxruntime` backend on the same INT4 package.

Usage: python benchmarks/lm_harness.py RUN_DIR

The harness loads the package's tokenizer and graph, tokenizes the text of the test conversations by itself, and scores
every assistant turn. The last line is one JSON object, also in `benchmarks/results/lm_harness.json`. Fails if the
perplexities differ by more than a thousandth.
"""

import argparse
import json
import math
import shutil
import sys
import tempfile
from pathlib import Path

from harness import HERE, environment, publish, run_measured

from tinsmith.export.package import graph_and_weights
from tinsmith.model.conversations import read_jsonl
from tinsmith.model.tokens import load_tokenizer

MAX_RELATIVE_DIFFERENCE = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--peer-python", type=Path, default=HERE / ".venv-lm_harness" / "bin" / "python")
    arguments = parser.parse_args()
    scored = [
        json.loads(line) for line in (arguments.run / "evaluate" / "nll" / "test.int4.jsonl").read_text().splitlines()
    ]
    ours = {row["id"]: row for row in scored}
    with tempfile.TemporaryDirectory() as folder:
        theirs = harness_scores(arguments, Path(folder))
    if theirs.keys() != ours.keys():
        sys.exit(f"the run scored {len(ours)} test conversations, the harness {len(theirs)}")
    perplexity = {
        "tinsmith": math.exp(sum(row["nll"] for row in scored) / sum(row["tokens"] for row in scored)),
        "lm_eval": math.exp(sum(nll for nll, _ in theirs.values()) / sum(tokens for _, tokens in theirs.values())),
    }
    worst = max(abs(nll - ours[name]["nll"]) / ours[name]["nll"] for name, (nll, _) in theirs.items())
    summary = {
        "run": arguments.run.resolve().name,
        "conversations": len(ours),
        "tokens": sum(tokens for _, tokens in theirs.values()),
        **perplexity,
        "relative_difference": abs(perplexity["lm_eval"] / perplexity["tinsmith"] - 1),
        "largest_of_a_conversation": worst,
    }
    publish(
        "lm_harness", {"environment": environment(arguments.run, ("onnxruntime", "transformers")), **summary}, summary
    )
    if not summary["relative_difference"] <= MAX_RELATIVE_DIFFERENCE:
        sys.exit(
            f"the perplexities differ by {summary['relative_difference']:.2g} of tinsmith's, "
            f"more than {MAX_RELATIVE_DIFFERENCE}"
        )


def harness_scores(arguments: argparse.Namespace, folder: Path) -> dict[str, tuple[float, int]]:
    """The harness's negative log-likelihood in nats and number of tokens of each test conversation, by id."""
    package = arguments.run / "export" / "package"
    tokenizer = load_tokenizer(arguments.run / "merge" / "model")
    turns_by_id = {}
    for conversation in read_jsonl(arguments.run / "data" / "test.jsonl"):
        text, turns = "", []
        for piece, is_supervised in tokenizer.family.segments(conversation.messages, tokenizer.bos):
            if is_supervised:
                turns.append((text, piece))
            text += piece
        turns_by_id[conversation.id] = turns
    # The harness takes the first graph beside the tokenizer.
    for path in [*package.glob("*.json"), *package.glob("*.jinja"), *graph_and_weights(package)]:
        shutil.copyfile(path, folder / path.name)
    (folder / "turns.json").write_text(json.dumps(turns_by_id))
    command = [str(arguments.peer_python), str(HERE / "lm_harness_peer.py"), str(folder)]
    run_measured(command, folder / "log")
    return json.loads((folder / "scores.json").read_text())


if __name__ == "__main__":
    main()
