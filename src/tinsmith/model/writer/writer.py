"""The interface of a writer, and the writer that a configuration names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tinsmith.core.config import AnswersConfig
from tinsmith.core.writers import is_loopback
from tinsmith.model.conversations import Message
from tinsmith.model.writer.base import BaseWriter
from tinsmith.model.writer.endpoint import Endpoint


class Writer(Protocol):
    """A language model that replies to prompts."""

    @property
    def origin(self) -> str:
        """Value of `Question.origin` for its questions."""

    def replies(self, prompts: Sequence[Sequence[Message]], max_tokens: int, label: str) -> list[str]:
        """A reply to each prompt, in order; empty where there is none.

        Args:
            prompts: Messages of each, the last one the user's.
            max_tokens: Longest reply.
            label: Names the progress bar.

        Raises:
            EndpointError: an endpoint failed.
        """
        ...


def open_writer(config: AnswersConfig, base_dir: Path) -> BaseWriter | Endpoint | None:
    """The writer that `answers.writer` names; None for rules. Loads and sends nothing yet.

    Args:
        config: The section `answers`.
        base_dir: Folder of the base stage.

    Raises:
        EndpointError: the endpoint's key cannot be sent.
    """
    if config.writer == "rules":
        return None
    if config.writer == "base":
        return BaseWriter(base_dir / "model")
    return Endpoint(config.writer, config.writer_model)


def disclosure(writer: Writer | None, passages: int) -> str:
    """A line that tells the owner where their texts are sent; empty if they are sent nowhere."""
    if not isinstance(writer, Endpoint):
        return ""
    where = "on this machine" if is_loopback(writer.address) else "which may keep them"
    what = f"up to {passages} passages with their titles"
    return f"sending {what} to {writer.address} ({writer.model}), {where}, as answers.writer says"
