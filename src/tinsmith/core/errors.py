"""Errors that a user can act on: what is wrong, where, what was found, what to do.

The command line prints `message` and `hint` to stderr and exits with code 2; `--debug` shows the traceback.
Library code raises these and never prints or exits.
"""

from collections.abc import Sequence


class UserError(Exception):
    """Something the person running tinsmith can fix.

    Args:
        message: What is wrong, where, and what was found instead.
        hint: What to do about it; one sentence or a command to type.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(UserError):
    """An invalid `tinsmith.toml` or `--set`."""


class DataError(UserError):
    """Conversations that cannot be used."""


class BaseModelError(UserError):
    """A base model that cannot be found, verified, or used."""


class FetchError(UserError):
    """A package that cannot be downloaded, or whose files are not the pinned ones."""


class EndpointError(UserError):
    """An endpoint that cannot be reached, refuses a request, or sends an unusable reply."""


class MissingDependency(UserError):
    """A program or package that a step needs is not installed."""


class ArtifactError(UserError):
    """A file in a run folder is missing, incomplete, or not what was recorded."""


class GateError(UserError):
    """A gate failed, so the run stops instead of shipping a wrong model."""


def listing(problems: Sequence[str], shown: int = 20, count: int | None = None) -> str:
    """The first `shown` problems as indented lines, and how many more there are; `count` is the number of all."""
    lines = [f"  {problem}" for problem in problems[:shown]]
    more = (len(problems) if count is None else count) - len(lines)
    if more > 0:
        lines.append(f"  ... and {more} more")
    return "\n".join(lines)
