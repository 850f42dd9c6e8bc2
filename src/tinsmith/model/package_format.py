"""Files of a browser package, and the one table of its ONNX graphs.

All graphs are the same decoder over the same stored weights. They differ in what they compute in, and so in the device
that runs them fastest. Export, evaluation, benchmark, card and pages take names, operators and limits from here;
`docs/package-format.md` describes the graphs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """Option of Transformers.js that loads it."""
    device: str
    """ONNX Runtime's backend in a page: `webgpu` or `wasm`."""
    computes_in: str
    used_by: str
    """Whom it is for, as the card says it."""
    model: str
    """Name of its numbers in measurements."""
    operators: frozenset[str]
    """ONNX operators it may contain."""
    is_measured: bool = True
    """False where another graph of the same `model` computes the same numbers and is measured."""
    max_divergence: float | None = None
    """KL divergence from the float32 graph that export allows, in nats per token."""
    max_browser_error: float | None = None
    """How far logits on WASM may be from ONNX Runtime's: squared differences over their variance; 1 if unrelated."""
    max_parameters: float = float("inf")
    """The largest model it is made for."""

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
"""The graph of every package. The weights are stored under its name, and it runs wherever another graph is missing."""

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
    max_parameters=1_300_000_000,  # ONNX Runtime holds each weight twice while it makes a session; WASM ends at 4 GB
)
"""Multiplies in INT8. The page unpacks its weights as `UNPACK_PLAN_FILE` says."""

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
    max_parameters=400_000_000,  # ONNX Runtime takes about 7 bytes for each while it unpacks them
)
"""The same products as `INT8_PAGE`; ONNX Runtime unpacks the weights when it loads the graph."""

GRAPHS = (FLOAT32, FLOAT16, INT8_PAGE, INT8_STOCK)
"""All graphs a package can have."""

MEASURED_GRAPHS = {graph.model: graph for graph in GRAPHS if graph.is_measured}
"""Name in measurements -> the graph that is measured under it."""

BROWSER_FILE = "browser.json"
"""Names of graphs and weights, and a reference answer, for pages."""
UNPACK_PLAN_FILE = "onnx/model_int8.json"
"""Where each matrix of `INT8_PAGE` comes from and goes to; beside the graph."""
UNPACKED_DATA = f"{INT8_PAGE.name}_data"
"""Name under which `INT8_PAGE` expects its unpacked weights. Exists in memory only."""
CHECKSUMS_FILE = "SHA256SUMS"
"""SHA-256 of every other file."""


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
    """Whether `name`, a path inside a package, holds weights."""
    return name.startswith(f"{FLOAT32.file}_data")


def weights_files(graphs_dir: Path) -> list[Path]:
    """The files of weights beside a package's graphs, in order of name."""
    return sorted(graphs_dir.glob(f"{FLOAT32.name}_data*"))
