"""Run the merge stage: add the adapter to the full-precision base, and prove that the result is the tuned model.

A merge can fail silently: it may change quantized weights, a copy that is not saved, or one of two tied matrices.
Here the adapter is added in float32 to the base's own files, tensor by tensor. Four gates then compare the logits of
the base, the base with its adapter active, the merged weights, and the folder read back from disk.
"""

import json
import logging
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.core.errors import ArtifactError
from tinsmith.core.run_dir import read_json, write_json, write_text
from tinsmith.core.stage_context import StageContext, Summary
from tinsmith.derive.files import Files
from tinsmith.derive.merge import NORM_RULES, POSITION_RULES
from tinsmith.derive.rules import record
from tinsmith.model.conversations import read_jsonl
from tinsmith.model.load import load_model
from tinsmith.model.save import copy_weights, save_weights
from tinsmith.model.tokens import Tokens, load_tokenizer

_CONVERSATIONS = 8
_POSITIONS = 16
"""Supervised positions scored in each conversation: the logits of one take 1 MB with a 262,144-word vocabulary."""

_CANDIDATES = 100
"""Tokens compared at each position: the most probable ones of the tuned model. Rounding moves the logits of
improbable tokens much more, which would hide a small lost change."""

Deltas = dict[str, tuple[Any, Any, float]]
"""Base weight name -> (A (r, in), B (out, r), alpha / r)."""


def merge_adapter(base_dir: Path, data_dir: Path, train_dir: Path, out_dir: Path, context: StageContext) -> Summary:
    """Write `out_dir/model`, the tuned model in bfloat16 as a plain Transformers folder, and check it.

    Raises:
        ArtifactError: the adapter does not fit the base, or the disk is full.
        GateError: the merged model differs from the base with its adapter, or equals the base.
    """
    files = Files.of_stage("merge", out_dir)
    settings = read_json(train_dir / "adapter" / "adapter_config.json")
    deltas = load_deltas(train_dir / "adapter", settings)
    _require_fit(deltas, read_json(base_dir / "model" / "config.json"), train_dir / "adapter")
    norms = {name: float((scale * (b @ a)).norm()) for name, (a, b, scale) in sorted(deltas.items())}
    write_json(out_dir / "norms.json", norms)
    record(context.recorder, NORM_RULES, files)
    _write_merged(base_dir / "model", deltas, out_dir / "model")
    samples = _samples(base_dir / "model", data_dir)
    logits = _four_logits(base_dir / "model", train_dir / "adapter", out_dir / "model", deltas, samples)
    write_text(out_dir / "positions.jsonl", "".join(json.dumps(line) + "\n" for line in _compared(logits)))
    record(context.recorder, POSITION_RULES, files)
    write_json(
        out_dir / "merge.json",
        {
            "base_weights": "bfloat16 safetensors, read afresh",
            "arithmetic": "W + (alpha / r) B A in float32, rounded to bfloat16",
            "matrices": sorted(deltas),
        },
    )
    values = {m.id: m.value for m in context.recorder.measurements}
    return (
        f"{len(deltas)} matrices merged; largest logit difference {values['gate.merge.adapter_vs_merged']:.3f} from "
        f"the active adapter, {values['gate.merge.merged_vs_base']:.3f} from the base",
    )


def load_deltas(adapter_dir: Path, settings: dict[str, Any]) -> Deltas:
    """The low-rank factors of a saved PEFT adapter in float32, by the name of the base weight they change.

    Args:
        settings: Its `adapter_config.json`.

    Raises:
        ArtifactError: an adapter of another kind, whose weight change is not (alpha / r) B A.
    """
    from safetensors.torch import load_file

    for option in ("use_dora", "use_rslora", "modules_to_save", "rank_pattern", "alpha_pattern", "fan_in_fan_out"):
        if settings.get(option):
            raise ArtifactError(
                f"{adapter_dir / 'adapter_config.json'}: {option} = {settings[option]!r} cannot be merged",
                "Merge adapters made by the train stage: plain LoRA on linear layers.",
            )
    factors: dict[str, dict[str, Any]] = {}
    for name, tensor in load_file(adapter_dir / "adapter_model.safetensors").items():
        match = re.fullmatch(r"base_model\.model\.(.+)\.lora_([AB])\.weight", name)
        if not match:
            raise ArtifactError(
                f"{adapter_dir / 'adapter_model.safetensors'}: unexpected tensor {name!r}",
                "Merge adapters made by the train stage: plain LoRA on linear layers.",
            )
        factors.setdefault(f"{match[1]}.weight", {})[match[2]] = tensor.float()
    incomplete = sorted(name for name, pair in factors.items() if set(pair) != {"A", "B"})
    if incomplete or not factors:
        raise ArtifactError(
            f"{adapter_dir / 'adapter_model.safetensors'}: {incomplete[0] if incomplete else 'every matrix'} lacks a "
            "factor",
            "Run the train stage again with --force.",
        )
    scale = settings["lora_alpha"] / settings["r"]
    return {name: (pair["A"], pair["B"], scale) for name, pair in factors.items()}


def _require_fit(deltas: Deltas, model_config: dict[str, Any], adapter_dir: Path) -> None:
    """Refuse adapters on the embedding or head of a tied model: both use one matrix, but only one use is adapted."""
    tied = [name for name in deltas if name.endswith(("embed_tokens.weight", "lm_head.weight"))]
    if tied and model_config.get("tie_word_embeddings", True):
        raise ArtifactError(
            f"{adapter_dir}: adapter on {tied[0]}, which embedding and head share in this base",
            "Train adapters on the linear layers of the decoder only.",
        )


