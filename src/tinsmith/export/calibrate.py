"""GPTQ: choose the integers so that each layer's outputs, not its weights, change least.

Layer by layer, the calibration conversations run through the already quantized part of the model; each matrix is
quantized column by column, and the error of a column is spread over the columns not yet done, weighed by how the
inputs correlate. The head goes first, on the full-precision model's final states, because the embedding shares its
storage and every layer's calibration should see the embedding that ships.

Source: GPTQ (arXiv 2210.17323); scales per block are chosen when its columns come up, as in its grouped variant.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from tinsmith.export.int4 import (
    BLOCK_SIZE,
    ZERO_POINT,
    Int4Matrix,
    block_scales,
    pack,
    round_to_nearest,
    to_integers,
    unpack,
)

_DAMPING = 0.01  # of the mean diagonal; keeps the Hessian invertible with few calibration tokens
_ROWS_AT_ONCE = 16384  # a 262,144-row head is quantized in pieces; rows do not depend on each other

# Matrices that share an input are quantized together, in the order the layer computes them.
_GROUPS = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
)


@torch.no_grad()
def calibrate(model: Any, token_ids: list[list[int]]) -> dict[str, Int4Matrix]:
    """Every matrix of `model` in INT4, by parameter name, calibrated on the given conversations.

    Args:
        model: A Transformers causal language model in float32 on the CPU; its weights are replaced by what the INT4
            matrices stand for, so it ends as the model that ships.
        token_ids: Calibration conversations, one list of ids each.
    """
    decoder = model.model
    with tqdm(total=len(decoder.layers) + 1, desc="GPTQ", unit="layer") as progress:
        layer_arguments, finals = _run_full_model(model, token_ids)
        quantized = _quantize_head(model, finals)
        progress.update()
        hidden = [decoder.embed_tokens(torch.tensor([ids])) for ids in token_ids]  # each (1, T, H)
        for index, layer in enumerate(decoder.layers):
            arguments = [per_layer[index] for per_layer in layer_arguments]
            for names in _GROUPS:
                linears = [layer.get_submodule(name) for name in names]
                hessian = _hessian(layer, linears[0], hidden, arguments)
                for name, linear in zip(names, linears, strict=True):
                    matrix = quantize_matrix(linear.weight, hessian)
                    linear.weight.copy_(torch.from_numpy(unpack(matrix)))
                    quantized[f"model.layers.{index}.{name}.weight"] = matrix
            hidden = [_output(layer(state, **kwargs)) for state, kwargs in zip(hidden, arguments, strict=True)]
            progress.update()
    return quantized


@torch.no_grad()
def round_all(model: Any) -> dict[str, Int4Matrix]:
    """Every matrix of `model` in INT4 by rounding to nearest; like `calibrate`, without looking at data."""
    quantized = {}
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            quantized[name] = round_to_nearest(weight)
            weight.copy_(torch.from_numpy(unpack(quantized[name])))
    return quantized


def quantize_matrix(weight: torch.Tensor, hessian: torch.Tensor) -> Int4Matrix:
    """GPTQ of one matrix.

    Args:
        weight: float32 (N, K).
        hessian: float64 (K, K), the sum of outer products of the matrix's inputs.
    """
    upper, importance = _inverse_factor(hessian)
    pieces = [_quantize_rows(rows, upper, importance) for rows in weight.detach().float().split(_ROWS_AT_ONCE)]
    integers = torch.cat([piece[0] for piece in pieces])
    scales = torch.cat([piece[1] for piece in pieces])
    return pack(integers.numpy(), scales.numpy())


def _inverse_factor(hessian: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Upper Cholesky factor of the damped inverse Hessian (K, K), and each column's cost (K), both float32."""
    damped = hessian.clone()
    diagonal = damped.diagonal()
    diagonal += _DAMPING * diagonal.mean() + 1e-8
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)
    return upper.float(), upper.diagonal().pow(-2).float()


