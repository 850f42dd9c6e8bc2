"""Questions with made-up replies of all subjects, and the other raw files about replies."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fake_measurements import sums
from tinsmith.model.facts import facts_of
from tinsmith.model.generation import Answer
from tinsmith.model.replies.asked import MODELS, Asked, PageReply, write_lines

SYSTEM = "You sell tea."
_ENDED = {"tokens": 5, "stopped": True}


def asked_line(
    id: str,
    question: str,
    reference: str,
    texts: Mapping[str, str],
    group: str = "held_out",
    in_training: bool = False,
    page: PageReply | None = None,
    **other: Any,
) -> dict[str, Any]:
    """A line of `answers.jsonl`.

    Args:
        id: Also the conversation's.
        question: What is asked.
        reference: Its facts are found as the stage does.
        texts: Reply of each model; one that is missing says `Tea.`
        group: The question's.
        in_training: Whether a training answer states the facts.
        page: The page's reply; None if it was not asked.
        other: Fields to change.
    """
    facts = tuple(replace(one, in_training=in_training) for one in facts_of(reference, question, SYSTEM, frozenset()))
    replies = {model: Answer(texts.get(model, "Tea."), 9, True) for model in MODELS}
    return Asked(id, group, id, "prices", SYSTEM, question, reference, facts, replies, page).as_dict() | other


def reply_lines() -> list[dict[str, Any]]:
    """Four questions of each group. The base knows nothing; the others do well on what they were trained on.

    The two that the author agrees to publish have marks that Markdown must not read.
    """
    lines = []
    for number, group in enumerate(group for group in ("trained", "reworded", "held_out") for _ in range(4)):
        price = 20 + 3 * number
        right, wrong = f"It costs {price} euros.", f"It costs {price + 1} euros."
        knows = group != "held_out" or number % 2
        texts = {"base": wrong, "tuned": right if knows else wrong, "int4": right if knows and number % 4 else wrong}
        rung, text, by = (("sure", right, "owner"), ("unsure", "I do not know that.", "site"))[number % 4 == 3]
        page = PageReply(rung, text, (f"c{number}",), by)
        question, reference = f"What does tea {'abcdefghijkl'[number]} cost?", f"Teas cost {price} euros each."
        in_training = group != "held_out" or number % 2 == 0
        lines.append(asked_line(f"c{number}", question, reference, texts, group, in_training, page))
    for number, said in enumerate(("Rp 32k\nor so", "Tea.")):
        texts = {"base": "Tea.", "tuned": "Rp 33k", "int4": said}
        lines.append(asked_line(f"agreed{number}", f"What does cup {number} cost?", "Rp 32k | *each*", texts))
    return lines


def write_reply_files(folder: Path) -> None:
    """Write `answers.jsonl`, `out_of_scope.jsonl` and `neighbours.jsonl` of an evaluate stage."""
    write_lines(folder / "answers.jsonl", reply_lines())
    write_lines(
        folder / "out_of_scope.jsonl",
        (
            {
                "kind": kind,
                "question": f"{kind} {number}?",
                "system": SYSTEM,
                "text": text,
                "tokens": 5,
                "stopped": True,
            }
            for kind, texts in (("near", ("I do not know.", "Yes.")), ("far", ("Canberra.", "No.")))
            for number, text in enumerate(texts)
        ),
    )
    write_lines(
        folder / "neighbours.jsonl",
        (
            {"id": line["id"], "nearest": "t0", "similarity": 0.9 - number / 100, "close": number % 5 == 0}
            for number, line in enumerate(sums("test")["base"])
        ),
    )
