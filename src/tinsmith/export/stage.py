"""Export: merged weights -> proved graph -> calibrated INT4 -> proved package."""

import random
import time
from pathlib import Path
from typing import Any

import numpy as np

from tinsmith.chat import read_jsonl
from tinsmith.config import ExportConfig
from tinsmith.errors import DataError
from tinsmith.export.int4 import BLOCK_SIZE, Int4Matrix
from tinsmith.families import Decoder, decoder_of
from tinsmith.measure import Recorder, StageResult
from tinsmith.onnx_decoder import ONNX_FILE, load_onnx
from tinsmith.run_dir import write_json
from tinsmith.tokens import load_tokenizer

_MAX_ABS_DIFF = 1e-2


def export_int4(config: ExportConfig, data_dir: Path, merge_dir: Path, out_dir: Path, seed: int) -> StageResult:
    """Write `package/` (what Transformers.js loads) and `export.json` (how it was made).

    Raises:
        GateError: a graph does not compute what the Transformers model computes.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from tinsmith.export.graph import build_graph
    from tinsmith.export.package import check_package, download_bytes, weights_bytes, write_package

    started = time.monotonic()
    recorder = Recorder()
    model_dir = merge_dir / "model"
    tokenizer = load_tokenizer(model_dir)
    train_ids = _sampled_ids(tokenizer, data_dir, seed)
    model = AutoModelForCausalLM.from_pretrained(
        model_dir, dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True
    ).eval()
    decoder = decoder_of(model.config)
    probe = _probe_ids(train_ids, decoder)
    _gate_full_precision(recorder, model, decoder, probe, out_dir)
    quantized, quantizer = _quantize(config, model, train_ids)
    graph = build_graph(decoder, _int4_weights(model, quantized))
    operators = _operator_counts(graph)
    package_dir = out_dir / "package"
    write_package(graph, model_dir, tokenizer.end_ids, package_dir, config.max_chunk_mb * 1_000_000)
    check_package(package_dir)
    _gate_int4(recorder, model, decoder, probe, package_dir)
    elapsed = time.monotonic() - started
    parameters = sum(weight.numel() for weight in model.parameters())
    size, method = weights_bytes(package_dir), "tinsmith.export.package.weights_bytes"
    files = sum(1 for _ in (package_dir / "onnx").iterdir())
    recorder.add("export.weights_bytes", size, "bytes", files, "files", method)
    recorder.add("export.download_bytes", download_bytes(package_dir), "bytes", files + 4, "files",
                 "tinsmith.export.package.download_bytes")
    recorder.add("export.bits_per_parameter", 8 * size / parameters, "bits/parameter", parameters, "parameters", method)
    recorder.add("export.block_size", BLOCK_SIZE, "weights", 1, "settings", "tinsmith.export.int4")
    recorder.add("export.calibration_conversations", quantizer["conversations"], "count", 1, "settings", quantizer["recipe"])
    recorder.add("export.seconds", elapsed, "seconds", 1, "runs", "wall clock")
    write_json(out_dir / "export.json", {**quantizer, "block_size": BLOCK_SIZE, "operators": operators,
                                         "tensors": _tensor_table(package_dir), "files": _file_table(package_dir)})
    return StageResult(
        tuple(recorder.measurements),
        (f"INT4 package: {size / 1e6:.1f} MB of weights, {8 * size / parameters:.2f} bits per parameter",),
    )


def _sampled_ids(tokenizer: Any, data_dir: Path, seed: int) -> list[list[int]]:
    """Token ids of the training conversations in a seeded order."""
    conversations = read_jsonl(data_dir / "train.jsonl")
    random.Random(seed).shuffle(conversations)
    return [list(tokens.ids) for tokens in tokenizer.encode_all(conversations)]


def _probe_ids(train_ids: list[list[int]], decoder: Decoder) -> list[int]:
    """Real tokens, joined until they are longer than every compared length."""
    from tinsmith.export.parity import lengths

    needed, joined = max(lengths(decoder)), []
    while len(joined) < needed:
        before = len(joined)
        for ids in train_ids:
            joined += ids
        if len(joined) == before:
            raise DataError("no tokens in train.jsonl", "Check the data stage's report.")
    return joined[:needed]


def _quantize(config: ExportConfig, model: Any, train_ids: list[list[int]]) -> tuple[dict[str, Int4Matrix], dict]:
    from tinsmith.export.calibrate import calibrate, round_all

    blocks = f"INT4, blocks of {BLOCK_SIZE} with one float32 scale each, symmetric"
    if config.recipe == "rtn":
        return round_all(model), {"recipe": "rtn", "quantization": f"{blocks}, rounded to nearest", "conversations": 0}
    chosen = train_ids[: config.calibration_conversations]
    record = {"recipe": "gptq", "quantization": f"{blocks}, GPTQ-calibrated on training conversations",
              "conversations": len(chosen)}
    return calibrate(model, chosen), record


def _full_weights(model: Any):
    from tinsmith.export.graph import Weights

    state = model.state_dict()
    return Weights(
        matrix=lambda names: np.concatenate([state[name].numpy() for name in names]),
        vector=lambda name: state[name].numpy(),
    )


def _int4_weights(model: Any, quantized: dict[str, Int4Matrix]):
    from tinsmith.export.graph import Weights

    def stacked(names: tuple[str, ...]) -> Int4Matrix:
        parts = [quantized[name] for name in names]
        return Int4Matrix(np.concatenate([p.packed for p in parts]), np.concatenate([p.scales for p in parts]))

    state = model.state_dict()
    return Weights(matrix=stacked, vector=lambda name: state[name].numpy())


def _gate_full_precision(recorder: Recorder, model: Any, decoder: Decoder, ids: list[int], out_dir: Path) -> None:
    """The full-precision graph must compute the model's logits; its file is removed again."""
    import shutil

    from tinsmith.export import parity
    from tinsmith.export.graph import build_graph
    from tinsmith.export.package import save_graph

    folder = out_dir / "full_precision"
    save_graph(build_graph(decoder, _full_weights(model)), folder / "model.onnx", 2_000_000_000)
    for result in parity.compare(model, load_onnx(folder / "model.onnx"), decoder, ids):
        _gate(recorder, "graph", result)
    shutil.rmtree(folder)


