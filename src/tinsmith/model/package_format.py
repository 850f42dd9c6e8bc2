"""Files of a browser package, and the one table of its ONNX graphs.

All graphs are the same decoder over the same stored weights. They compute in different number formats, so each is
fastest on a different kind of device. Export, evaluation, benchmark, card and pages read names, operators and limits
from here; `docs/package-format.md` describes the graphs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.core.run_dir import entries

_OPERATORS = frozenset(
    """Add BitShift BitwiseAnd Cast Concat Cos FastGelu Floor Gather GroupQueryAttention MatMulNBits Mul Neg Range
    ReduceProd ReduceSum Reshape RotaryEmbedding Shape Sigmoid SimplifiedLayerNormalization Sin
    SkipSimplifiedLayerNormalization Slice Split Sub Unsqueeze""".split()
)
"""Operators of the decoder with 4- and 8-bit weights; the pinned runtime has kernels for them on WASM and WebGPU."""

_INT8_OPERATORS = _OPERATORS - {"GroupQueryAttention", "MatMulNBits"} | frozenset(
    """Abs And Attention ConstantOfShape DequantizeLinear Div Expand Flatten GreaterOrEqual Less MatMulIntegerToFloat
    Max Pad QuantizeLinear ReduceMax Round ScatterElements Transpose Where""".split()
)
"""Operators of the graphs that multiply in INT8; the pinned runtime has kernels for them on WASM."""


@dataclass(frozen=True, slots=True)
class Graph:
    """One ONNX graph of a package."""

    id: str
    file: str
    """Path inside the package. Transformers.js derives it from `dtype`."""
    dtype: str
    """Option of Transformers.js that selects it."""
    device: str
    """ONNX Runtime's backend in a page: `webgpu` or `wasm`."""
    computes_in: str
    used_by: str
    """What uses it, as printed on the card."""
    model: str
    """Name of the model in measurement ids."""
    operators: frozenset[str]
    """ONNX operators it may contain."""
    is_measured: bool = True
    """False if another graph of the same `model` computes the same and is measured instead."""
    max_divergence: float | None = None
    """Largest KL divergence from the float32 graph that export accepts, in nats per token."""
    max_browser_error: float | None = None
    """Largest error of logits on WASM against native ONNX Runtime: squared differences over variance; 1: unrelated."""
    max_parameters: float = float("inf")
    """Parameters of the largest model that gets this graph."""

    @property
    def name(self) -> str:
        """File name without its folder."""
        return Path(self.file).name


FLOAT32 = Graph(
    id="float32",
    file="onnx/model_q4.onnx",
    dtype="q4",
    device="webgpu",
    computes_in="float32",
    used_by="GPUs",
    model="int4",
    operators=_OPERATORS,
    max_browser_error=1e-4,
)
"""In every package. The files of weights are named after it, and it runs wherever another graph is missing."""

FLOAT16 = Graph(
    id="float16",
    file="onnx/model_q4f16.onnx",
    dtype="q4f16",
    device="webgpu",
    computes_in="float16",
    used_by="GPUs with `shader-f16`, on the chat page",
    model="int4_float16",
    operators=_OPERATORS,
    max_divergence=1e-2,
)

INT8_PAGE = Graph(
    id="int8_page",
    file="onnx/model_int8.onnx",
    dtype="int8",
    device="wasm",
    computes_in="INT8",
    used_by="WASM on the chat page",
    model="int4_int8",
    operators=_INT8_OPERATORS,
    max_divergence=0.1,
    # The last bit of a sum decides which way an activation is rounded, and machines sum in different orders: 0.05 was
    # measured where nothing was wrong.
    max_browser_error=0.25,
    max_parameters=1_300_000_000,  # to load it, ONNX Runtime needs each weight twice, and WASM has 4 GB
)
"""Multiplies in INT8. The page unpacks its weights by the plan in `UNPACK_PLAN_FILE`."""

INT8_STOCK = Graph(
    id="int8_stock",
    file="onnx/model_quantized.onnx",
    dtype="q8",
    device="wasm",
    computes_in="INT8",
    used_by="WASM with Transformers.js alone",
    model="int4_int8",
    operators=_INT8_OPERATORS,
    is_measured=False,
    max_parameters=400_000_000,  # ONNX Runtime needs about 7 bytes per parameter to unpack them
)
"""The same products as `INT8_PAGE`; ONNX Runtime unpacks the weights when it loads the graph."""

GRAPHS = (FLOAT32, FLOAT16, INT8_PAGE, INT8_STOCK)
"""All graphs a package can have."""

MEASURED_GRAPHS = {graph.model: graph for graph in GRAPHS if graph.is_measured}
"""Name in measurements -> the graph that is measured under it."""

BROWSER_FILE = "browser.json"
"""Names of graphs and weights, and a reference answer, for pages."""
UNPACK_PLAN_FILE = "onnx/model_int8.json"
"""Plan for unpacking: source and destination of each matrix of `INT8_PAGE`."""
DECODER_PLAN_FILE = "onnx/decoder_plan.json"
"""How a program without ONNX Runtime computes `FLOAT32`: the pages' own WebGPU kernels."""
UNPACKED_DATA = f"{INT8_PAGE.name}_data"
"""Name under which `INT8_PAGE` expects its unpacked weights. Exists in memory only."""


def list_graphs(package_dir: Path) -> list[dict[str, Any]]:
    """The graphs of a package as `browser.json` lists them; `web/types.d.ts` describes the fields."""
    listed = []
    for graph in GRAPHS:
        if (package_dir / graph.file).exists():
            entry: dict[str, Any] = {"id": graph.id, "file": graph.file, "dtype": graph.dtype}
            if graph is INT8_PAGE:
                entry["unpack"] = {"plan": UNPACK_PLAN_FILE, "data": UNPACKED_DATA}
            listed.append(entry)
    return listed


def is_weights_file(name: str) -> bool:
    """Whether the file `name`, a path inside a package, contains weights."""
    return name.startswith(f"{FLOAT32.file}_data")


def weights_files(graphs_dir: Path) -> list[Path]:
    """The files of weights beside a package's graphs, sorted by name."""
    return entries(graphs_dir, f"{FLOAT32.name}_data*")
