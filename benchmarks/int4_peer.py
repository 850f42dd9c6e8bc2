"""Quantize one model with another project's INT4. Usage: python int4_peer.py METHOD MODEL_DIR CALIBRATION.json OUT_DIR

METHOD is `ort_rtn`, `ort_k_quant`, `hqq` or `autoround`, each with 4 bits and blocks of 32. OUT_DIR gets
`weights.safetensors`, the dequantized matrices under the model's parameter names, and `result.json` with their size.

A tied head and embedding are quantized once, by the same method. AutoRound skips them, so they get ONNX Runtime's RTN.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

BLOCK_SIZE = 32


def main() -> None:
    method, model_dir, calibration, out_dir = sys.argv[1], *map(Path, sys.argv[2:])
    weights = {}
    for path in sorted(model_dir.glob("*.safetensors")):
        weights |= {name: tensor.float() for name, tensor in load_file(path).items() if tensor.dim() == 2}
    if method == "autoround":
        values, size_bytes = autoround(model_dir, json.loads(calibration.read_text()), weights)
    else:
        quantize: Callable = {"ort_rtn": ort, "ort_k_quant": ort, "hqq": hqq}[method]
        values, size_bytes = {}, 0
        for name, weight in weights.items():
            values[name], count = quantize(method, weight)
            size_bytes += count
    save_file({name: tensor.contiguous() for name, tensor in values.items()}, out_dir / "weights.safetensors")
    (out_dir / "result.json").write_text(json.dumps({"weights_bytes": size_bytes, "packages": packages()}))


def ort(method: str, weight: torch.Tensor) -> tuple[torch.Tensor, int]:
    """One matrix (N, K) as ONNX Runtime's MatMulNBitsQuantizer rounds it, and the bytes of its tensors."""
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization import matmul_nbits_quantizer as nbits

    rows, columns = weight.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["t", columns])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["t", rows])],
        [numpy_helper.from_array(np.ascontiguousarray(weight.numpy().T), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    symmetric = method == "ort_rtn"
    algorithm = None if symmetric else nbits.KQuantWeightOnlyQuantConfig()
    quantizer = nbits.MatMulNBitsQuantizer(model, block_size=BLOCK_SIZE, is_symmetric=symmetric, algo_config=algorithm)
    quantizer.process()
    quantized = quantizer.model.model
    (node,) = [node for node in quantized.graph.node if node.op_type == "MatMulNBits"]
    arrays = {one.name: numpy_helper.to_array(one) for one in quantized.graph.initializer}
    packed, scales, *zeros = [arrays[name] for name in node.input[1:] if name]
    blocks = columns // BLOCK_SIZE
    integers = nibbles(packed.reshape(rows, -1)).reshape(rows, blocks, BLOCK_SIZE).astype(np.float32)
    zero = nibbles(zeros[0].reshape(rows, -1))[:, :blocks, None] if zeros else 8
    values = (integers - zero) * scales.reshape(rows, blocks, 1)
    return torch.from_numpy(values.reshape(rows, columns)), sum(a.nbytes for a in (packed, scales, *zeros))


def nibbles(packed: np.ndarray) -> np.ndarray:
    """Unpack (rows, bytes) to (rows, 2 * bytes), the low half of each byte first."""
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1)


def hqq(method: str, weight: torch.Tensor) -> tuple[torch.Tensor, int]:
    """One matrix as HQQ rounds it, and its bytes with a float32 scale and zero point for each block."""
    from hqq.core.quantize import Quantizer

    packed, meta = Quantizer.quantize(
        weight, nbits=4, group_size=BLOCK_SIZE, axis=1, optimize=True, compute_dtype=torch.float32, device="cpu"
    )
    values = Quantizer.dequantize(packed, meta).reshape(weight.shape).float()
    return values, weight.numel() // 2 + 2 * 4 * weight.numel() // BLOCK_SIZE


def autoround(
    model_dir: Path, conversations: list[list[int]], weights: dict[str, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], int]:
    """All matrices as AutoRound rounds them in its default 200 iterations, calibrated on the same conversations."""
    from auto_round import AutoRound
    from transformers import AutoModelForCausalLM, AutoTokenizer

    joined = [token for ids in conversations for token in ids]
    length = 512
    samples = [torch.tensor([joined[at : at + length]]) for at in range(0, len(joined) - length + 1, length)]
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.bfloat16)
    rounding = AutoRound(
        model,
        AutoTokenizer.from_pretrained(model_dir),
        bits=4,
        group_size=BLOCK_SIZE,
        sym=True,
        dataset=samples,
        seqlen=length,
        nsamples=len(samples),
        batch_size=4,
        device_map="cpu",
    )
    quantized, _ = rounding.quantize()
    values, size_bytes = {}, 0
    parameters = dict(quantized.named_parameters())
    for name, weight in weights.items():
        if "layers." in name:
            values[name] = parameters[name].detach().float()
            size_bytes += weight.numel() // 2 + 4 * weight.numel() // BLOCK_SIZE
        else:
            values[name], count = ort("ort_rtn", weight)
            size_bytes += count
    return values, size_bytes


def packages() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in ("torch", "transformers", "onnxruntime", "hqq", "auto-round"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


if __name__ == "__main__":
    main()
