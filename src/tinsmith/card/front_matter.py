"""The YAML block that model hubs read: licence, base model and evaluation results, from the same facts as the page."""

import re
from typing import Any

from tinsmith.card.facts import Facts
from tinsmith.card.license import license_metadata
from tinsmith.core.measure import Measurement

_METRICS = (
    ("perplexity", "tuned", "Perplexity (fine-tuned, bf16)"),
    ("perplexity", "int4", "Perplexity (INT4 package)"),
    ("loss", "tuned", "Loss (fine-tuned, bf16)"),
    ("loss", "int4", "Loss (INT4 package)"),
)


def front_matter(facts: Facts, title: str) -> str:
    """YAML for the block between the card's `---` lines, with a newline at the end.

    Unknown values are left out; a licence is never assumed. `base_model_relation` is `finetune` even though the package
    is quantized: its weights were trained, and without the key the Hub infers `quantized` from the ONNX files.
    """
    from huggingface_hub import ModelCardData

    base_id = facts.raw("base", "base.json", "id") or ""
    is_hub_id = re.fullmatch(r"[\w.-]+/[\w.-]+", base_id) is not None
    language = facts.raw("data", "report.json", "language")
    results = _eval_results(facts)
    data = ModelCardData(
        language=language or None,
        **license_metadata(facts),
        library_name="transformers.js",
        pipeline_tag="text-generation",
        base_model=base_id if is_hub_id else None,
        base_model_relation="finetune" if is_hub_id else None,
        tags=_tags(facts),
        model_name=title if results else None,
        eval_results=results or None,
    )
    return data.to_yaml(line_break="\n") + "\n"


def _tags(facts: Facts) -> list[str]:
    method = facts.raw("train", "train.json", "method")
    tags = ["onnx", "transformers.js", "conversational", "tinsmith"]
    if facts.has("export.weights_bytes"):
        tags.insert(1, "int4")
    return tags + ([method.lower()] if method else [])


def _eval_results(facts: Facts) -> list:
    from huggingface_hub import EvalResult

    results = []
    for metric, model, title in _METRICS:
        id = f"evaluate.{metric}.test.{model}"
        if not facts.has(id):
            continue
        m = facts.evidence.measurements[id]
        results.append(
            EvalResult(
                task_type="text-generation",
                dataset_type="custom",
                dataset_name="held-out conversations of the training data",
                dataset_split="test",
                dataset_revision=facts.evidence.sha256("data/test.jsonl"),
                metric_type=metric,
                metric_name=title,
                metric_value=_number(facts.value(id)),
                metric_args=_args(facts, m),
            )
        )
    return results


def _args(facts: Facts, m: Measurement) -> dict[str, Any]:
    args: dict[str, Any] = {"id": m.id, "unit": m.unit, "n": m.count, "n_of": m.count_of}
    if "ci95_low" in m.spread:
        low, high = facts.interval(m.id).split(" to ")
        args |= {"ci95_low": _number(low), "ci95_high": _number(high)}
    return {**args, "method": m.method}


def _number(text: str) -> float:
    """The number as printed on the page, so that page and YAML agree."""
    return float(text.replace(",", ""))
