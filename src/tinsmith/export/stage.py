"""Export: merged weights -> proved graph -> INT4 by the chosen recipe -> proved package."""

import bisect
import math
import random
import shutil
import time
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from tinsmith.core.config import ExportConfig
from tinsmith.core.device import Device, choose_device
from tinsmith.core.errors import DataError
from tinsmith.core.measure import Recorder
from tinsmith.core.run_dir import write_json, write_text
from tinsmith.core.stage_context import StageContext, Summary
from tinsmith.export import float16, parity
from tinsmith.export.attention import with_row_attention, with_standard_attention
from tinsmith.export.blocks import BLOCK_SIZE, bits_of
from tinsmith.export.browser_facts import browser_facts
from tinsmith.export.calibrate import Quantized, hold
from tinsmith.export.gguf import LARGEST_ERRORS, check_gguf, write_gguf
from tinsmith.export.graph import build_graph
from tinsmith.export.int8 import with_int8_products, with_unpacked_weights
from tinsmith.export.models import StoredWeights, frozen_model
from tinsmith.export.nodes import Weights, shorten_names
from tinsmith.export.package import (
    check_package,
    complete_package,
    download_bytes,
    save_graph,
    save_sibling,
    weight_files,
    weights_bytes,
)
from tinsmith.export.search import RECIPES, Chosen, Trial, choose, line
from tinsmith.export.smooth import chosen_rounding
from tinsmith.export.unpack import Plan
from tinsmith.model.conversations import read_jsonl
from tinsmith.model.families import Decoder, decoder_of
from tinsmith.model.load import load_model_config
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.package_format import BROWSER_FILE, FLOAT16, FLOAT32, INT8_PAGE, INT8_STOCK, UNPACK_PLAN_FILE
from tinsmith.model.packed.packing import packed_rows
from tinsmith.model.tokens import ChatTokenizer, Tokens, load_tokenizer

_MAX_ABS_DIFF = 1e-2
_LAYER_BYTES = 50_000
"""What a layer's nodes, norms and biases may take beside `export.max_bits_per_parameter`."""
_ATTENTIONS = {
    "attention": (with_row_attention, INT8_PAGE.file),
    "attention_joined": (with_standard_attention, INT8_STOCK.file),
}
"""Gate -> attention that is compared with INT4 products, and the graph that has it."""
_SCANNED_TOKENS = 4096
_CALIBRATION_TOKENS = 16384
_FULLY_CALIBRATED_PARAMETERS = 275_000_000
"""Up to which a processor calibrates on all of them: Gemma 3 270M takes 5 minutes and 5.6 GB on two cores."""

_REFERENCE = Device(torch.device("cpu"), torch.float32, "graphs are compared in float32 on the CPU")


def export_int4(config: ExportConfig, data_dir: Path, merge_dir: Path, out_dir: Path, context: StageContext) -> Summary:
    """Write `package/` (what Transformers.js loads) and `export.json` (how it was made).

    Raises:
        GateError: a graph does not compute what the Transformers model computes, or no recipe is good enough.
    """
    started = time.monotonic()
    recorder = context.recorder
    model_dir, package_dir = merge_dir / "model", out_dir / "package"
    tokenizer = load_tokenizer(model_dir)
    train, val = _read_tokens(tokenizer, data_dir, context.seed)
    decoder = decoder_of(load_model_config(model_dir))
    probe = _probe_ids(train, decoder)
    _gate_full_precision(recorder, model_dir, decoder, probe, out_dir / "full_precision")
    device = choose_device()
    calibration_tokens = config.calibration_tokens or _enough_tokens(StoredWeights(model_dir).count, device)
    calibration = _calibration(train, calibration_tokens)
    chosen = choose(config, model_dir, device, calibration, val, context)
    _record_trials(recorder, config, chosen.trials)
    weights = _quantized_weights(model_dir, chosen.model)
    graph = build_graph(decoder, weights)
    operators = _operator_counts(graph)
    files = save_graph(graph, package_dir / FLOAT32.file, config.max_chunk_mb * 1_000_000)
    notes = []
    if config.float16:
        notes.append(_add_float16(recorder, decoder, weights, graph, calibration, package_dir))
    if config.int8:
        notes += _add_int8(recorder, package_dir, StoredWeights(model_dir).count, calibration)
    largest = max(value.const_value.nbytes for value in graph.graph.initializers.values())
    write_json(package_dir / BROWSER_FILE, browser_facts(package_dir, tokenizer, largest))
    complete_package(package_dir, model_dir, tokenizer.end_ids, data_files=len(files) - 1)
    del graph, weights
    check_package(package_dir)
    _gate_int4(recorder, model_dir, decoder, chosen.model, probe, package_dir)
    if config.gguf:
        _write_gguf(recorder, model_dir, out_dir, config.gguf)
    parameters, size = StoredWeights(model_dir).count, weights_bytes(package_dir)
    method = "tinsmith.export.package.weights_bytes"
    files = len(weight_files(package_dir))
    calibrated = 0 if chosen.recipe == "rtn" else len(calibration)
    recorder.add("export.weights_bytes", size, "bytes", files, "files", method)
    recorder.add(
        "export.download_bytes",
        download_bytes(package_dir),
        "bytes",
        files + 4,
        "files",
        "tinsmith.export.package.download_bytes",
    )
    recorder.gate(
        "gate.export.weights_bytes",
        size,
        "<=",
        config.max_bits_per_parameter * parameters / 8 + _LAYER_BYTES * decoder.layers,
        "bytes",
        files,
        "files",
        method,
        "Something is stored twice or too wide; export.json lists every tensor by size.",
    )
    recorder.add("export.bits_per_parameter", 8 * size / parameters, "bits/parameter", parameters, "parameters", method)
    recorder.add("export.block_size", BLOCK_SIZE, "weights", 1, "settings", "tinsmith.export.blocks")
    recorder.add("export.calibration_conversations", calibrated, "count", 1, "settings", chosen.recipe)
    recorder.add("export.seconds", time.monotonic() - started, "seconds", 1, "runs", "wall clock")
    write_json(
        out_dir / "export.json",
        {
            "recipe": chosen.recipe,
            "block_size": BLOCK_SIZE,
            "calibration_tokens": calibration_tokens,
            "operators": operators,
            "quantization": _in_words(chosen),
            "recipes": [{"name": trial.recipe, "made": RECIPES[trial.recipe]} for trial in chosen.trials],
            "tensors": _tensor_table(package_dir),
            "files": _file_table(package_dir),
        },
    )
    return (
        f"INT4 package: {size / 1e6:.1f} MB of weights, {8 * size / parameters:.2f} bits per parameter",
        line(chosen.trials[-1]),
        *notes,
    )


