"""Tables of EVIDENCE.md that show several models side by side: losses, facts, replies and grades."""

from typing import Any

from tinsmith.card.facts import Facts, plain
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
_CLEAN = "Perplexity, test text without close neighbours in training"
_GROUPS = {
    "trained": "Questions it was trained on",
    "reworded": "The same in other words",
    "held_out_seen": "Test questions, facts that training answers state",
    "held_out_seen_clean": "The same, without close neighbours in training",
    "held_out_new": "Test questions, facts that it was never shown",
    "held_out_new_clean": "The same, without close neighbours in training",
}
_REPLIES = {
    "evaluate.facts.wrong_numbers": "Of the numbers, wrong ones",
    "evaluate.answers.stop_rate": "Stopped by themselves",
    "evaluate.answers.repetition_rate": "Repeated themselves",
    "evaluate.answers.format_valid": "Of the right form, where training answers have one",
    "evaluate.answers.length": "Words, median",
    "evaluate.memorised.trained": "Repeat a training answer at length",
    "evaluate.memorised.held_out": "Repeat a test answer at length",
    "evaluate.recited.train": "Go on with a private value of the training data, given what stands before it",
    "evaluate.recited.test": "The same with test data, which no model was trained on",
    "evaluate.refused.near": "Admit not to know, questions on the subject that no text answers",
    "evaluate.refused.far": "Admit not to know, questions about something else",
}
_CONTROLS = {
    "reversed": "the right answer with its numbers in reverse order",
    "swapped": "the right answer with the facts of another question",
    "negated": "the right answer denied",
    "soup": "numbers alone",
}
_PAIRS = {
    "tuned_minus_base": "fine-tuned minus base",
    "int4_minus_tuned": "INT4 minus fine-tuned",
    "page_minus_int4": "the page minus INT4",
}
_MAX_P_VALUE = 0.05
_GRADES = {"accuracy": "Accuracy", "quality": "Quality", "factual": "Factual correctness"}
_JUDGES = {"review": "people", "judge": "a language model"}


def table_variables(facts: Facts) -> dict[str, Any]:
    """Variables of `evidence.md.j2`."""
    return {
        "loss_rows": [
            *({"what": what, **_row(facts, prefix)} for what, prefix in _LOSSES),
            *_measured(facts, {"evaluate.perplexity.test_clean": _CLEAN}),
        ],
        "fact_rows": _fact_rows(facts),
        "reworded_source": _reworded_source(facts),
        "contradicted_rows": _measured(
            facts, {f"evaluate.contradicted.{group}": what for group, what in _GROUPS.items()}
        ),
        "fact_controls": _controls(facts),
        "reply_rows": _measured(facts, _REPLIES),
        "difference_rows": _differences(facts),
        "category_sentence": _category_sentence(facts),
        "grade_rows": [
            {**row, "who": who}
            for source, who in _JUDGES.items()
            for row in _measured(facts, {f"{source}.{key}": _GRADES[key] for key in CRITERIA})
        ],
        "judge_lines": judge_lines(facts),
    }


def _fact_rows(facts: Facts) -> list[Row]:
    """One row per group, with the reason if it has no number; none if no questions were asked."""
    if not facts.has("evaluate.questions.trained"):
        return []
    prefixes = {f"evaluate.facts.{group}": what for group, what in _GROUPS.items()}
    shown = [prefix for prefix in prefixes if not prefix.endswith("_clean") or _subjects(facts, prefix)]
    return [{"what": prefixes[prefix], **_row(facts, prefix)} for prefix in shown]


def _reworded_source(facts: Facts) -> str:
    """Where questions in other words come from; empty if none were asked."""
    key = "groups.reworded.source"
    return facts.recorded("evaluate", "evaluate.json", key) if facts.raw("evaluate", "evaluate.json", key) else ""


def _measured(facts: Facts, names: dict[str, str]) -> list[Row]:
    """One row per prefix of ids that any subject was measured for."""
    return [{"what": what, **_row(facts, prefix)} for prefix, what in names.items() if _subjects(facts, prefix)]


def _subjects(facts: Facts, prefix: str) -> list[str]:
    return [subject for subject in SUBJECTS if f"{prefix}.{subject}" in facts.evidence.measurements]


def _row(facts: Facts, prefix: str) -> Row:
    """The number of each subject that has one, or why there is none, and what the last of them was measured on."""
    measured = _subjects(facts, prefix)
    row = dict.fromkeys((*SUBJECTS, "on"), "")
    if not measured:
        return row | {"base": facts.value(f"{prefix}.base")}
    row |= {subject: facts.cell(f"{prefix}.{subject}") for subject in measured}
    return row | {"on": facts.rests_on(f"{prefix}.{measured[-1]}")}


def _differences(facts: Facts) -> list[Row]:
    """One row per paired difference, with the smallest one that this test set would show."""
    of = {f"facts.{group}": what for group, what in _GROUPS.items()} | {"closed_book": "Known questions answered right"}
    return [
        {
            "what": f"{what}: {pair}",
            "difference": facts.cell(f"evaluate.difference.{key}"),
            "detectable": facts.value(detectable) if facts.has(detectable) else "",
            "on": facts.rests_on(f"evaluate.difference.{key}"),
        }
        for name, what in of.items()
        for end, pair in _PAIRS.items()
        if facts.has(f"evaluate.difference.{(key := f'{name}.{end}')}")
        for detectable in [f"evaluate.detectable.{key}"]
    ]


def _category_sentence(facts: Facts) -> str:
    """Which categories differ from the others by more than chance explains; empty if that was not measured."""
    prefix = "evaluate.category_p_value."
    measured = [m for m in facts.evidence.measurements.values() if m.id.startswith(prefix)]
    if not measured:
        return ""
    names = [m.id.removeprefix(prefix) for m in measured if m.value < _MAX_P_VALUE]
    if not names:
        return f"No category differs from the others by more than chance explains ({len(measured)} compared)."
    losses = [
        f"{plain(name)} (loss {facts.cell(f'evaluate.loss.test.int4.category.{name}')}, "
        f"p = {facts.value(f'{prefix}{name}')} after correction)"
        for name in names
    ]
    compared = f"these of {len(measured)} categories differ from the others"
    return f"By more than chance explains, {compared}: {', '.join(losses)}."


def _controls(facts: Facts) -> list[Row]:
    ids = {f"evaluate.facts.control.{name}": what for name, what in _CONTROLS.items()}
    return [{"what": what, "share": facts.cell(id)} for id, what in ids.items() if facts.has(id)]