def _quantize_rows(weight: torch.Tensor, upper: torch.Tensor, importance: torch.Tensor):
    """Integers (N, K) and scales (N, K / 32) of some rows."""
    # Worked on transposed, so that a column of the matrix is contiguous.
    remaining = weight.t().contiguous()  # (K, N)
    columns, rows = remaining.shape
    integers = torch.empty(columns, rows, dtype=torch.uint8)
    scales = torch.empty(columns // BLOCK_SIZE, rows)
    for start in range(0, columns, BLOCK_SIZE):
        stop = start + BLOCK_SIZE
        block = remaining[start:stop]  # (32, N), a view
        scale = block_scales(block.t().contiguous(), importance[start:stop])
        scales[start // BLOCK_SIZE] = scale
        errors = torch.empty_like(block)
        for offset in range(BLOCK_SIZE):
            column = start + offset
            chosen = to_integers(block[offset].unsqueeze(1), scale).squeeze(1)
            integers[column] = chosen.to(torch.uint8)
            errors[offset] = (block[offset] - (chosen - ZERO_POINT) * scale) / upper[column, column]
            if offset + 1 < BLOCK_SIZE:
                block[offset + 1 :].addr_(upper[column, column + 1 : stop], errors[offset], alpha=-1)
        if stop < columns:
            remaining[stop:].addmm_(upper[start:stop, stop:].t(), errors, alpha=-1)
    return integers.t().contiguous(), scales.t().contiguous()


def _quantize_head(model: Any, finals: list[torch.Tensor]) -> dict[str, Int4Matrix]:
    hessian = _outer_products(finals)
    embedding, head = model.model.embed_tokens.weight, model.lm_head.weight
    is_tied = embedding.data_ptr() == head.data_ptr()
    matrix = quantize_matrix(head, hessian)
    head.copy_(torch.from_numpy(unpack(matrix)))
    if is_tied:
        return {"model.embed_tokens.weight": matrix}
    rounded = round_to_nearest(embedding)
    embedding.copy_(torch.from_numpy(unpack(rounded)))
    return {"lm_head.weight": matrix, "model.embed_tokens.weight": rounded}


def _run_full_model(model: Any, token_ids: list[list[int]]) -> tuple[list[list[dict]], list[torch.Tensor]]:
    """Per conversation: the keyword arguments each layer gets, and the final normed states (1, T, H)."""
    arguments, finals = [], []
    with _recorded_arguments(model.model.layers) as seen:
        for ids in token_ids:
            seen.clear()
            finals.append(model.model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state)
            arguments.append(list(seen))
    return arguments, finals


@contextmanager
def _recorded_arguments(layers: nn.ModuleList) -> Iterator[list[dict]]:
    """A list that gets each layer's keyword arguments in order; masks and rotations are shared, not copied."""
    seen: list[dict] = []
    hooks = [
        layer.register_forward_pre_hook(lambda module, args, kwargs: seen.append(kwargs), with_kwargs=True)
        for layer in layers
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


class _InputReached(Exception):
    """Ends a layer's forward pass once the wanted input has been seen; what follows would be thrown away."""


def _hessian(layer: nn.Module, linear: nn.Module, hidden: list[torch.Tensor], arguments: list[dict]) -> torch.Tensor:
    """Sum over all calibration tokens of the outer product of `linear`'s input with itself: float64 (K, K)."""
    inputs: list[torch.Tensor] = []

    def record(module, args):
        inputs.append(args[0])
        raise _InputReached

    hook = linear.register_forward_pre_hook(record)
    try:
        for state, kwargs in zip(hidden, arguments, strict=True):
            try:
                layer(state, **kwargs)
            except _InputReached:
                pass
    finally:
        hook.remove()
    return _outer_products(inputs)


def _outer_products(inputs: list[torch.Tensor]) -> torch.Tensor:
    size = inputs[0].shape[-1]
    total = torch.zeros(size, size, dtype=torch.float64)
    for states in inputs:
        flat = states.reshape(-1, size).float()
        total += flat.t() @ flat
    return total


def _output(result: Any) -> torch.Tensor:
    return result[0] if isinstance(result, tuple) else result