def _read_tokens(tokenizer: ChatTokenizer, data_dir: Path, seed: int) -> tuple[list[Tokens], list[Tokens]]:
    """Training conversations in a seeded order, and validation conversations."""
    train, val = (tokenizer.encode_all(read_jsonl(data_dir / f"{split}.jsonl")) for split in ("train", "val"))
    for split, found in (("train", train), ("val", val)):
        if not found:
            raise DataError(f"no conversations in {split}.jsonl", "Check the data stage's report.")
    random.Random(seed).shuffle(train)
    return train, val


def _probe_ids(train: Sequence[Tokens], decoder: Decoder) -> list[int]:
    """Real tokens, joined until there are enough for every compared length."""
    needed, joined = parity.probe_tokens(decoder), []
    while len(joined) < needed:
        for tokens in train:
            joined += tokens.ids
    return joined[:needed]


def _enough_tokens(parameters: int, device: Device) -> int:
    """To calibrate on: on a processor half as many for every doubling of a large model."""
    doublings = math.ceil(math.log2(max(1.0, parameters / _FULLY_CALIBRATED_PARAMETERS)))
    return max(1, _CALIBRATION_TOKENS >> doublings) if device.device.type == "cpu" else _CALIBRATION_TOKENS


def _calibration(train: Sequence[Tokens], most_rows: int) -> Sequence[Tokens]:
    """The first training conversations whose pack has about `most_rows` rows; at least one."""
    counts = range(1, len(train) + 1)
    fitting = bisect.bisect_right(counts, most_rows, key=lambda count: packed_rows(train[:count]))
    return train[: max(1, fitting)]


def _full_weights(model_dir: Path) -> Weights:
    stored = StoredWeights(model_dir)

    def array(name: str) -> np.ndarray:
        return stored(name).float().numpy()

    return Weights(matrix=array, vector=array)


def _quantized_weights(model_dir: Path, quantized: Quantized) -> Weights:
    return Weights(quantized.matrices.__getitem__, _full_weights(model_dir).vector, quantized.refinement)


def _gate_full_precision(recorder: Recorder, model_dir: Path, decoder: Decoder, ids: list[int], folder: Path) -> None:
    """The full-precision graph must compute the model's logits; its file, in `folder`, is removed again."""
    expected = parity.model_logits(frozen_model(model_dir, _REFERENCE), decoder, ids)
    save_graph(build_graph(decoder, _full_weights(model_dir)), folder / "model.onnx", 2_000_000_000)
    found = parity.graph_logits(load_onnx(folder / "model.onnx"), decoder, ids)
    shutil.rmtree(folder)
    for result in parity.compare(expected, found):
        _gate(recorder, "graph", result)


