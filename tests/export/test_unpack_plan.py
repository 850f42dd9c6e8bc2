"""What numpy, the page's script and ONNX Runtime unpack for the INT8 graph is the same to the last bit."""

import hashlib
import json
import subprocess

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from stage_runs import run_stage
from tinsmith.browser.runtime import WEB_DIR
from tinsmith.core.config import ExportConfig
from tinsmith.export.blocks import pack
from tinsmith.export.int8_constants import FoldedWeights
from tinsmith.export.int8_products import Rounding, with_int8_products
from tinsmith.export.stage import export_int4
from tinsmith.export.unpack_plan import Plan, count_differences
from tinsmith.model.int8_weights import unpacked_weights

SCRIPT = """
import {{ createHash }} from "node:crypto";
import {{ readFileSync }} from "node:fs";
import {{ unpack }} from "{unpack}";
const read = (name) => new Uint8Array(readFileSync("{folder}/" + name)).slice();
const plan = JSON.parse(readFileSync("{folder}/model_int8.json"));
const names = new Set(plan.products.flatMap((product) => product.parts.map((part) => part.file)));
const data = unpack(plan, new Map([...names].map((name) => [name, read(name)])));
console.log(createHash("sha256").update(data).digest("hex"));
"""


def digest_in_javascript(folder, tmp_path):
    script = tmp_path / "unpack.mjs"
    # Node takes a .js file for a module only below a package.json that says so, which web/ has.
    script.write_text(SCRIPT.format(unpack=WEB_DIR / "unpack.js", folder=folder))
    return subprocess.run(["node", str(script)], capture_output=True, text=True, check=True).stdout.strip()


def test_a_package_is_unpacked_alike_by_the_page(exported, tmp_path):
    _, _, out_dir, result = exported
    folder = out_dir / "package/onnx"
    (gate,) = [m for m in result.measurements if m.id == "gate.int8.unpacked"]
    assert gate.value == 0 and gate.count > 10_000
    assert digest_in_javascript(folder, tmp_path) == json.loads((folder / "model_int8.json").read_text())["sha256"]


@pytest.fixture
def hard(tmp_path):
    """Products of 4 and 8 bits on one input: odd rows and blocks, every zero point, scales from the smallest half."""
    import torch

    random, columns = np.random.default_rng(3), 96
    exponents = np.array([2.0**power for power in (-24, -20, -15, -14, -10, -3, 2)], np.float32)
    inputs = [ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["B", "S", columns]))]
    nodes, initializers, at, content = [], [], 0, b""
    for name, bits, rows in (("four", 4, 71), ("eight", 8, 130), ("aligned", 4, 68)):
        lowest = -torch.from_numpy(random.integers(0, 16, (rows, 3))) if bits == 4 else None
        integers = torch.from_numpy(random.integers(0, 2**bits, (rows, columns)))
        integers += -128 if lowest is None else lowest.repeat_interleave(32, 1)
        scales = (
            random.choice(exponents, (rows, 3)) * random.uniform(1, 2, (rows, 3)) * random.choice([-1, 1], (rows, 3))
        )
        half = np.maximum(np.abs(scales), 2.0**-24).astype(np.float16).astype(np.float32) * np.sign(scales).astype(
            np.float32
        )
        blocks = pack(integers, torch.from_numpy(half), lowest)
        stored = [("packed", blocks.packed, ir.DataType.UINT8), ("scales", blocks.scales, ir.DataType.FLOAT16)]
        if bits == 4:
            stored.append(("zeros", blocks.zeros, ir.DataType.UINT8))
        for kind, array, dtype in stored:
            tensor = ir.ExternalTensor(
                "weights",
                at,
                array.nbytes,
                dtype,
                shape=ir.Shape(array.shape),
                name=f"{name}.{kind}",
                base_dir=tmp_path,
            )
            padding = -array.nbytes % 64
            content, at = content + array.tobytes() + b"\0" * padding, at + array.nbytes + padding
            initializers.append(
                ir.Value(name=tensor.name, const_value=tensor, type=ir.TensorType(dtype), shape=tensor.shape)
            )
        packed, scales, *zeros = initializers[-len(stored) :]
        wide = ir.node("Cast", [scales], {"to": ir.DataType.FLOAT}, name=f"{name}/wide")
        product = ir.node(
            "MatMulNBits",
            [inputs[0], packed, wide.outputs[0], *zeros],
            {"K": columns, "N": rows, "bits": bits, "block_size": 32},
            domain="com.microsoft",
            name=name,
        )
        product.outputs[0].name, product.outputs[0].type = name, ir.TensorType(ir.DataType.FLOAT)
        product.outputs[0].shape = ir.Shape([1, 1, rows])
        nodes += [wide, product]
    (tmp_path / "weights").write_bytes(content)
    graph = ir.Graph(
        inputs,
        [node.outputs[0] for node in nodes[1::2]],
        nodes=nodes,
        initializers=initializers,
        opset_imports={"": 21, "com.microsoft": 1},
        name="hard",
    )
    ir.save(ir.Model(graph, ir_version=10), tmp_path / "model.onnx")
    return tmp_path


