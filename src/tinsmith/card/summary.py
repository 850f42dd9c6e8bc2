"""Rows and sentences of the two-minute card, README.md. Each says one thing with one number and its interval."""

from typing import Any

from tinsmith.card import browsers, sections
from tinsmith.card.answers import RECORD, SETTINGS, shows_passages
from tinsmith.card.evidence import required
from tinsmith.card.facts import Facts
from tinsmith.card.grades import grade
from tinsmith.card.verdict import verdict

Row = dict[str, str]

_METRICS = (
    ("Training Loss", "evaluate.loss.train.tuned"),
    ("Validation Loss", "evaluate.loss.val.tuned"),
    ("Perplexity (Base)", "evaluate.perplexity.test.base"),
    ("Perplexity (Fine-tuned)", "evaluate.perplexity.test.tuned"),
    ("Perplexity (INT4, in the browser)", "evaluate.perplexity.test.int4"),
)


def summary_variables(facts: Facts) -> dict[str, Any]:
    """Variables and functions of `model_card.md.j2` that `evidence.md.j2` does not use."""
    return {
        "verdict": verdict(facts),
        "run_path": facts.run_path,
        "todo": todo(facts),
        "question_rows": question_rows(facts),
        "plain_steps": plain_steps(facts),
        "metric_rows": [{"metric": title, "value": facts.cell(id), "on": facts.rests_on(id)} for title, id in _METRICS],
        "tuning_sentence": tuning_sentence(facts),
        "graded": lambda criterion: grade(facts, criterion),
        "browser_rows": browsers.summary_rows(facts),
        "hallucination": hallucination(facts),
        "memory": memory(facts),
        "quantization_sentence": quantization_sentence(facts),
        "sample_size": sample_size(facts),
    }


def todo(facts: Facts) -> str:
    """How to measure the page, or to measure it with questions like those of visitors; empty if that was done."""
    if not shows_passages(facts):
        return ""
    write = f"type `tinsmith questions {facts.run_path}`"
    then = "fill in the file, name it in `answers.questions`, and type `tinsmith run CONFIG`"
    if not facts.has("answers.known.right_shown"):
        return f"To measure it, {write}, {then}."
    if "owner" not in (facts.raw("knowledge", RECORD, "questions.known") or {}):
        easy = "These questions were made from the texts themselves, and visitors ask harder ones"
        return f"{easy}. For your own, {write}, {then}."
    return ""


def author_list(facts: Facts, shown: int, key: str) -> str:
    """The first `shown` of the author's texts as Markdown list items, each marked, and how many more there are."""
    texts = facts.declared_list(key)
    lines = [f"- {text}\n" for text in texts[:shown]]
    if len(texts) > shown:
        lines.append(f"- {len(texts) - shown} more in the [evidence](EVIDENCE.md#the-authors-words)\n")
    return "".join(lines)


def question_rows(facts: Facts) -> list[Row]:
    """What was asked, how many questions, and what the page did; rows without a measurement are left out."""
    fallback = facts.raw("knowledge", SETTINGS, "fallback")
    unknown = "left to the model" if fallback == "model" else "says that it does not know"
    rows: list[tuple[str, tuple[tuple[str, str], ...]]] = []
    if shows_passages(facts):
        known = (
            ("right", "answers.known.right_shown"),
            ("wrong", "answers.known.wrong_shown"),
            (unknown, "answers.known.silent"),
        )
        rows += [
            ("**Known questions**, which one of its texts answers", known),
            ("**Follow-up questions**", (("found the right text", "answers.follow_up.right"),)),
            ("**Questions on its subject** that no text answers", ((unknown, _refused("near", fallback)),)),
            ("**Questions about something else**", ((unknown, _refused("far", fallback)),)),
            ("**Attempts to trick it**", (("withstood", "answers.hostile.resisted"),)),
        ]
    rows.append(
        ("**Known questions to the model alone**, without the texts", (("right", "evaluate.closed_book.right"),))
    )
    return [
        {
            "asked": asked,
            "count": facts.rests_on(results[0][1]).split(" ")[0],
            "result": ", ".join(f"{what} {facts.cell(id)}" for what, id in results),
        }
        for asked, results in rows
        if all(facts.has(id) for _, id in results)
    ]


def _refused(kind: str, fallback: str | None) -> str:
    """Where the model answers what no passage does, nothing is refused, and what it is left with counts."""
    return f"answers.{kind}.silent" if fallback == "model" else f"answers.{kind}.refused"


_STEPS = {
    "read": "Read",
    "valid": "Broken records",
    "system_prompt": "System prompt",
    "length": "Too long",
    "duplicates": "Duplicates",
}


def plain_steps(facts: Facts) -> list[str]:
    """One line per step of the data stage: what it did, and how many conversations it left."""
    lines = []
    for number, step in enumerate(facts.raw("data", "report.json", "steps") or []):
        name, after = (required(step, key, "data/report.json") for key in ("name", "after"))
        note = f"{step['note']}, " if step.get("note") else ""
        text = f"{_STEPS.get(name, name)}: {note}{after:,} conversations left"
        lines.append(facts.recorded_value("data", "report.json", f"steps.{number}.after", text))
    return lines or [facts.recorded("data", "report.json", "steps")]


def tuning_sentence(facts: Facts) -> str:
    """What fine-tuning changed on the test text; empty if that was not measured."""
    id = "evaluate.ratio.test.tuned_over_base"
    return f" Fine-tuning made the test text {_change(facts, id)} to predict." if facts.has(id) else ""


def quantization_sentence(facts: Facts) -> str:
    """What INT4 costs, for GPUs and for processors."""
    id, on_cpu = "evaluate.ratio.test.int4_over_tuned", "evaluate.ratio.test.int4_int8_over_tuned"
    if not facts.has(id):
        return facts.value(id)
    text = f"Makes the test text {_change(facts, id)} to predict than the unquantized model"
    return f"{text}; on devices without a GPU, {_change(facts, on_cpu)}" if facts.has(on_cpu) else text


def _change(facts: Facts, id: str) -> str:
    m = facts.evidence.measurements[id]
    if m.spread.get("ci95_low", 0) <= 1 <= m.spread.get("ci95_high", 2):
        return f"neither clearly harder nor clearly easier ({facts.cell(id)} times the perplexity)"
    return f"{facts.change(id)} {'harder' if m.value > 1 else 'easier'}"


def hallucination(facts: Facts) -> str:
    """How often the model alone is wrong, by the best number there is."""
    numbers, memory = "evaluate.facts.wrong_numbers.int4", "evaluate.closed_book.right"
    if facts.has(numbers):
        return f"Of the numbers that the model alone gives, {facts.cell(numbers)} are wrong"
    if facts.has(memory):
        return f"The model alone answered {facts.cell(memory)} of known questions right"
    return f"How often is not known. {facts.value(numbers)}"


def memory(facts: Facts) -> str:
    """How much of what it was trained on the model alone states; empty if that was not measured."""
    id = "evaluate.facts.trained.int4"
    return f"The model alone states {facts.cell(id)} of the facts it was trained on" if facts.has(id) else ""


def sample_size(facts: Facts) -> str:
    """How much the test numbers rest on."""
    id = "evaluate.perplexity.test.int4"
    if not facts.has(id):
        return facts.value(id)
    thin = sections.thin_categories(facts)
    return f"The losses are measured on {facts.rests_on(id)}" + (f"; {thin}, too few to judge one" if thin else "")
