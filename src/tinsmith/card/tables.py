"""Tables of EVIDENCE.md that show several models side by side: losses, facts, replies and grades."""

from typing import Any

from tinsmith.card.facts import Facts
from tinsmith.card.judge import judge_lines
from tinsmith.model.grades import CRITERIA

Row = dict[str, str]

SUBJECTS = ("base", "tuned", "int4", "page")
"""Whose reply it is. The page's is what a visitor reads: the owner's text, "I do not know", or the model's words."""

_LOSSES = (
    ("Loss, training text", "evaluate.loss.train"),
    ("Loss, validation text", "evaluate.loss.val"),
    ("Loss, test text", "evaluate.loss.test"),
    ("Perplexity, test text", "evaluate.perplexity.test"),
    ("Bits per byte, test text", "evaluate.bits_per_byte.test"),
)
_FACTS = (
    ("Questions it was trained on", "trained"),
    ("The same in other words", "reworded"),
    ("Test questions, facts that training answers state", "held_out_seen"),
    ("Test questions, facts that it was never shown", "held_out_new"),
    ("Of the numbers in the replies, wrong ones", "wrong_numbers"),
)
_REPLIES = {"stop_rate": "Stopped by itself", "repetition_rate": "Repeated itself", "length": "Length"}
_CONTROLS = {
    "reversed": "the right answer with its numbers in reverse order",
    "swapped": "the right answer with the facts of another question",
    "negated": "the right answer denied",
    "soup": "numbers alone",
}
_GRADES = {"accuracy": "Accuracy", "quality": "Quality", "factual": "Factual correctness"}
_JUDGES = {"review": "people", "judge": "a language model"}


def table_variables(facts: Facts) -> dict[str, Any]:
    """Variables of `evidence.md.j2`."""
    return {
        "loss_rows": [{"metric": title, **_row(facts, prefix)} for title, prefix in _LOSSES],
        "fact_rows": _measured(facts, {f"evaluate.facts.{group}": what for what, group in _FACTS}),
        "fact_controls": _controls(facts),
        "reply_rows": _measured(facts, _reply_names(facts)),
        "grade_rows": [
            {**row, "who": who}
            for source, who in _JUDGES.items()
            for row in _measured(facts, {f"{source}.{key}": _GRADES[key] for key in CRITERIA})
        ],
        "judge_lines": judge_lines(facts),
    }


def _measured(facts: Facts, names: dict[str, str]) -> list[Row]:
    """One row per prefix of ids that any subject was measured for."""
    return [
        {"what": what, **_row(facts, prefix)}
        for prefix, what in names.items()
        if any(facts.has(f"{prefix}.{subject}") for subject in SUBJECTS)
    ]


def _row(facts: Facts, prefix: str) -> Row:
    """The number of each subject, and what the last of them was measured on."""
    row = {"on": ""}
    for subject in SUBJECTS:
        id = f"{prefix}.{subject}"
        if subject == "page" and not facts.evidence.measurements.get(id):
            row[subject] = ""
            continue
        row[subject] = facts.cell(id)
        row["on"] = facts.rests_on(id) or row["on"]
    return row


def _reply_names(facts: Facts) -> dict[str, str]:
    prefix = "evaluate.answers."
    names = {id.split(".")[2]: id for id in facts.evidence.measurements if id.startswith(prefix)}
    return {f"{prefix}{name}": _REPLIES.get(name, name.replace("_", " ").capitalize()) for name in names}


def _controls(facts: Facts) -> list[Row]:
    ids = {f"evaluate.facts.control.{name}": what for name, what in _CONTROLS.items()}
    return [{"what": what, "share": facts.cell(id)} for id, what in ids.items() if facts.has(id)]
