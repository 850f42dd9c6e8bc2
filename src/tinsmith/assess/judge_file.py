"""What a judge has replied so far, kept in the run, so that no question is asked twice."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tinsmith.core.errors import ArtifactError, UserError
from tinsmith.core.run_dir import NO_FOLLOW, read_json, write_json, write_text
from tinsmith.core.writers import is_loopback

RECORD_FILE = "judge.json"
REPLIES_FILE = "replies.jsonl"


@dataclass(frozen=True, slots=True)
class Judge:
    """Who judges, and how much."""

    model: str
    """Name of the model, as the endpoint knows it."""
    host: str
    """Name of the endpoint's host; `this machine` for a loopback address."""
    groups: tuple[str, ...]
    """Groups of items to judge."""
    items: int
    """Items to judge at most."""
    prompts_sha256: str
    """Digest of the prompts' words, from `prompts_sha256`."""
    answered_as: tuple[str, ...] = ()
    """Names that the endpoint gave its model in replies, sorted."""
    last_asked: str = ""
    """Day of the last call, such as `2026-05-01`; empty before the first one."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A judge's reply to one call."""

    key: str
    """`Call.key`."""
    text: str
    answered_as: str
    """The model's name in the endpoint's reply."""
    input_tokens: int
    output_tokens: int


def host_of(address: str) -> str:
    """Name of an endpoint's host, without user and port; `this machine` for a loopback address."""
    return "this machine" if is_loopback(address) else urlsplit(address).hostname or ""


class Judgements:
    """The folder with a judge's record and replies. Only one judge's at a time."""

    def __init__(self, folder: Path) -> None:
        self._record_path = folder / RECORD_FILE
        self._replies_path = folder / REPLIES_FILE

    def judge(self) -> Judge | None:
        """Who has judged; None if nobody has.

        Raises:
            ArtifactError: the record is not one.
        """
        if not self._record_path.exists():
            return None
        try:
            fields = read_json(self._record_path)
            lists = {name: tuple(fields[name]) for name in ("groups", "answered_as")}
            return Judge(**fields | lists)
        except (TypeError, KeyError, AttributeError) as error:
            raise ArtifactError(f"{self._record_path}: not a judge's record ({error})", self._again()) from error

    def replies(self) -> dict[str, Reply]:
        """Every reply by its key. A last line that a kill cut off does not count.

        Raises:
            ArtifactError: a line is not a reply.
        """
        if not self._replies_path.exists():
            return {}
        replies = {}
        for number, line in enumerate(self._replies_path.read_bytes().split(b"\n")[:-1], start=1):
            try:
                reply = Reply(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise ArtifactError(f"{self._replies_path}:{number}: not a reply ({error})", self._again()) from error
            replies[reply.key] = reply
        return replies

    def require_same(self, judge: Judge) -> None:
        """Stop if another judge has judged.

        Raises:
            UserError: another model has judged, or the same one elsewhere.
        """
        earlier = self.judge()
        if earlier and (earlier.model, earlier.host) != (judge.model, judge.host):
            raise UserError(
                f"{self._record_path.parent}: {earlier.model} on {earlier.host} has judged this run, and scores of "
                "two judges are not mixed",
                f"To ask {judge.model} instead, delete that folder.",
            )

    def begin(self, judge: Judge) -> None:
        """Note who judges what, before the first call.

        Raises:
            UserError: another judge has judged.
        """
        self.require_same(judge)
        if self._replies_path.exists():
            whole, newline, cut = self._replies_path.read_bytes().rpartition(b"\n")
            if cut:
                write_text(self._replies_path, (whole + newline).decode())
        earlier = self.judge() or judge
        kept = {"answered_as": earlier.answered_as, "last_asked": earlier.last_asked}
        write_json(self._record_path, asdict(judge) | kept)

    def add(self, reply: Reply) -> None:
        """Append one reply, so that it survives a kill."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | NO_FOLLOW
        with os.fdopen(os.open(self._replies_path, flags, 0o666), "ab") as file:
            file.write(json.dumps(asdict(reply), ensure_ascii=False).encode() + b"\n")

    def end(self, judge: Judge, day: str) -> None:
        """Note as what the endpoint's model answered, and when."""
        names = sorted({reply.answered_as for reply in self.replies().values()})
        write_json(self._record_path, asdict(judge) | {"answered_as": names, "last_asked": day})

    def _again(self) -> str:
        return f"Delete the folder {self._record_path.parent} and judge again: tinsmith judge RUN"
