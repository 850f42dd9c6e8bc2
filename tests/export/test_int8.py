"""The INT8 graph computes what its integers say, unpacks them when it is loaded, and stores nothing again."""

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from tinsmith.config import ExportConfig
from tinsmith.export.stage import export_int4
from tinsmith.onnx_decoder import load_onnx


@pytest.fixture
def package(exported):
    """The graphs of a tiny package."""
    _, _, out_dir, _ = exported
    return out_dir / "package" / "onnx"


def test_answers_are_near_the_4_bit_graphs(package):
    ids = list(range(10, 60))
    four, eight = (load_onnx(package / name).start().feed(ids, 50) for name in ("model_q4.onnx", "model_quantized.onnx"))
    assert 0 < np.abs(four - eight).max() < 0.05 * np.abs(four).max()
    stepwise = load_onnx(package / "model_quantized.onnx").start()
    one_by_one = np.concatenate([stepwise.feed([token], 1) for token in ids])
    # A token is rounded by itself; what differs is which way a level between two falls.
    assert np.abs(one_by_one - eight).max() < 0.02 * np.abs(eight).max()


def test_none_where_it_would_not_fit_or_is_not_wanted(exported, data_dir, tmp_path, monkeypatch):
    _, merge_dir, _, _ = exported
    export_int4(ExportConfig(recipe="rtn", int8=False), data_dir, merge_dir, tmp_path / "without", seed=1)
    monkeypatch.setattr("tinsmith.export.stage._MOST_INT8_PARAMETERS", 1000)
    result = export_int4(ExportConfig(recipe="rtn"), data_dir, merge_dir, tmp_path / "large", seed=1)
    assert any(line.startswith("no INT8 graph for WASM: ") for line in result.summary)
    for name in ("without", "large"):
        assert not (tmp_path / name / "package/onnx/model_quantized.onnx").exists()


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
    assert large and all(isinstance(tensor, ir.ExternalTensor) and str(tensor.location) == "model_q4.onnx_data" for tensor in large)