@pytest.mark.parametrize("wide", [1024, 200], ids=["narrow", "wide"])
@pytest.mark.parametrize(
    "rounding",
    [Rounding(), Rounding({"four": np.array([0.3, 1.7, 1.96], np.float32)}, {"four"})],
    ids=["plain", "factors"],
)
def test_subnormal_halves_odd_rows_and_ties(hard, rounding, wide, monkeypatch):
    """269 columns are one matrix, or three of 128 whose last is filled up."""
    monkeypatch.setattr("tinsmith.model.int8_weights._WIDE", wide)
    ir.save(with_int8_products(ir.load(hard / "model.onnx"), rounding, FoldedWeights()), hard / "int8.onnx")
    plan = Plan()
    ir.save(with_int8_products(ir.load(hard / "model.onnx"), rounding, plan), hard / "unpacked.onnx")
    (hard / "model_int8.json").write_text(plan.to_json(hard))
    assert plan.products[0]["width"] == (269 if wide == 1024 else 128)
    assert count_differences(hard / "model_int8.json", hard / "int8.onnx") == (0, plan.size_bytes)
    unpacked_weights(hard).tofile(hard / "model_int8.onnx_data")
    assert digest_in_javascript(hard, hard) == hashlib.sha256((hard / "model_int8.onnx_data").read_bytes()).hexdigest()
    x = np.random.default_rng(5).standard_normal((2, 3, 96)).astype(np.float32)
    exact, folded, unpacked = (
        ort.InferenceSession(str(hard / f"{name}.onnx"), providers=["CPUExecutionProvider"]).run(None, {"x": x})
        for name in ("model", "int8", "unpacked")
    )
    # Made-up factors spread the levels of a row, so 8 bits are about 5 % off. A matrix in the wrong place is 100 % off.
    for right, first, second in zip(exact, folded, unpacked, strict=True):
        assert (first == second).all() and np.abs(first - right).max() < 0.1 * np.abs(right).max()


def test_weights_in_several_files_are_unpacked_from_the_right_ones(exported, data_dir, tmp_path):
    _, merge_dir, _, _ = exported
    # Between what the head's integers take and that with their scales: alone they would be apart.
    tight = ExportConfig(recipe="gptq").model_copy(update={"max_chunk_mb": 0.013})
    result = run_stage(export_int4, tight, data_dir, merge_dir, tmp_path, seed=1)
    plan = json.loads((tmp_path / "package/onnx/model_int8.json").read_text())
    assert len({part["file"] for product in plan["products"] for part in product["parts"]}) > 3
    assert {m.id: m.value for m in result.measurements}["gate.int8.unpacked"] == 0
