"""Standard attention equals GroupQueryAttention within and past the window, and replaces it everywhere."""

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from stage_runs import run_stage
from tinsmith.core.config import ExportConfig
from tinsmith.core.errors import GateError
from tinsmith.export import attention
from tinsmith.export.attention import with_row_attention, with_standard_attention
from tinsmith.export.stage import export_int4
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.package_format import FLOAT32, INT8_PAGE, INT8_STOCK


@pytest.fixture(params=[with_standard_attention, with_row_attention])
def rewritten(request, exported):
    """(the packaged graph, the same with other attention), loaded."""
    _, _, out_dir, _ = exported
    path = out_dir / "package" / FLOAT32.file
    other = path.with_name("other.onnx")
    ir.save(request.param(ir.load(path)), other)
    yield load_onnx(path), load_onnx(other)
    other.unlink()


@pytest.mark.parametrize("pieces", [(40,), (1,) * 40, (16, 1, 1, 22), (3, 37), (30, 10)])
def test_a_prompt_in_any_pieces_gives_the_same_logits(rewritten, pieces):
    """The window of the tiny Gemma is 16 tokens."""
    logits = []
    for graph in rewritten:
        ids, sequence = list(range(10, 50)), graph.start()
        logits.append(np.concatenate([sequence.feed([ids.pop(0) for _ in range(count)], count) for count in pieces]))
    assert np.abs(logits[0] - logits[1]).max() < 1e-5 * np.abs(logits[0]).max()


def test_rows_padded_at_their_ends_are_what_they_are_alone(rewritten):
    _, graph = rewritten
    rows = np.array([[10, 11, 12, 13], [20, 21, 0, 0]])
    feeds = {
        "input_ids": rows,
        "attention_mask": np.array([[1, 1, 1, 1], [1, 1, 0, 0]]),
        "position_ids": np.tile(np.arange(4), (2, 1)),
        "num_logits_to_keep": np.array(0),
    }
    feeds |= {name: np.zeros((2, *shape[1:]), np.float32) for name, shape in graph.past_shapes.items()}
    (logits,) = graph.session.run(["logits"], feeds)
    assert logits[1, :2] == pytest.approx(graph.start().feed([20, 21], 2), abs=1e-5)


def test_both_graphs_for_processors_have_it_and_the_ones_for_gpus_do_not(exported):
    _, _, out_dir, _ = exported
    for file, name in (
        (FLOAT32.file, "GroupQueryAttention"),
        (INT8_STOCK.file, "Attention"),
        (INT8_PAGE.file, "Attention"),
    ):
        operators = [node.op_type for node in ir.load(out_dir / "package" / file).graph]
        assert [operator for operator in operators if "Attention" in operator] == [name] * 2
    assert not list((out_dir / "package/onnx").glob("attention*"))


def test_a_window_one_token_short_stops_the_stage(tiny_gemma, data_dir, tmp_path, monkeypatch):
    (tmp_path / "merge").mkdir()
    (tmp_path / "merge/model").symlink_to(tiny_gemma)
    mask = attention._mask
    monkeypatch.setattr(attention, "_mask", lambda tape, graph, window: mask(tape, graph, window and window - 1))
    with pytest.raises(GateError, match=r"^gate\.attention\.max_abs_diff\.prefill_100: measured .* required <= 0\.01"):
        run_stage(export_int4, ExportConfig(recipe="rtn"), data_dir, tmp_path / "merge", tmp_path / "out", seed=1)


def test_the_runtime_has_a_kernel_for_the_operator_itself(exported):
    """Where it has none, it would take the operator apart into many."""
    _, _, out_dir, _ = exported
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(out_dir / "loaded.onnx")
    ort.InferenceSession(str(out_dir / "package" / INT8_STOCK.file), options, providers=["CPUExecutionProvider"])
    assert "Attention" in {node.op_type for node in ir.load(out_dir / "loaded.onnx").graph}
