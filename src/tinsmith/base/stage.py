"""Run the base stage: convert the configured model to one clean, verified folder."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from tinsmith.base.chat_template import addresses_in, replacement_reason
from tinsmith.base.folder import CleanModel, place_model
from tinsmith.base.license import License, place_texts, settle
from tinsmith.base.resolve import resolve
from tinsmith.base.source import Source
from tinsmith.core.config import BaseConfig
from tinsmith.core.run_dir import write_json
from tinsmith.core.stage_context import Say, StageContext, Summary
from tinsmith.derive.base import RULES
from tinsmith.derive.files import Files
from tinsmith.derive.inventory import write_inventory
from tinsmith.derive.rules import record


def resolve_base(config: BaseConfig, out_dir: Path, context: StageContext) -> Summary:
    """Write the base model to `out_dir/model` and a record of its origin to `out_dir/base.json`.

    `model/` is a Transformers folder: bf16 safetensors, tokenizer with the family's chat template inline,
    all end tokens in `generation_config.json`, and the base's licence and notice files. Nothing in it refers to
    other files, other machines or code.

    Raises:
        ArtifactError: the disk is full.
        BaseModelError: the model cannot be found, fetched, verified, or used, or its licence is not stated.
        MissingDependency: a program needed to fetch it is not installed.
    """
    # GGUF files are converted beside the result, so that the weights need no copy.
    with tempfile.TemporaryDirectory(dir=out_dir, prefix=".converted-") as work:
        source = resolve(config, Path(work))
        _say_texts(source, context.say)
        license = settle(source.license, config.license, source.requested)
        clean = place_model(source.folder, source.requested, out_dir / "model", source.may_link)
    texts = place_texts(license, source.texts.published, out_dir / "model")
    write_json(out_dir / "base.json", _record(source, license, texts, clean))
    write_inventory(out_dir / "model", out_dir)
    record(context.recorder, RULES, Files.of_stage("base", out_dir))
    return _summary(source, license, clean)


def _say_texts(source: Source, say: Say) -> None:
    for text in source.texts.published:
        say(f"licence file {text.name}: {text.reason}")
    for text in source.texts.left_out:
        say(f"licence file left out: {text}")


def _record(source: Source, license: License, texts: list[str], clean: CleanModel) -> dict[str, Any]:
    chat = clean.tokenizer.chat
    reason = replacement_reason(chat, clean.tokenizer.base_template, source.requested)
    return {
        "id": source.id,
        "requested": source.requested,
        "source": source.kind,
        "revision": source.revision,
        "files": source.files,
        "license": {
            "id": license.id,
            "name": license.name,
            "link": license.link,
            "stated_in": license.stated_in,
            "warning": license.warning,
            "files": texts,
        },
        "architecture": clean.config.model_type,
        "family": {"name": chat.family.name, "title": chat.family.title},
        "context_length": clean.config.max_position_embeddings,
        "dequantized_from": _dequantized_from(source),
        "stored_as": clean.weights.stored_as,
        "chat_template": {
            "sha256": hashlib.sha256(chat.family.chat_template.encode()).hexdigest(),
            "replaced": reason is not None,
            "reason": reason or "the base's own template renders the probe conversations the same",
            "addresses": addresses_in(clean.tokenizer.base_template),
        },
        "dropped_tokens": list(clean.tokenizer.dropped),
        "tied": bool(clean.config.tie_word_embeddings),
    }


def _dequantized_from(source: Source) -> dict[str, str] | None:
    if source.gguf is None:
        return None
    lost = "; what that quantization lost is not restored" if source.gguf.is_quantized else ""
    return {
        "format": source.gguf.format,
        "sentence": f"The base weights were read from a {source.gguf.format} file and stored as bfloat16{lost}.",
    }


def _summary(source: Source, license: License, clean: CleanModel) -> Summary:
    origin = source.gguf.format if source.gguf else clean.weights.stored_as
    parameters = f"{clean.weights.parameters / 1e6:.1f} M parameters"
    lines = [f"{source.id}: {parameters}, from {origin}, licence {license.id} (stated in {license.stated_in})"]
    if license.warning:
        lines.append(f"warning: {license.warning}")
    if addresses := addresses_in(clean.tokenizer.base_template):
        lines.append(f"warning: the base's own chat template, which is not used, names {', '.join(addresses)}")
    return tuple(lines)
