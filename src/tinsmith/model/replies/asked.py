"""Questions with every subject's reply: one line each in `evaluate/answers.jsonl`."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinsmith.core.errors import ArtifactError
from tinsmith.core.run_dir import write_text
from tinsmith.model.facts import Fact
from tinsmith.model.generation import Answer

GROUPS = ("trained", "reworded", "held_out")
"""`trained`: first questions of training conversations, word for word. `reworded`: other words for what a training
answer answers. `held_out`: first questions of test conversations."""

MODELS = ("base", "tuned", "int4")
PAGE = "page"
SUBJECTS = (*MODELS, PAGE)
"""Who is asked."""

UNKNOWN_RUNG = "unsure"
SMALL_TALK_RUNG = "small_talk"

_AGAIN = "Run again: tinsmith run --from evaluate --force"


@dataclass(frozen=True, slots=True)
class PageReply:
    """What the chat page replies."""

    rung: str
    """`sure`, `likely`, `unsure`, or `small_talk` for a greeting or a question about the page itself."""
    text: str
    """What the visitor reads first: the best passage, the text for unknown questions, or the model's words."""
    passages: tuple[str, ...]
    """Ids of the passages that a visitor can choose from, best first."""
    by: str
    """Whose words `text` is: `owner` (a passage), `model`, or `site` (a fixed reply that states nothing)."""

    @property
    def claims(self) -> str:
        """The part of `text` that states something about the question."""
        return "" if self.by == "site" else self.text


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, what a right reply states, and each subject's reply."""

    id: str
    """Unique in a run."""
    group: str
    """One of `GROUPS`."""
    conversation: str
    """Id of the conversation that the reference comes from. Its questions are not independent."""
    category: str
    system: str
    """System message before the question; empty for none."""
    question: str
    reference: str
    """The answer in the data."""
    facts: tuple[Fact, ...]
    """Of the reference."""
    replies: dict[str, Answer]
    """By model."""
    page: PageReply | None
    """None if the page has no passages."""

    def text(self, subject: str) -> str | None:
        """What a subject states; None if it was not asked."""
        if subject == PAGE:
            return self.page.claims if self.page else None
        return self.replies[subject].text

    def as_dict(self) -> dict[str, Any]:
        """The line of `answers.jsonl` as a JSON object."""
        keys = ("id", "group", "conversation", "category", "system", "question", "reference")
        replies = {model: asdict(reply) for model, reply in self.replies.items()}
        return (
            {key: getattr(self, key) for key in keys}
            | {"facts": [fact.as_dict() for fact in self.facts]}
            | replies
            | {PAGE: asdict(self.page) if self.page else None}
        )


def asked_of(record: dict[str, Any], where: str) -> Asked:
    """The question that `Asked.as_dict` turned into `record`.

    Args:
        record: A line of the file.
        where: File and line, for the message.

    Raises:
        ArtifactError: a key is missing or has another type.
    """
    try:
        page = record[PAGE]
        return Asked(
            record["id"],
            record["group"],
            record["conversation"],
            record["category"],
            record["system"],
            record["question"],
            record["reference"],
            tuple(Fact.from_dict(fact) for fact in record["facts"]),
            {model: Answer(**record[model]) for model in MODELS},
            PageReply(**page | {"passages": tuple(page["passages"])}) if page else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ArtifactError(f"{where}: not an asked question ({error!r})", _AGAIN) from error


def all_asked(records: Sequence[dict[str, Any]], where: str = "evaluate/answers.jsonl") -> list[Asked]:
    """The questions of all lines of a file.

    Raises:
        ArtifactError: a line is not an asked question.
    """
    return [asked_of(record, f"{where}:{number}") for number, record in enumerate(records, start=1)]


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object per line."""
    write_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
