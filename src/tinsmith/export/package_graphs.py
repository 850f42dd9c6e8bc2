"""Builds and checks all graphs of a package."""

from tinsmith.core.config import ExportConfig
from tinsmith.export.graphs import float16, float32, int8_page, int8_stock
from tinsmith.export.graphs.sources import Checked, Source
from tinsmith.export.input_rounding import choose_rounding
from tinsmith.export.parity import Logits, Probe
from tinsmith.model.package_format import FLOAT16, FLOAT32, INT8_PAGE, INT8_STOCK

_OPTIONAL_GRAPHS = {FLOAT16: float16, INT8_PAGE: int8_page, INT8_STOCK: int8_stock}


def build_graphs(source: Source, config: ExportConfig) -> list[str]:
    """Write the weights, the float32 graph, and every other configured graph that suits the model.

    Returns:
        A line on each other graph, for the stage's summary.
    """
    float32.build(source, config.max_chunk_mb * 1_000_000)
    notes = [float16.build(source)] if config.float16 else []
    if not config.int8:
        return notes
    millions = f"{source.parameters / 1e6:,.0f} million parameters do not fit"
    if source.parameters > INT8_PAGE.max_parameters:
        return [*notes, f"no INT8 graph for WASM: {millions}"]
    rounding = choose_rounding(source.package_dir / FLOAT32.file, source.conversations)
    int8_page.build(source, rounding)
    if source.parameters > INT8_STOCK.max_parameters:
        return [*notes, f"no INT8 graph for Transformers.js alone: {millions} while it unpacks them"]
    int8_stock.build(source, rounding)
    return notes


def check_graphs(source: Source, probe: Probe, expected: Logits) -> None:
    """Gate every graph of the package against `expected`, the logits of the model with the package's weights.

    Raises:
        GateError: a graph computes other logits.
    """
    float32_logits = float32.check(source, probe, expected)
    checked = Checked(source.package_dir, source.gates, probe, expected, float32_logits)
    for graph, module in _OPTIONAL_GRAPHS.items():
        if (source.package_dir / graph.file).exists():
            module.check(checked)
