"""AdamW over float32 master copies of the adapters, and the learning-rate schedule."""

import math
from collections.abc import Mapping

import torch

from tinsmith.core.config import TrainConfig
from tinsmith.core.parallel import process_count, sum_over_processes


def learning_rate_at(step: int, total_steps: int, config: TrainConfig) -> float:
    """Learning rate of optimizer step `step`, counted from 0: linear warm-up to the peak, then the schedule.

    No rate is zero, not even in the first warm-up step or the last step of `cosine` and `linear`: no step is wasted.
    """
    warmup = round(config.warmup_fraction * total_steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, total_steps - warmup)
    share = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}[config.schedule]
    return config.learning_rate * share


class MasterAdamW:
    """AdamW with weights, gradient sums and moments in float32, while the model computes in its own format.

    bfloat16 has 8 significant bits: it would lose small updates, and small gradients added to large sums.

    Args:
        parameters: The model's trainable parameters by name, with their initial values.
        compute_dtype: Format that the model's own copies are converted to.
    """

    def __init__(
        self, parameters: Mapping[str, torch.nn.Parameter], compute_dtype: torch.dtype, config: TrainConfig
    ) -> None:
        self._live = dict(parameters)
        self._max_grad_norm = config.max_grad_norm
        self.masters = {name: torch.nn.Parameter(live.detach().float().clone()) for name, live in self._live.items()}
        self._adamw = torch.optim.AdamW(
            self.masters.values(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        for live in self._live.values():
            live.data = live.data.to(compute_dtype)

    def accumulate(self) -> None:
        """Add the model's gradients to the float32 sums, and clear them. Call it after every backward pass."""
        fresh = {name: live.grad for name, live in self._live.items() if live.grad is not None}
        masters = [self.masters[name] for name in fresh]
        gradients = [torch.empty_like(master) for master in masters]
        # One launch for many tensors: on a GPU, one for each would take longer than the pass.
        torch._foreach_copy_(gradients, list(fresh.values()))
        if sums := [master.grad for master in masters if master.grad is not None]:
            torch._foreach_add_(sums, gradients)
        else:
            for master, gradient in zip(masters, gradients, strict=True):
                master.grad = gradient
        for name in fresh:
            self._live[name].grad = None

    def sum_gradients(self, extra: float) -> float:
        """Sum gradients over all processes, and return the sum of their `extra`."""
        if process_count() == 1:
            return extra
        masters = list(self.masters.values())
        parts = [master.grad if master.grad is not None else torch.zeros_like(master) for master in masters]
        flat = torch.cat([*(part.reshape(-1) for part in parts), parts[0].new_tensor([extra])])
        sum_over_processes(flat)
        for master, part in zip(masters, flat[:-1].split([master.numel() for master in masters]), strict=True):
            master.grad = part.view(master.shape)
        return flat[-1].item()

    def step(self, learning_rate: float) -> float:
        """Update the weights from the summed gradients, and return the gradient norm before clipping.

        If the norm is not finite, no weight changes.
        """
        norm = torch.nn.utils.clip_grad_norm_(list(self.masters.values()), self._max_grad_norm).item()
        if math.isfinite(norm):
            for group in self._adamw.param_groups:
                group["lr"] = learning_rate
            self._adamw.step()
            self._publish()
        self._adamw.zero_grad(set_to_none=True)
        return norm

    def weights(self) -> dict[str, torch.Tensor]:
        """A copy of the float32 weights by name, on the CPU."""
        return {name: master.detach().cpu().clone() for name, master in self.masters.items()}

    def state(self) -> dict[str, torch.Tensor]:
        """AdamW's moments and step counts as flat tensors: `<name>|exp_avg`, `<name>|exp_avg_sq`, `<name>|step`."""
        return {
            f"{name}|{kind}": value.detach().cpu().clone()
            for name, master in self.masters.items()
            for kind, value in self._adamw.state[master].items()
        }

    def load(self, weights: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> None:
        """Restore `weights()` and `state()` of an earlier process."""
        with torch.no_grad():
            for name, master in self.masters.items():
                master.copy_(weights[name])
        for key, value in state.items():
            name, _, kind = key.rpartition("|")
            master = self.masters[name]
            # AdamW keeps its step count on the CPU on every device.
            self._adamw.state[master][kind] = value.clone() if kind == "step" else value.to(master.device)
        self._publish()

    def _publish(self) -> None:
        with torch.no_grad():
            torch._foreach_copy_(list(self._live.values()), [self.masters[name] for name in self._live])
