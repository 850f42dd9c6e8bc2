"""The stage's record: methods, samples, and why numbers are absent."""

from typing import Any

from tinsmith.core import intervals
from tinsmith.core.run_dir import combined_sha256
from tinsmith.derive.files import Files
from tinsmith.derive.losses import NEIGHBOURS, small_categories
from tinsmith.derive.replies import ANSWERS, FORMAT, facts_by_group, has_page, withheld
from tinsmith.evaluate.groups import OUT_OF_SCOPE_KINDS
from tinsmith.evaluate.inputs import SPLITS, Inputs
from tinsmith.evaluate.neighbours import Similarity
from tinsmith.model.package_format import MEASURED_GRAPHS
from tinsmith.model.replies.asked import PAGE

_OPEN_BOOK = (
    "Its index holds every answer of the data, held-out ones too, and may hold their questions: it looks answers up, "
    "while the models answer from memory."
)


def description(inputs: Inputs, files: Files, similarity: Similarity) -> dict[str, Any]:
    """Methods and what the numbers mean."""
    not_assessed = {"status": "not_assessed", "reason": "No person and no judge has assessed the answers."}
    return {
        "definitions": "docs/measurements.md",
        "precision": {
            "base": "weights as stored, computed in float32",
            "tuned": "bf16 weights as stored, computed in float32",
            **{
                name: f"{graph.file} of the package, if it has one, on ONNX Runtime's CPU provider"
                for name, graph in MEASURED_GRAPHS.items()
            },
        },
        "decoding": {
            "method": "greedy, no repetition penalty",
            "max_new_tokens": inputs.max_new_tokens,
            "max_new_tokens_out_of_scope": inputs.out_of_scope_tokens,
            "prompt": "the first user message with the system message before it",
            "end_tokens": inputs.tokenizer.tokenizer.convert_ids_to_tokens(list(inputs.tokenizer.end_ids)),
        },
        "intervals": {
            "losses, ratios": f"95 % bootstrap over conversations, {intervals.RESAMPLES} resamples",
            "shares of facts and replies": "95 % Wilson over conversations",
            "none below": intervals.MIN_CLUSTERS,
        },
        "groups": {name: group.as_dict() for name, group in inputs.groups.items()},
        "page": _OPEN_BOOK,
        "test_clean": {
            "similarity": similarity.name,
            "threshold": similarity.threshold,
            "conversations": sum(not line["close"] for line in files.lines(NEIGHBOURS)),
        },
        "samples": _samples(inputs),
        "categories_without_number": small_categories(files),
        "accuracy": not_assessed,
        "response_quality": not_assessed,
    }


def _samples(inputs: Inputs) -> dict[str, Any]:
    ids = {split: [one.id for one in inputs.conversations[split]] for split in SPLITS}
    ids |= {"questions": [question.id for question in inputs.questions]}
    return {name: {"conversations": len(of), "ids_sha256": combined_sha256(of)} for name, of in ids.items()}


def absent_reasons(inputs: Inputs, files: Files) -> dict[str, str]:
    """Start of measurement ids -> why there are none, as a sentence without its end. The longest start applies."""
    if not files.has(ANSWERS):
        return dict.fromkeys(("evaluate.answers", "evaluate.facts", "evaluate.contradicted"), "no questions were asked")
    reasons = {}
    for name in ("facts", "contradicted"):
        for group, counted in facts_by_group(files).items():
            asked = inputs.groups["held_out" if group.startswith("held_out") else group]
            if not counted:
                reasons[f"evaluate.{name}.{group}"] = asked.reason or "their references state no such fact"
            elif reason := withheld(files):
                reasons[f"evaluate.{name}.{group}"] = reason
            elif not has_page(files):
                reasons[f"evaluate.{name}.{group}.{PAGE}"] = "the page has no passages to look up"
    if not files.has(FORMAT):
        reasons["evaluate.answers.format_valid"] = "most training answers have no JSON object with the same keys"
    for kind in OUT_OF_SCOPE_KINDS:
        if not any(question.group == kind for question in inputs.out_of_scope):
            reasons[f"evaluate.refused.{kind}"] = f"there are no {kind} questions that the training data do not answer"
    return reasons
