"""Resumes a training, saves its checkpoints, and measures its time, memory and energy."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinsmith.core.device import PeakMemory
from tinsmith.core.energy import Energy, EnergyMeter
from tinsmith.core.parallel import is_leader
from tinsmith.core.stage_context import Say

if TYPE_CHECKING:
    from tinsmith.train.loop import Progress
    from tinsmith.train.optimizer import MasterAdamW

Adapter = dict[str, Any]
"""Float32 tensors by parameter name."""


@dataclass
class Session:
    """One process's part of a training. Earlier processes of the same training may have been killed."""

    root: Path
    key: str
    started: float
    peak: PeakMemory
    meter: EnergyMeter
    before_seconds: float = 0.0
    """Time of earlier processes, each up to its last checkpoint."""
    before_energy: Energy | None = None
    """Their energy; None if there were none."""

    def resume(self, optimizer: "MasterAdamW", say: Say) -> tuple["Progress", Adapter]:
        """Restore the optimizer from the newest usable checkpoint, and return its progress and best adapter.

        Without a checkpoint, progress is fresh and there is no best adapter.
        """
        from tinsmith.train.checkpoint import newest_checkpoint
        from tinsmith.train.loop import Progress

        checkpoint = newest_checkpoint(self.root, self.key, say)
        if checkpoint is None:
            return Progress(), {}
        progress = Progress(**checkpoint.state["progress"])
        progress.resumed += 1
        optimizer.load(checkpoint.tensors["adapter"], checkpoint.tensors["optimizer"])
        self.before_seconds = progress.elapsed_seconds
        self.before_energy = Energy(**progress.energy) if progress.energy else None
        say(f"continuing after step {progress.step}")
        return progress, checkpoint.tensors.get("best", {})

    def update(self, progress: "Progress") -> None:
        """Update elapsed time, peak memory and energy in `progress`."""
        progress.elapsed_seconds = self.before_seconds + time.monotonic() - self.started
        progress.peak_memory_bytes = max(progress.peak_memory_bytes, self.peak.read_bytes())
        energy = self.meter.read()
        progress.energy = asdict(self.before_energy.plus(energy) if self.before_energy else energy)

    def checkpointer(self, optimizer: "MasterAdamW", progress: "Progress", best: Adapter) -> Callable[[], None]:
        """A function that saves the current state. Only the leader writes."""
        from tinsmith.train.checkpoint import save_checkpoint

        def save() -> None:
            if not is_leader():
                return
            self.update(progress)
            tensors = {"adapter": optimizer.weights(), "optimizer": optimizer.state()} | (
                {"best": best} if best else {}
            )
            save_checkpoint(self.root, progress.step, {"key": self.key, "progress": progress.as_dict()}, tensors)

        return save

    def clear(self) -> None:
        """Remove the checkpoints of a finished training."""
        from tinsmith.train.checkpoint import remove_checkpoints

        remove_checkpoints(self.root)