def _gate_int4(
    recorder: Recorder,
    model_dir: Path,
    decoder: Decoder,
    quantized: Quantized,
    ids: list[int],
    package_dir: Path,
) -> None:
    """The packaged graphs must compute what the model computes with the weights numpy unpacks."""
    expected = _held_logits(model_dir, decoder, quantized, ids)
    forms = {f"onnx/{kind}.onnx": rewrite for kind, (rewrite, of) in _ATTENTIONS.items() if (package_dir / of).exists()}
    for name, rewrite in forms.items():
        ir.save(rewrite(ir.load(package_dir / FLOAT32.file)), package_dir / name)
    found = {
        name: parity.graph_logits(load_onnx(package_dir / name), decoder, ids)
        for name in (FLOAT32.file, *forms, FLOAT16.file, INT8_PAGE.file)
        if (package_dir / name).exists()
    }
    for name in forms:
        (package_dir / name).unlink()
    for name in (FLOAT32.file, *forms):
        for result in parity.compare(expected, found[name]):
            _gate(recorder, "int4" if name == FLOAT32.file else Path(name).stem, result)
    for kind, file, most in (
        ("float16", FLOAT16.file, FLOAT16.max_divergence),
        ("int8", INT8_PAGE.file, INT8_PAGE.max_divergence),
    ):
        if file not in found:
            continue
        logits, wanted = (np.concatenate(list(found[name].values())) for name in (file, FLOAT32.file))
        recorder.gate(
            f"gate.{kind}.divergence",
            parity.divergence(wanted, logits),
            "<=",
            most,
            "nats/token",
            len(logits),
            "positions",
            "tinsmith.export.parity.divergence: from the graph in float32, all cases together",
            f"The {kind} graph computes something else; set export.{kind} = false to go on without it, and please "
            "report the model.",
        )


def _held_logits(model_dir: Path, decoder: Decoder, quantized: Quantized, ids: list[int]) -> parity.Logits:
    """What the model computes with the weights numpy unpacks; it is freed before any graph is loaded."""
    model = frozen_model(model_dir, _REFERENCE)
    hold(model, quantized)
    return parity.model_logits(model, decoder, ids)


def _add_float16(
    recorder: Recorder,
    decoder: Decoder,
    weights: Weights,
    graph: Any,
    conversations: Sequence[Tokens],
    package_dir: Path,
) -> str:
    """The package's second graph, unless a value could leave float16's range; returns what became of it."""
    counts = list(accumulate(len(tokens.ids) for tokens in conversations))
    few = max(1, bisect.bisect_right(counts, _SCANNED_TOKENS))
    largest = float16.largest_values(package_dir / FLOAT32.file, decoder, conversations[:few])
    scale = float16.residual_scale(decoder, largest)
    largest = float16.scaled(largest, scale)
    tensor = max(largest, key=lambda name: largest[name])
    recorder.add(
        "export.float16_range",
        largest[tensor] / float16.END,
        "fraction",
        counts[few - 1],
        "tokens",
        f"tinsmith.export.float16: {tensor} over {float16.END:g}, the residual stream times {scale:g}",
    )
    reach = f"{tensor} takes {largest[tensor] / float16.END:.0%} of the range"
    if largest[tensor] > float16.MOST:
        return f"no float16 graph for GPUs: {reach}"
    save_sibling(build_graph(decoder, weights, ir.DataType.FLOAT16, scale), package_dir / FLOAT16.file, graph)
    return f"float16 graph for GPUs: {reach}"


def _add_int8(recorder: Recorder, package_dir: Path, parameters: int, conversations: Sequence[Tokens]) -> list[str]:
    """The package's graphs for WASM, as far as the browser can unpack so many weights; returns what to say about that."""
    if parameters > INT8_PAGE.max_parameters:
        return [f"no INT8 graph for WASM: {parameters / 1e6:,.0f} million parameters do not fit"]
    folder, plan = (package_dir / FLOAT32.file).parent, Plan()
    rounding = chosen_rounding(package_dir / FLOAT32.file, conversations)
    unpacked = with_unpacked_weights(ir.load(package_dir / FLOAT32.file), rounding, plan)
    unpacked = with_row_attention(unpacked)
    shorten_names(unpacked.graph)
    ir.save(unpacked, package_dir / INT8_PAGE.file)
    write_text(package_dir / UNPACK_PLAN_FILE, plan.to_json(folder))
    if parameters > INT8_STOCK.max_parameters:
        return [
            f"no INT8 graph for Transformers.js alone: {parameters / 1e6:,.0f} million parameters do not fit while it unpacks them"
        ]
    folded = with_int8_products(ir.load(package_dir / FLOAT32.file), rounding)
    ir.save(with_standard_attention(folded), package_dir / INT8_STOCK.file)
    recorder.gate(
        "gate.int8.unpacked",
        plan.differences(package_dir / INT8_STOCK.file),
        "==",
        0,
        "numbers that differ",
        plan.nbytes,
        "bytes",
        "tinsmith.export.unpack: what the page unpacks, and what ONNX Runtime does",
        "Set export.int8 = false to go on without the graphs for WASM, and please report the model.",
    )
    return []


