"""Gates of the merge stage, from the logits of four models at sampled positions."""

import math
from typing import Any

from tinsmith.core.measure import Gate
from tinsmith.derive.files import Files
from tinsmith.derive.rules import Derived, Rule

POSITIONS = "merge/positions.jsonl"
"""One line per sampled position: largest differences of logits between models, and the divergence of the merged model.
`..._candidates` compare the tuned model's most probable tokens, `..._all` every token."""
NORMS = "merge/norms.json"
"""Name of each adapted matrix -> Frobenius norm of what the adapter adds to it."""

_KL_BOUND = 0.01
"""Largest KL divergence between active adapter and merged weights, in nats per token. Rounding to bfloat16 causes
0.0007 on SmolLM2-135M after three epochs."""
_SHARE_BOUND = 0.5
"""Largest logit difference from the active adapter, as a share of what tuning changed. A merge that lost the adapter
has a share of 1 on any data. Rounding causes far less."""
_RELOADED_BOUND = 1e-5
_TUNED_BOUND = 1e-3


def adapter_norm(files: Files) -> Derived:
    """Norm of (alpha / r) B A over all adapted matrices."""
    norms = files.json(NORMS).values()
    value = math.sqrt(math.fsum(norm**2 for norm in norms))
    return Derived(value, "frobenius norm", len(norms), "matrices", gate={"op": ">", "bound": 0})


def adapter_vs_merged(files: Files) -> Derived:
    """Largest difference between active adapter and merged weights. The bound is a share of what tuning changed."""
    bound = _SHARE_BOUND * _largest(files, "adapter_base_candidates")
    return _gate(files, _largest(files, "adapter_merged_candidates"), {"op": "<=", "bound": bound})


def kl(files: Files) -> Derived:
    """Mean KL(active adapter || merged)."""
    lines = files.lines(POSITIONS)
    mean = math.fsum(_number(line["kl"]) for line in lines) / len(lines)
    return _gate(files, mean, {"op": "<=", "bound": _KL_BOUND}, "nats/token")


def merged_vs_reloaded(files: Files) -> Derived:
    """Largest difference of any logit after the merged folder was read back."""
    return _gate(files, _largest(files, "merged_reloaded_all"), {"op": "<=", "bound": _RELOADED_BOUND})


def merged_vs_base(files: Files) -> Derived:
    """Largest difference that tuning makes and that survives rounding."""
    return _gate(files, _largest(files, "merged_base_candidates"), {"op": ">", "bound": _TUNED_BOUND})


def _gate(files: Files, value: float, gate: Gate, unit: str = "logits") -> Derived:
    return Derived(value, unit, len(files.lines(POSITIONS)), "tokens", gate=gate)


def _largest(files: Files, key: str) -> float:
    return max(_number(line[key]) for line in files.lines(POSITIONS))


def _number(value: Any) -> float:
    """JSON has no infinity and no NaN; null stands for both, which fail every gate."""
    return math.inf if value is None else value


NORM_RULES = (Rule("gate.merge.adapter_norm", NORMS, adapter_norm, hint="The adapter learned nothing; train again."),)
POSITION_RULES = (
    Rule(
        "gate.merge.adapter_vs_merged",
        POSITIONS,
        adapter_vs_merged,
        hint="The merged weights lost the adapter.",
    ),
    Rule(
        "gate.merge.kl",
        POSITIONS,
        kl,
        hint="Rounding to bfloat16 changed the model too much; raise train.lora_alpha to exceed rounding.",
    ),
    Rule(
        "gate.merge.merged_vs_reloaded",
        POSITIONS,
        merged_vs_reloaded,
        hint="The saved folder is not the merged model; check the disk.",
    ),
    Rule(
        "gate.merge.merged_vs_base",
        POSITIONS,
        merged_vs_base,
        hint="Training changed nothing that survives rounding; raise train.learning_rate or train.epochs.",
    ),
)
RULES = (*NORM_RULES, *POSITION_RULES)
