"""The table of a package's graphs: Transformers.js can load each, and names are used once."""

import re
from pathlib import Path

from tinsmith.model.package_format import FLOAT32, GRAPHS, MEASURED_GRAPHS

PAGE = Path(__file__).resolve().parents[2] / "docs/package-format.md"

SUFFIXES = {"q4": "_q4", "q4f16": "_q4f16", "q8": "_quantized", "int8": "_int8"}
"""What Transformers.js 4.3.1 puts behind `model` for a `dtype` (`DEFAULT_DTYPE_SUFFIX_MAPPING`)."""


def test_transformers_js_finds_every_graph_by_its_dtype():
    assert [graph.file for graph in GRAPHS] == [f"onnx/model{SUFFIXES[graph.dtype]}.onnx" for graph in GRAPHS]


def test_every_name_stands_for_one_graph():
    for field in ("id", "file", "dtype"):
        assert len({getattr(graph, field) for graph in GRAPHS}) == len(GRAPHS), field


def test_the_documentation_has_the_same_table():
    rows = re.findall(r"^\| `\w+` \| `onnx/.*$", PAGE.read_text(), re.MULTILINE)
    for row, graph in zip(rows, GRAPHS, strict=True):
        is_limited = graph.max_parameters < float("inf")
        size = f"{graph.max_parameters / 1e6:,.0f} million parameters" if is_limited else "any size"
        names = f"`{graph.id}` | `{graph.file}` | `{graph.dtype}`"
        assert row == f"| {names} | {graph.computes_in} | {graph.used_by} | {size} |"


def test_every_graph_is_measured_or_computes_what_a_measured_one_does():
    for graph in GRAPHS:
        measured = MEASURED_GRAPHS[graph.model]
        assert measured.is_measured and measured.computes_in == graph.computes_in
        assert measured is FLOAT32 or measured.max_divergence
    assert sum(graph.is_measured for graph in GRAPHS) == len(MEASURED_GRAPHS)
