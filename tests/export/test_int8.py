"""The INT8 graph computes what its integers say, unpacks them when it is loaded, and stores nothing again."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from stage_runs import run_stage
from tinsmith.core.config import ExportConfig
from tinsmith.export.int8_constants import FoldedWeights
from tinsmith.export.int8_products import Rounding, with_int8_products
from tinsmith.export.stage import export_int4
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.package_format import INT8_PAGE, INT8_STOCK

INT8_FILES = {"model_quantized.onnx", "model_int8.onnx", "model_int8.json"}


@pytest.fixture
def package(exported):
    """The graphs of a tiny package."""
    _, _, out_dir, _ = exported
    return out_dir / "package" / "onnx"


def test_answers_are_near_the_4_bit_graphs(package):
    ids = list(range(10, 60))
    four, eight = (
        load_onnx(package / name).start().feed(ids, 50) for name in ("model_q4.onnx", "model_quantized.onnx")
    )
    assert 0 < np.abs(four - eight).max() < 0.05 * np.abs(four).max()
    # The graph whose weights are unpacked before it is loaded has the same; sums of attention may differ in a last bit.
    unpacked = load_onnx(package / "model_int8.onnx").start().feed(ids, 50)
    assert np.abs(unpacked - eight).max() < 0.02 * np.abs(eight).max()
    stepwise = load_onnx(package / "model_quantized.onnx").start()
    one_by_one = np.concatenate([stepwise.feed([token], 1) for token in ids])
    # A token is rounded by itself; what differs is which way a level between two falls.
    assert np.abs(one_by_one - eight).max() < 0.02 * np.abs(eight).max()


def test_only_logits_of_refined_rows_are_added_to(package):
    places = ir.load(package / "model_q4.onnx").graph.initializers["lm_head.refined.places"].const_value.numpy()
    for name in INT8_FILES - {"model_int8.json"}:
        graph = ir.load(package / name).graph
        (added,) = [node for node in graph if node.op_type == "ScatterElements"]
        assert added.outputs[0].name == "logits" and "lm_head.refined.places" not in graph.initializers
        tokens = added.inputs[1].producer().inputs[0].const_value.numpy()[0, 0]
        shares = np.random.default_rng(1).normal(size=places.max() + 1)
        shares[-1] = 0
        sums = np.zeros(len(places))
        np.add.at(sums, tokens, shares)
        np.testing.assert_array_equal(sums, shares[places])


def test_none_where_it_would_not_fit_or_is_not_wanted(exported, data_dir, tmp_path, monkeypatch):
    _, merge_dir, _, _ = exported
    run_stage(export_int4, ExportConfig(recipe="rtn", int8=False), data_dir, merge_dir, tmp_path / "without", seed=1)
    monkeypatch.setattr("tinsmith.export.package_graphs.INT8_PAGE", replace(INT8_PAGE, max_parameters=1000))
    result = run_stage(export_int4, ExportConfig(recipe="rtn"), data_dir, merge_dir, tmp_path / "large", seed=1)
    assert any(line.startswith("no INT8 graph for WASM: ") for line in result.summary)
    for name in ("without", "large"):
        assert not {path.name for path in (tmp_path / name / "package/onnx").iterdir()} & INT8_FILES


def test_what_only_a_page_can_unpack_is_for_pages(exported, data_dir, tmp_path, monkeypatch):
    _, merge_dir, _, _ = exported
    monkeypatch.setattr("tinsmith.export.package_graphs.INT8_STOCK", replace(INT8_STOCK, max_parameters=1000))
    result = run_stage(export_int4, ExportConfig(recipe="rtn"), data_dir, merge_dir, tmp_path, seed=1)
    assert any(line.startswith("no INT8 graph for Transformers.js alone: ") for line in result.summary)
    names = {path.name for path in (tmp_path / "package/onnx").iterdir()}
    assert names & INT8_FILES == {"model_int8.onnx", "model_int8.json"}
    assert any(one.id == "gate.int8.divergence" for one in result.measurements)


def test_weights_are_unpacked_when_the_graph_is_loaded(package, tmp_path):
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    ort.InferenceSession(str(package / "model_quantized.onnx"), options, providers=["CPUExecutionProvider"])
    loaded = ir.load(tmp_path / "loaded.onnx").graph
    operators = [node.op_type for node in loaded]
    assert "MatMulIntegerToFloat" in operators
    assert not {"MatMulNBits", "DequantizeLinear", "Transpose", "Flatten"} & set(operators)


def test_no_weight_is_stored_again(package):
    graph = ir.load(package / "model_quantized.onnx").graph
    large = [value.const_value for value in graph.initializers.values() if value.const_value.nbytes >= 1024]
    assert large and all(
        isinstance(tensor, ir.ExternalTensor) and str(tensor.location) == "model_q4.onnx_data" for tensor in large
    )


LOWEST = np.zeros((4, 2, 16), np.uint8)
"""With a zero point of 15 every integer is -15."""


def product_session(packed, rounding, zero=15):
    """One product over 4-bit integers (4, 2, 16) with scales of 1 and one zero point, in INT8."""

    def value(name, dtype, shape, array=None):
        tensor = None if array is None else ir.tensor(array, name=name)
        return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(shape), const_value=tensor)

    x = value("x", ir.DataType.FLOAT, ["batch", "sequence", 64])
    weights = value("w.packed", ir.DataType.UINT8, [4, 2, 16], packed)
    scales = value("w.scales", ir.DataType.FLOAT16, [4, 2], np.ones((4, 2), np.float16))
    wide = ir.node("Cast", [scales], {"to": ir.DataType.FLOAT}, name="wide")
    zeros = value("w.zeros", ir.DataType.UINT8, [4, 1], np.full((4, 1), zero * 0x11, np.uint8))
    product = ir.node(
        "MatMulNBits",
        [x, weights, wide.outputs[0], zeros],
        {"K": 64, "N": 4, "bits": 4, "block_size": 32},
        domain="com.microsoft",
        name="w",
    )
    product.outputs[0].name, product.outputs[0].type = "y", ir.TensorType(ir.DataType.FLOAT)
    product.outputs[0].shape = ir.Shape(["batch", "sequence", 4])
    graph = ir.Graph(
        [x],
        [product.outputs[0]],
        nodes=[wide, product],
        initializers=[weights, scales, zeros],
        opset_imports={"": 21, "com.microsoft": 1},
        name="one",
    )
    model = with_int8_products(ir.Model(graph, ir_version=10), rounding, FoldedWeights())
    return ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])


def test_the_largest_levels_do_not_overflow():
    """Signed weights would on x86 processors without VNNI: two products of 255 and -127 do not fit in 16 bits."""
    (product,) = product_session(LOWEST, Rounding()).run(None, {"x": np.ones((1, 1, 64), np.float32)})
    assert product.ravel() == pytest.approx([-15 * 64] * 4, rel=1e-3)


def test_nor_do_the_largest_of_what_rounding_left():
    x = np.full((1, 1, 64), 126.49 / 127, np.float32)
    x[..., 0] = 1
    (product,) = product_session(LOWEST, Rounding(twice={"w"})).run(None, {"x": x})
    assert product.ravel() == pytest.approx([-15 * x.sum()] * 4, rel=1e-4)


@pytest.mark.parametrize("wide", [1024, 4], ids=["narrow", "wide"])
def test_what_rounding_left_is_multiplied_too(wide, monkeypatch):
    """Beside a loud activation quiet ones share few levels; what that leaves of them has levels of its own."""
    monkeypatch.setattr("tinsmith.model.int8_weights._WIDE", wide)
    random = np.random.default_rng(3)
    packed = random.choice(
        np.array([0x00, 0x08, 0x80, 0x88], np.uint8), (4, 2, 16)
    )  # -8 and 0, which 8 bits hold exactly
    weight = np.stack([packed & 15, packed >> 4], axis=3).reshape(4, 64).astype(np.float32) - 8
    x = random.normal(size=(2, 3, 64)).astype(np.float32)
    x[..., 0] = 50
    once, twice = (
        np.square(product_session(packed, Rounding(twice=names), zero=8).run(None, {"x": x})[0] - x @ weight.T).mean()
        for names in (frozenset(), {"w"})
    )
    assert 0 < twice < 1e-3 * once
