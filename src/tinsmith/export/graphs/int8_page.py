"""The INT8 graph for tinsmith's pages, which unpack its weights and store its cache in rows."""

import onnx_ir as ir

from tinsmith.core.run_dir import write_text
from tinsmith.export.attention import with_row_attention
from tinsmith.export.graphs.sources import Checked, Source
from tinsmith.export.int8_products import Rounding, with_int8_products
from tinsmith.export.onnx_nodes import shorten_names
from tinsmith.export.unpack_plan import Plan
from tinsmith.model.package_format import FLOAT32, INT8_PAGE, UNPACK_PLAN_FILE


def build(source: Source, rounding: Rounding) -> None:
    """Write the graph, and the plan by which a page unpacks its weights."""
    plan, path = Plan(), source.package_dir / INT8_PAGE.file
    model = with_int8_products(ir.load(source.package_dir / FLOAT32.file), rounding, plan)
    model = with_row_attention(model)
    shorten_names(model.graph)
    ir.save(model, path)
    write_text(source.package_dir / UNPACK_PLAN_FILE, plan.to_json(path.parent))


def check(checked: Checked) -> None:
    """Require that its attention computes the model's logits, and that it predicts nearly the same as float32."""
    checked.gate_attention("attention", with_row_attention)
    logits = checked.probe.graph_logits(checked.package_dir / INT8_PAGE.file)
    checked.gates.require_close("int8", checked.float32, logits)
