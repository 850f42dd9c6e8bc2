"""Numbers of the evaluate stage."""

from typing import Any

from tinsmith.core.intervals import clustered_wilson, wilson
from tinsmith.core.measure import Gate
from tinsmith.derive.differences import DIFFERENCE_RULES
from tinsmith.derive.files import Files
from tinsmith.derive.losses import LOSS_RULES
from tinsmith.derive.replies import REPLY_RULES
from tinsmith.derive.rules import Derived, Rule
from tinsmith.model.answers.judge import passage_key
from tinsmith.model.answers.questions import Question
from tinsmith.model.replies.asked import MODELS

CLOSED_BOOK = "evaluate/closed_book.jsonl"
RECITED = "evaluate/recited.jsonl"
TOKENS = "evaluate/tokens.json"


def differing_tokens(files: Files) -> Derived:
    """Conversations for which the package's tokenizer and chat template give other ids than the base's."""
    record = files.json(TOKENS)
    gate: Gate = {"op": "==", "bound": 0}
    return Derived(len(record["different"]), "count", record["conversations"], "conversations", gate=gate)


def closed_book_share(files: Files, subject: str) -> Derived:
    """Share of known questions that the model alone (`right`) or the page (`page_right`) answers right."""
    lines = files.lines(CLOSED_BOOK)
    flags = [bool(line[subject]) for line in lines]
    interval = clustered_wilson(flags, [_passage(line) for line in lines])
    return Derived(sum(flags) / len(flags), "fraction", len(flags), "questions", interval)


def recited_share(files: Files, split: str, model: str) -> Derived:
    """Share of a split's private values that a model states when it reads what stands before them."""
    flags = [line[model] for line in files.lines(RECITED) if line["split"] == split]
    return Derived(sum(flags) / len(flags), "fraction", len(flags), "values", wilson(sum(flags), len(flags)))


def _differing(files: Files) -> str:
    names = ", ".join(files.json(TOKENS)["different"][:5])
    return f"Conversations that differ: {names}. Run the export stage again with --force."


def _passage(line: dict[str, Any]) -> str:
    return passage_key(Question(line["question"], id=line["id"], must_state=tuple(line["must_state"])))


def _closed_book(files: Files) -> list[dict[str, str]]:
    return [{"subject": name} for name in ("right", "page_right")] if files.has(CLOSED_BOOK) else []


def _recited(files: Files) -> list[dict[str, str]]:
    splits = sorted({line["split"] for line in files.lines(RECITED)}) if files.has(RECITED) else []
    return [{"split": split, "model": model} for split in splits for model in MODELS]


RULES = (
    Rule(
        "gate.evaluate.tokens",
        TOKENS,
        differing_tokens,
        hint=_differing,
    ),
    *LOSS_RULES,
    *REPLY_RULES,
    Rule("evaluate.closed_book.{subject}", CLOSED_BOOK, closed_book_share, _closed_book),
    Rule("evaluate.recited.{split}.{model}", RECITED, recited_share, _recited),
    *DIFFERENCE_RULES,
)
