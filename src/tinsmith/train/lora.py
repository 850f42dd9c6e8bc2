"""Frozen linear layers with LoRA adapters, computed over packs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tinsmith.model.packed.attention import Allocate
from tinsmith.model.packed.decoder import PackedDecoder


@dataclass(frozen=True, slots=True)
class LoraLinear:
    """`x W^T + scaling (x A^T) B^T`. Only A and B are trained."""

    layer: Any
    """A PEFT LoRA layer around `torch.nn.Linear` or a packed 4-bit one."""

    @property
    def trained(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The factors A (r, D) and B (N, r)."""
        return self.layer.lora_A["default"].weight, self.layer.lora_B["default"].weight

    @property
    def scaling(self) -> float:
        return self.layer.scaling["default"]

    def weight(self) -> torch.Tensor:
        """The frozen weight (N, D), unpacked if it is stored in 4 bits."""
        weight = self.layer.base_layer.weight
        state = getattr(weight, "quant_state", None)
        if state is None:
            return weight
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(weight.data, state)

    def forward(self, allocate: Allocate, x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        a, b = self.trained
        low = torch.mm(x, a.T, out=allocate((len(x), len(a)), x.dtype))  # (T, r)
        out = torch.mm(x, self.weight().T, out=allocate((len(x), len(b)), x.dtype))
        if self.layer.base_layer.bias is not None:
            out.add_(self.layer.base_layer.bias)
        return out.addmm_(low, b.T, alpha=self.scaling), (low,)

    def backward(
        self,
        grad: torch.Tensor,
        x: torch.Tensor,
        kept: Sequence[torch.Tensor],
        grad_x: torch.Tensor | None,
        needs_grad_x: bool,
    ) -> tuple[torch.Tensor | None, tuple[torch.Tensor, ...]]:
        (low,) = kept
        a, b = self.trained
        grad_low = (grad @ b).mul_(self.scaling)  # (T, r)
        grad_adapter = (grad_low.T @ x, (low.T @ grad).mul_(self.scaling).T)
        if needs_grad_x:
            weight = self.weight()
            grad_x = grad @ weight if grad_x is None else grad_x.addmm_(grad, weight)
            grad_x.addmm_(grad_low, a)
        return grad_x, grad_adapter


def lora_decoder(model: Any, recomputed_layers: int = 0) -> PackedDecoder:
    """The decoder of a PEFT model, for packs, with its adapters active."""
    return PackedDecoder(model.get_base_model(), LoraLinear, recomputed_layers)
