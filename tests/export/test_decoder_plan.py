"""The decoder plan says what the graph says, of the bytes that are there, and refuses what it does not know."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from packages import tiny_run
from tinsmith.core.errors import ArtifactError
from tinsmith.export.blocks import BLOCK_SIZE
from tinsmith.export.decoder_plan import decoder_plan
from tinsmith.export.package import check_package
from tinsmith.model.package_format import DECODER_PLAN_FILE

KINDS = ("llama", "gemma3", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("qwen2", "qwen3", "llama3")))


@pytest.fixture(params=KINDS)
def package(request, tmp_path_factory):
    return tiny_run(request.param, tmp_path_factory) / "export/package"


@pytest.fixture
def copied(tmp_path_factory, tmp_path):
    shutil.copytree(tiny_run("gemma3", tmp_path_factory) / "export/package", tmp_path / "package")
    return tmp_path / "package"


def test_every_stored_tensor_is_in_the_plan_where_the_graph_has_it(package):
    path = package / "onnx/model_q4.onnx"
    plan = decoder_plan(path)
    assert json.loads((package / DECODER_PLAN_FILE).read_text()) == plan
    planned = set(places_in(plan))
    stored = {
        (str(value.const_value.location), value.const_value.offset)
        for value in ir.load(path).graph.initializers.values()
        if isinstance(value.const_value, ir.ExternalTensor)
    }
    assert planned == stored and len(stored) > 20


def places_in(part):
    """Every (file, offset) that a plan names."""
    if isinstance(part, list):
        for value in part:
            yield from places_in(value)
    elif isinstance(part, dict):
        keys = [key for key in part if key == "at" or key.endswith("_at")] if "file" in part else []
        yield from ((part["file"], part[key]) for key in keys)
        for value in part.values():
            yield from places_in(value)


def test_sizes_are_those_of_the_configuration(package):
    plan, config = decoder_plan(package / "onnx/model_q4.onnx"), json.loads((package / "config.json").read_text())
    named = {"hidden": "hidden_size", "inner": "intermediate_size", "heads": "num_attention_heads"}
    named |= {"kv_heads": "num_key_value_heads", "head_size": "head_dim", "vocabulary": "vocab_size"}
    assert {key: plan[key] for key in named} == {key: config[name] for key, name in named.items()}
    assert [layer["window"] for layer in plan["layers"]] == ([16, 0] if "gemma" in config["model_type"] else [0, 0])
    assert all(matrix["columns"] % BLOCK_SIZE == 0 for layer in plan["layers"] for matrix in layer["qkv"]["matrices"])


def another_activation(graph: ir.Graph) -> None:
    node = next(node for node in graph if node.op_type == "FastGelu")
    node.op_type, node.domain = "Tanh", ""


def an_interleaved_rotation(graph: ir.Graph) -> None:
    node = next(node for node in graph if node.op_type == "RotaryEmbedding")
    node.attributes["interleaved"] = ir.AttrInt64("interleaved", 1)


def a_capped_score(graph: ir.Graph) -> None:
    node = next(node for node in graph if node.op_type == "GroupQueryAttention")
    node.attributes["softcap"] = ir.AttrFloat32("softcap", 50.0)


def another_node(graph: ir.Graph) -> None:
    logits = graph.outputs[0]
    node = ir.node("Cast", [logits], {"to": ir.DataType.FLOAT}, name="more")
    node.outputs[0].name = "more"
    graph.append(node)
    graph.outputs.append(node.outputs[0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (another_activation, "computed by Tanh, expected Mul"),
        (an_interleaved_rotation, "has the attribute interleaved"),
        (a_capped_score, "has the attribute softcap"),
        (another_node, r"nothing is known of the node more \(Cast\)"),
    ],
)
def test_what_no_plan_describes_is_refused(copied, change: Callable[[ir.Graph], None], words):
    path = copied / "onnx/model_q4.onnx"
    model = ir.load(path)
    change(model.graph)
    ir.save(model, path)
    with pytest.raises(ArtifactError, match=words):
        decoder_plan(path)


def test_a_plan_that_is_not_the_graphs_is_no_package(copied: Path):
    path = copied / DECODER_PLAN_FILE
    plan = json.loads(path.read_text())
    plan["layers"][0]["window"] += 1
    path.write_text(json.dumps(plan))
    with pytest.raises(ArtifactError, match="is not the plan of onnx/model_q4"):
        check_package(copied)


def test_the_last_refined_row_must_be_zero(copied: Path):
    plan = decoder_plan(copied / "onnx/model_q4.onnx")
    matrix = plan["refinement"]["matrix"]
    data = np.fromfile(copied / "onnx" / matrix["file"], np.uint8)
    data[matrix["packed_at"] + matrix["rows"] * matrix["columns"] // 2 - 1] ^= 1
    data.tofile(copied / "onnx" / matrix["file"])
    with pytest.raises(ArtifactError, match="last refined row"):
        decoder_plan(copied / "onnx/model_q4.onnx")
