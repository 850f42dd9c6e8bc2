"""The INT8 graph for stock Transformers.js: ONNX Runtime unpacks its weights when it loads the graph."""

import onnx_ir as ir

from tinsmith.export.attention import with_standard_attention
from tinsmith.export.graphs.sources import Checked, Source
from tinsmith.export.int8_constants import FoldedWeights
from tinsmith.export.int8_products import Rounding, with_int8_products
from tinsmith.export.unpack_plan import count_differences
from tinsmith.model.package_format import FLOAT32, INT8_STOCK, UNPACK_PLAN_FILE


def build(source: Source, rounding: Rounding) -> None:
    """Write the graph."""
    model = with_int8_products(ir.load(source.package_dir / FLOAT32.file), rounding, FoldedWeights())
    ir.save(with_standard_attention(model), source.package_dir / INT8_STOCK.file)


def check(checked: Checked) -> None:
    """Require that its attention computes the model's logits, and that its weights equal those that a page unpacks.

    Then it computes the same as the graph for pages, so its divergence is not measured again.
    """
    checked.gate_attention("attention_joined", with_standard_attention)
    plan, graph = checked.package_dir / UNPACK_PLAN_FILE, checked.package_dir / INT8_STOCK.file
    checked.gates.require_same_weights(*count_differences(plan, graph))