def _record_trials(recorder: Recorder, config: ExportConfig, trials: Sequence[Trial]) -> None:
    """Every recipe that was tried; with `auto` the last one must be good enough."""
    method = "tinsmith.export.search: the INT4 model in the format training computes in, over the tuned one; validation split"
    for trial in trials:
        id = f"export.recipe.{trial.recipe}"
        if math.isfinite(trial.perplexity_ratio):
            recorder.add(
                f"{id}.perplexity_ratio",
                trial.perplexity_ratio,
                "ratio",
                trial.conversations,
                "conversations",
                method,
                spread=trial.interval,
            )
        recorder.add(
            f"{id}.weights_bytes", trial.weights_bytes, "bytes", 1, "recipes", "packed integers, scales and zero points"
        )
        recorder.add(f"{id}.seconds", trial.seconds, "seconds", 1, "runs", "wall clock")
    if config.recipe == "auto":
        table = "".join(f"\n  {line(trial)}" for trial in trials)
        recorder.gate(
            "gate.export.perplexity_ratio",
            trials[-1].perplexity_ratio,
            "<=",
            config.max_perplexity_ratio,
            "ratio",
            trials[-1].conversations,
            "conversations",
            method,
            "Raise export.max_bits_per_parameter for more matrices in INT8, or export.max_perplexity_ratio; or set "
            f'export.recipe = "mixed" to ship the last of these:{table}',
        )


def _write_gguf(recorder: Recorder, model_dir: Path, out_dir: Path, weights: str) -> None:
    """`gguf/model-<weights>.gguf`, read back and compared with the tuned model."""
    path = out_dir / "gguf" / f"model-{weights}.gguf"
    write_gguf(model_dir, path, weights)
    found = check_gguf(model_dir, path)
    recorder.gate(
        "gate.gguf.max_block_error",
        found.largest_error,
        "<=",
        LARGEST_ERRORS[weights],
        "share of the block's largest",
        found.tensors,
        "tensors",
        "tinsmith.export.gguf.check_gguf",
        "The file does not hold the tuned model; do not "
        'ship it. Set export.gguf = "" to go on without it, and please report the model.',
    )
    recorder.add("export.gguf_bytes", path.stat().st_size, "bytes", 1, "files", f"GGUF, {weights}")


def _gate(recorder: Recorder, kind: str, result: Any) -> None:
    method = "tinsmith.export.parity.compare"
    hint = "The graph builder does not match this base model; do not ship it. Please report the model."
    recorder.gate(
        f"gate.{kind}.max_abs_diff.{result.case}",
        result.max_abs_diff,
        "<=",
        _MAX_ABS_DIFF,
        "logits",
        result.rows,
        "positions",
        method,
        hint,
    )
    recorder.gate(
        f"gate.{kind}.top1.{result.case}",
        result.top1_agreement,
        "==",
        1.0,
        "fraction",
        result.rows,
        "positions",
        method,
        hint,
    )


def _in_words(chosen: Chosen) -> str:
    in_8_bits = sum(blocks.bits == 8 for blocks in chosen.model.matrices.values())
    text = f"{RECIPES[chosen.recipe]}; blocks of {BLOCK_SIZE} weights with a float16 scale and a zero point of 4 bits"
    return (
        f"{text}; {in_8_bits} of {len(chosen.model.matrices)} matrices in 8 bits, without zero points"
        if in_8_bits
        else text
    )


def _operator_counts(graph: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for node in graph.graph:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return dict(sorted(counts.items()))


def _tensor_table(package_dir: Path) -> list[dict]:
    """Every stored tensor of 1 kB or more, largest first."""
    graph = ir.load(package_dir / FLOAT32.file).graph
    rows = [
        {"name": value.name, "bits": _bits(value), "bytes": value.const_value.nbytes}
        for value in graph.initializers.values()
        if value.const_value.nbytes >= 1024
    ]
    return sorted(rows, key=lambda row: (-row["bytes"], row["name"]))


def _bits(value: Any) -> int:
    """Of one number of a stored tensor."""
    if value.name.endswith(".zeros"):
        return 4
    return bits_of(value.shape) if value.name.endswith(".packed") else 8 * value.const_value.dtype.itemsize


def _file_table(package_dir: Path) -> list[dict]:
    from tinsmith.core.run_dir import tree_sha256s

    return [
        {"path": name, "bytes": (package_dir / name).stat().st_size, "sha256": digest}
        for name, digest in tree_sha256s(package_dir).items()
    ]