def merged_weight(weight: Any, a: Any, b: Any, scale: float) -> Any:
    """W + scale * B A, added in float32 and rounded to bfloat16."""
    import torch

    return (weight.float() + scale * (b @ a)).to(torch.bfloat16)


def _write_merged(base_dir: Path, deltas: Deltas, out_dir: Path) -> None:
    """Copy the base folder with the adapted weights replaced, one weight file in memory at a time.

    Files, tensor names and sharding stay the base's own, so a tied head stays tied.
    """
    import torch
    from safetensors.torch import load_file

    out_dir.mkdir(parents=True)
    missing = set(deltas)
    for source in sorted(base_dir.iterdir()):
        if source.suffix != ".safetensors":
            copy_weights(source, out_dir / source.name)
            continue
        tensors = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(source).items()}
        for name in missing & set(tensors):
            a, b, scale = deltas[name]
            if tensors[name].shape != (b.shape[0], a.shape[1]):
                raise ArtifactError(
                    f"{source.name}: {name} has shape {tuple(tensors[name].shape)}, its adapter "
                    f"{(b.shape[0], a.shape[1])}",
                    "The adapter belongs to another base; run the train stage again.",
                )
            tensors[name] = merged_weight(tensors[name], a, b, scale)
        missing -= set(tensors)
        save_weights(tensors, out_dir / source.name)
    if missing:
        raise ArtifactError(
            f"{base_dir.name}: no weight {min(missing)!r} for the adapter ({len(missing)} of {len(deltas)} missing)",
            "The adapter belongs to another base; run the train stage again.",
        )


def _samples(model_dir: Path, data_dir: Path) -> list[tuple[Tokens, list[int]]]:
    """Up to 8 validation conversations, each with up to 16 positions whose next token is supervised, evenly spread."""
    conversations = read_jsonl(data_dir / "val.jsonl")[:_CONVERSATIONS]
    samples = []
    for tokens in load_tokenizer(model_dir).encode_all(conversations):
        positions = [index - 1 for index, on in enumerate(tokens.mask) if on]
        count = min(_POSITIONS, len(positions))
        samples.append((tokens, [positions[index * len(positions) // count] for index in range(count)]))
    return samples


@dataclass(frozen=True, slots=True)
class _FourLogits:
    """Logits (N, V) of four models at the sampled positions, all computed in float32."""

    base: Any
    adapter: Any
    """The base with its adapter active in PEFT."""
    merged: Any
    """The merged weights in memory."""
    reloaded: Any
    """The merged folder read back from disk."""


def _four_logits(
    base_dir: Path, adapter_dir: Path, merged_dir: Path, deltas: Deltas, samples: Sequence[tuple[Tokens, list[int]]]
) -> _FourLogits:
    import torch

    model = load_model(base_dir, torch.float32)
    base = _logits(model, samples)
    adapter, model = _adapter_logits(model, adapter_dir, samples)
    for name, weight in model.named_parameters():
        if name in deltas:
            weight.data = merged_weight(weight.data, *deltas[name]).float()
    merged = _logits(model, samples)
    del model
    return _FourLogits(base, adapter, merged, _logits(load_model(merged_dir, torch.float32), samples))


def _compared(logits: _FourLogits) -> list[dict[str, float | None]]:
    """How far the models are apart at each position; see `tinsmith.derive.merge.POSITIONS`."""
    candidates = logits.adapter.topk(min(_CANDIDATES, logits.adapter.shape[1])).indices  # (N, 100)

    def largest(left: Any, right: Any) -> list[float]:
        return (left - right).gather(1, candidates).abs().amax(1).tolist()

    columns = {
        "adapter_base_candidates": largest(logits.adapter, logits.base),
        "adapter_merged_candidates": largest(logits.adapter, logits.merged),
        "merged_base_candidates": largest(logits.merged, logits.base),
        "merged_reloaded_all": (logits.merged - logits.reloaded).abs().amax(1).tolist(),
        "kl": _divergences(logits.adapter, logits.merged),
    }
    rows = zip(*columns.values(), strict=True)
    return [{key: _finite(value) for key, value in zip(columns, row, strict=True)} for row in rows]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _adapter_logits(model: Any, adapter_dir: Path, samples: Sequence[tuple[Tokens, list[int]]]) -> tuple[Any, Any]:
    """Logits with the adapter active in PEFT, and the model after removing the adapter."""
    # PEFT imports bitsandbytes, which warns that an optional kernel is missing. Nothing here uses that kernel.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    from peft import PeftModel

    with_adapter = PeftModel.from_pretrained(model, adapter_dir, local_files_only=True)
    return _logits(with_adapter, samples), with_adapter.unload()


def _logits(model: Any, samples: Sequence[tuple[Tokens, list[int]]]) -> Any:
    """Logits (N, V) at the sampled positions. The head runs only there."""
    import torch

    with torch.no_grad():
        return torch.cat(list(_rows(model, samples)))


def _rows(model: Any, samples: Sequence[tuple[Tokens, list[int]]]) -> Iterator[Any]:
    import torch

    for tokens, positions in samples:
        ids = torch.tensor([tokens.ids])
        hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state  # (1, T, D)
        yield model.get_output_embeddings()(hidden[0, positions])


def _divergences(adapter: Any, merged: Any) -> list[float]:
    """KL(softmax(adapter) || softmax(merged)) of each row in nats."""
    import torch.nn.functional as F

    divergences = F.kl_div(F.log_softmax(merged, -1), F.log_softmax(adapter, -1), log_target=True, reduction="none")
    return divergences.sum(-1).tolist()
