"""One process's part of a training that may take several: where it stands, and what is saved of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinsmith.core.device import PeakMemory
from tinsmith.core.parallel import is_leader
from tinsmith.core.stage_context import Say

if TYPE_CHECKING:
    from tinsmith.train.loop import Progress
    from tinsmith.train.optimizer import MasterAdamW

Adapter = dict[str, Any]
"""Float32 tensors by parameter name."""


@dataclass
class Session:
    """This process's part of a training that may take several."""

    root: Path
    key: str
    started: float
    peak: PeakMemory
    before_seconds: float = 0.0
    """Time of earlier processes, each counted to its last checkpoint."""

    def resume(self, optimizer: "MasterAdamW", say: Say) -> tuple["Progress", Adapter]:
        """Progress and best adapter of the newest usable checkpoint, the optimizer put back; else a fresh start."""
        from tinsmith.train.checkpoint import newest_checkpoint
        from tinsmith.train.loop import Progress

        found = newest_checkpoint(self.root, self.key, say)
        if found is None:
            return Progress(), {}
        progress = Progress(**found.state["progress"])
        progress.resumed += 1
        optimizer.load(found.tensors["adapter"], found.tensors["optimizer"])
        self.before_seconds = progress.elapsed_seconds
        say(f"continuing after step {progress.step}")
        return progress, found.tensors.get("best", {})

    def update(self, progress: "Progress") -> None:
        """Bring time and peak memory in `progress` up to now."""
        progress.elapsed_seconds = self.before_seconds + time.monotonic() - self.started
        progress.peak_memory_bytes = max(progress.peak_memory_bytes, self.peak.read_bytes())

    def checkpointer(self, optimizer: "MasterAdamW", progress: "Progress", best: Adapter) -> Callable[[], None]:
        """A function that saves everything as it is when called; the leader's saves for all."""
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
