"""Judges made of a few lines, and answers for them to judge."""

import json
import re
from pathlib import Path

from tinsmith.assess.items import Item

_PARTS = {
    part: re.compile(f"<{part}>\n(.*?)\n</{part}>", re.DOTALL) for part in ("reference", "reply", "first", "second")
}


def answers(count: int = 40) -> list[dict]:
    """Rows of `answers.jsonl`: base is never right, tuned always, int4 for half of them, the page where it is sure."""
    rows = []
    for number in range(count):
        reference = f"Cup {number + 100} costs {7 * number + 200} kr and holds {3 * number + 21} ml."
        wrong = f"Cup {number + 100} costs {7 * number + 201} kr and holds {3 * number + 21} ml."
        replies = {"base": "I like tea.", "tuned": reference, "int4": wrong if number % 2 else reference}
        page = {"rung": "sure", "text": reference, "passages": [], "by": "owner"} if number % 4 else None
        rows.append(
            {
                "id": f"cup-{number}",
                "group": "trained" if number % 2 else "held_out",
                "conversation": f"cup-{number}",
                "category": "cups",
                "system": "You are the shop's secret helper.",
                "question": f"What does cup {number + 100} cost?",
                "reference": reference,
                "facts": [],
                **{subject: {"text": text, "tokens": 9, "stopped": True} for subject, text in replies.items()},
                "page": page,
            }
        )
    return rows


def write_answers(folder: Path, rows: list[dict]) -> None:
    """`answers.jsonl` as the evaluate stage leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "answers.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def item(number: int, reference: str, names: tuple[str, ...] = ()) -> Item:
    """An item whose facts are these names."""
    facts = tuple({"kind": "name", "text": name} for name in names)
    replies = {"base": "", "tuned": reference, "int4": reference}
    return Item(f"i{number}", "held_out", f"Question {number}?", reference, facts, replies)


def part(prompt: str, name: str) -> str:
    """What stands between two tags of a prompt."""
    return _PARTS[name].search(prompt)[1]


def good(prompt: str) -> str:
    """Accepts what says the same as the reference, however long."""
    reference = part(prompt, "reference")
    if "<first>" in prompt:
        right = [part(prompt, name).startswith(reference) for name in ("first", "second")]
        return graded({(True, False): "1", (False, True): "2"}.get(tuple(right), "0"))
    is_right = part(prompt, "reply").startswith(reference)
    return graded(("5" if is_right else "1") if "- 5:" in prompt else "yes" if is_right else "no")


def lazy(prompt: str) -> str:
    """Accepts everything, and prefers what stands first."""
    return graded("5" if "- 5:" in prompt else "1" if "<first>" in prompt else "yes")


def strict(prompt: str) -> str:
    """Rejects everything."""
    return graded("1" if "- 5:" in prompt else "0" if "<first>" in prompt else "no")


def fond_of_length(prompt: str) -> str:
    """A good judge who grades the longer of two good replies higher."""
    if "- 5:" not in prompt or "no" in good(prompt) or good(prompt).endswith("1"):
        return good(prompt)
    return graded("5" if len(part(prompt, "reply")) > len(part(prompt, "reference")) else "4")


def mute(prompt: str) -> str:
    """Says something that is no grade."""
    return "This reply is about cups."


def graded(word: str) -> str:
    return f"The reply was compared with the reference.\nGrade: {word}"
