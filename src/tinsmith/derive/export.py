"""Numbers of the export stage: sizes, recipes that were tried, and how far graphs are from the model."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from tinsmith.core.measure import Gate
from tinsmith.derive.files import Files
from tinsmith.derive.inventory import INVENTORY_FILE, file_sizes
from tinsmith.derive.losses import paired_ratio
from tinsmith.derive.rules import Derived, Fields, Rule
from tinsmith.model.package_format import FLOAT16, FLOAT32, INT8_PAGE, is_weights_file

RECORD = "export/export.json"
RECIPES = "export/recipes.json"
"""Supervised tokens and the tuned model's loss sums of the validation conversations, and every recipe's loss sums."""
PARITY = "export/parity.json"
"""Distances of graphs at each compared position: `logits` (kind -> case -> columns), `divergences` (kind -> nats),
`unpacked`."""
FLOAT16_RANGE = "export/float16_range.json"
"""Largest magnitude of each tensor of the float16 graph, the residual stream already scaled."""
GGUF = "export/gguf.json"

FLOAT16_END = 65504.0
"""Largest finite number of float16."""
_PACKAGE = f"export/{INVENTORY_FILE}"
_LAYER_BYTES = 50_000
"""Bytes allowed for a layer's nodes, norms and biases, on top of `export.max_bits_per_parameter`."""
_DOWNLOADED = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
_MAX_ABS_DIFF = 1e-2
_GRAPHS = {"float16": FLOAT16, "int8": INT8_PAGE}
_DIVERGENCE_BOUNDS = {kind: one.max_divergence for kind, one in _GRAPHS.items() if one.max_divergence is not None}
GGUF_BOUNDS = {"f16": 2.0**-11, "q8_0": 0.5 / 127 + 2.0**-11, "q4_0": 1 / 8 + 2.0**-10}
"""Largest error that rounding alone can cause in a block of 32, as a share of the block's largest weight.

`q4_0` has integers from -8 to 7. The largest weight becomes -8; its opposite needs 8 and is off by one step.
"""


def weights_bytes(files: Files) -> Derived:
    """Bytes of the float32 graph and the weights, which all graphs share."""
    sizes = _graph_and_weights(files)
    return Derived(sum(sizes), "bytes", len(sizes), "files")


def limited_weights_bytes(files: Files) -> Derived:
    """The same, within what the configuration allows."""
    record, sizes = files.json(RECORD), _graph_and_weights(files)
    bits = record["settings"]["max_bits_per_parameter"]
    bound = bits * record["parameters"] / 8 + _LAYER_BYTES * record["layers"]
    return Derived(sum(sizes), "bytes", len(sizes), "files", gate={"op": "<=", "bound": bound})


def download_bytes(files: Files) -> Derived:
    """Bytes that a browser fetches: the float32 graph, the weights, the tokenizer and the configuration."""
    sizes = _graph_and_weights(files) + [file_sizes(files, "export")[name] for name in _DOWNLOADED]
    return Derived(sum(sizes), "bytes", len(sizes), "files")


def bits_per_parameter(files: Files) -> Derived:
    """Bits of the float32 graph and the weights over the model's parameters."""
    parameters = files.json(RECORD)["parameters"]
    return Derived(8 * sum(_graph_and_weights(files)) / parameters, "bits/parameter", parameters, "parameters")


def block_size(files: Files) -> Derived:
    """Weights that share a scale."""
    return Derived(files.json(RECORD)["block_size"], "weights", 1, "settings")


def calibration_conversations(files: Files) -> Derived:
    """Conversations that the recipe was calibrated on."""
    return Derived(files.json(RECORD)["calibration_conversations"], "count", 1, "settings")


def seconds(files: Files) -> Derived:
    """Wall time of the stage."""
    return Derived(files.json(RECORD)["seconds"], "seconds", 1, "runs")


def recipe_ratio(files: Files, recipe: str) -> Derived | None:
    """Perplexity over the tuned model's on the validation split, in training's format; None if it is not finite."""
    value, interval = _recipe_ratio(files, _trial(files, recipe))
    count = len(files.json(RECIPES)["supervised"])
    return Derived(value, "ratio", count, "conversations", interval) if math.isfinite(value) else None


def recipe_weights_bytes(files: Files, recipe: str) -> Derived:
    """Bytes of packed integers, scales and zero points."""
    return Derived(_trial(files, recipe)["weights_bytes"], "bytes", 1, "recipes")


def recipe_seconds(files: Files, recipe: str) -> Derived:
    """Wall time of quantizing."""
    return Derived(_trial(files, recipe)["seconds"], "seconds", 1, "runs")


def limited_ratio(files: Files) -> Derived | None:
    """The last recipe's ratio, within what the configuration allows; None if the configuration named the recipe."""
    record = files.json(RECIPES)
    if record["settings"]["recipe"] != "auto":
        return None
    value, _ = _recipe_ratio(files, record["trials"][-1])
    gate: Gate = {"op": "<=", "bound": record["settings"]["max_perplexity_ratio"]}
    return Derived(value, "ratio", len(record["supervised"]), "conversations", gate=gate)


def float16_range(files: Files) -> Derived:
    """Share of float16's range that the largest value of any tensor takes."""
    record = files.json(FLOAT16_RANGE)
    return Derived(max(record["largest"].values()) / FLOAT16_END, "fraction", record["tokens"], "tokens")


def max_abs_diff(files: Files, kind: str, case: str) -> Derived:
    """Largest difference of any logit from the model's."""
    values = _finite(_case(files, kind, case)["max_abs_diff"])
    return Derived(max(values), "logits", len(values), "positions", gate={"op": "<=", "bound": _MAX_ABS_DIFF})