def _gate_int4(recorder: Recorder, model: Any, decoder: Decoder, ids: list[int], package_dir: Path) -> None:
    """The packaged graph must compute what the model computes with the weights numpy unpacks."""
    from tinsmith.export import parity

    for result in parity.compare(model, load_onnx(package_dir / ONNX_FILE), decoder, ids):
        _gate(recorder, "int4", result)


def _gate(recorder: Recorder, kind: str, result: Any) -> None:
    method = "tinsmith.export.parity.compare"
    hint = "The graph builder does not match this base model; do not ship it. Please report the model."
    recorder.gate(f"gate.{kind}.max_abs_diff.{result.case}", result.max_abs_diff, "<=", _MAX_ABS_DIFF, "logits",
                  result.rows, "positions", method, hint)
    recorder.gate(f"gate.{kind}.top1.{result.case}", result.top1_agreement, "==", 1.0, "fraction",
                  result.rows, "positions", method, hint)


def _operator_counts(graph: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for node in graph.graph:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return dict(sorted(counts.items()))


def _tensor_table(package_dir: Path) -> list[dict]:
    """Every stored tensor of 1 kB or more, largest first."""
    import onnx_ir as ir

    graph = ir.load(package_dir / ONNX_FILE).graph
    rows = [
        {"name": value.name, "bits": 4 if value.name.endswith(".packed") else 8 * value.const_value.dtype.itemsize,
         "bytes": value.const_value.nbytes}
        for value in graph.initializers.values()
        if value.const_value.nbytes >= 1024
    ]
    return sorted(rows, key=lambda row: (-row["bytes"], row["name"]))


def _file_table(package_dir: Path) -> list[dict]:
    from tinsmith.run_dir import tree_sha256s

    return [
        {"path": name, "bytes": (package_dir / name).stat().st_size, "sha256": digest}
        for name, digest in tree_sha256s(package_dir).items()
    ]
