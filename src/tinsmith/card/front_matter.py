"""The YAML block that model hubs read: licence, base model and evaluation results, from the same facts as the page."""

import re
from typing import Any

from tinsmith.card.facts import Facts
from tinsmith.core.measure import Measurement

HUB_LICENSES = frozenset(
    """apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
    afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl
    lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib
    pddl lgpl-lr deepfloyd-if-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 gemma unknown""".split()
)
"""Licence identifiers that the Hub accepts. Source: https://huggingface.co/docs/hub/repositories-licenses"""

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
        **_license(facts),
        library_name="transformers.js",
        pipeline_tag="text-generation",
        base_model=base_id if is_hub_id else None,
        base_model_relation="finetune" if is_hub_id else None,
        tags=_tags(facts),
        model_name=title if results else None,
        eval_results=results or None,
    )
    return data.to_yaml(line_break="\n") + "\n"


def _license(facts: Facts) -> dict[str, Any]:
    license = facts.raw("base", "base.json", "license") or {}
    id = license.get("id")
    if not id:
        return {}
    if id.lower() in HUB_LICENSES:
        return {"license": id.lower()}
    other = {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", id.lower()).strip("-")}
    link = license.get("link") or next(iter(license.get("files") or []), None)
    return {**other, "license_link": link} if link else other


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