def top1(files: Files, kind: str, case: str) -> Derived:
    """Share of positions where the most likely token is the model's."""
    flags = _case(files, kind, case)["same_top1"]
    return Derived(sum(flags) / len(flags), "fraction", len(flags), "positions", gate={"op": "==", "bound": 1.0})


def divergence(files: Files, kind: str) -> Derived:
    """Mean KL divergence from the graph in float32, over all cases."""
    values = _finite(files.json(PARITY)["divergences"][kind])
    gate: Gate = {"op": "<=", "bound": _DIVERGENCE_BOUNDS[kind]}
    return Derived(math.fsum(values) / len(values), "nats/token", len(values), "positions", gate=gate)


def unpacked(files: Files) -> Derived | None:
    """Numbers that differ between what the page unpacks and what ONNX Runtime does; None without such a graph."""
    record = files.json(PARITY)["unpacked"]
    if not record:
        return None
    gate: Gate = {"op": "==", "bound": 0}
    return Derived(record["differences"], "numbers that differ", record["bytes"], "bytes", gate=gate)


def gguf_bytes(files: Files) -> Derived:
    """Bytes of the GGUF file."""
    return Derived(files.json(GGUF)["bytes"], "bytes", 1, "files")


def max_block_error(files: Files) -> Derived:
    """Largest error in a block of 32 of the GGUF file, as a share of the block's largest weight."""
    record = files.json(GGUF)
    gate: Gate = {"op": "<=", "bound": GGUF_BOUNDS[record["weights"]]}
    errors = _finite(record["errors"].values())
    return Derived(max(errors), "share of the block's largest", len(errors), "tensors", gate=gate)


def _graph_and_weights(files: Files) -> list[int]:
    sizes = file_sizes(files, "export")
    return [size for name, size in sizes.items() if name == FLOAT32.file or is_weights_file(name)]


def _trial(files: Files, recipe: str) -> dict[str, Any]:
    return next(trial for trial in files.json(RECIPES)["trials"] if trial["name"] == recipe)


def _recipe_ratio(files: Files, trial: dict[str, Any]) -> tuple[float, dict[str, float]]:
    record = files.json(RECIPES)
    losses = (_finite(trial["nll"]), _finite(record["tuned"]))
    if not all(map(math.isfinite, (*losses[0], *losses[1]))):
        return math.inf, {}
    return paired_ratio(*losses, record["supervised"], files.seed)


def _case(files: Files, kind: str, case: str) -> dict[str, Sequence[Any]]:
    return files.json(PARITY)["logits"][kind][case]


def _finite(values: Iterable[float | None]) -> list[float]:
    """JSON has no infinity and no NaN; null stands for both, which fail every gate."""
    return [math.inf if value is None else value for value in values]


def _recipes(files: Files) -> list[Fields]:
    return [{"recipe": trial["name"]} for trial in files.json(RECIPES)["trials"]] if files.has(RECIPES) else []


def _cases(files: Files) -> list[Fields]:
    logits = files.json(PARITY)["logits"] if files.has(PARITY) else {}
    return [{"kind": kind, "case": case} for kind, cases in logits.items() for case in cases]


def _divergences(files: Files) -> list[Fields]:
    return [{"kind": kind} for kind in files.json(PARITY)["divergences"]] if files.has(PARITY) else []


def _divergence_hint(files: Files) -> str:
    return (
        "The graph predicts too differently from float32. Set export.float16 = false or export.int8 = false, "
        "whichever this gate is named after, to export without it, and please report the model."
    )


_WRONG_GRAPH = "The graph builder does not match this base model; do not ship it. Please report the model."

PARITY_RULES = (
    Rule("gate.{kind}.max_abs_diff.{case}", PARITY, max_abs_diff, _cases, _WRONG_GRAPH),
    Rule("gate.{kind}.top1.{case}", PARITY, top1, _cases, _WRONG_GRAPH),
    Rule("export.recipe.{recipe}.perplexity_ratio", RECIPES, recipe_ratio, _recipes),
    Rule("export.recipe.{recipe}.weights_bytes", RECIPES, recipe_weights_bytes, _recipes),
    Rule("export.recipe.{recipe}.seconds", RECIPES, recipe_seconds, _recipes),
    Rule("gate.export.perplexity_ratio", RECIPES, limited_ratio),
    Rule("gate.{kind}.divergence", PARITY, divergence, _divergences, _divergence_hint),
    Rule(
        "gate.int8.unpacked",
        PARITY,
        unpacked,
        hint="Set export.int8 = false to export without the graphs for WASM, and please report the model.",
    ),
    Rule(
        "gate.gguf.max_block_error",
        GGUF,
        max_block_error,
        hint="The file's weights differ from the tuned model's by more than rounding; do not ship it. "
        'Set export.gguf = "" to export without GGUF, and please report the model.',
    ),
    Rule("export.gguf_bytes", GGUF, gguf_bytes),
)
SIZE_RULES = (
    Rule("export.float16_range", FLOAT16_RANGE, float16_range),
    Rule("export.weights_bytes", _PACKAGE, weights_bytes),
    Rule("export.download_bytes", _PACKAGE, download_bytes),
    Rule(
        "gate.export.weights_bytes",
        _PACKAGE,
        limited_weights_bytes,
        hint="A tensor is stored twice or in too many bits. Please report the model.",
    ),
    Rule("export.bits_per_parameter", _PACKAGE, bits_per_parameter),
    Rule("export.block_size", RECORD, block_size),
    Rule("export.calibration_conversations", RECORD, calibration_conversations),
    Rule("export.seconds", RECORD, seconds),
)
RULES = (*PARITY_RULES, *SIZE_RULES)
