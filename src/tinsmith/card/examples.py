"""Example answers on the card: only questions and references that the owner agreed to, word for word."""

from typing import Any

from tinsmith.card.evidence import Evidence, required
from tinsmith.card.facts import Facts
from tinsmith.core.config import CardExample
from tinsmith.model.private import described, find_private

FILE = "answers.jsonl"
MODELS = ("base", "tuned", "int4")

Row = dict[str, str]


def example_of(answer: dict[str, Any]) -> CardExample:
    """Question and reference of a line of `answers.jsonl`: the texts that the owner can agree to publish."""
    question, reference = (required(answer, key, f"evaluate/{FILE}") for key in ("question", "reference"))
    return CardExample(question=question, reference=reference)


def answer_texts(answer: dict[str, Any]) -> dict[str, str]:
    """Each model's answer as the card shows it.

    Models can repeat training data that the owner did not agree to publish. So an answer is left out if it contains
    something private that is in neither question nor reference.
    """
    agreed = example_of(answer)
    agreed_values = {item.value for text in (agreed.question, agreed.reference) for item in find_private(text)}
    texts = {}
    for model in MODELS:
        text = required(required(answer, model, f"evaluate/{FILE}"), "text", f"evaluate/{FILE}")
        kinds = [item.kind for item in find_private(text) if item.value not in agreed_values]
        left_out = f"(left out: it contains what looks like {described(kinds[0])})" if kinds else ""
        texts[model] = left_out or text or "(nothing)"
    return texts


def agreed_answers(evidence: Evidence, agreed: tuple[CardExample, ...]) -> dict[CardExample, int]:
    """Agreed examples that this run answered, in the owner's order, and their line in `answers.jsonl`, from 0."""
    lines: dict[CardExample, int] = {}
    for number, answer in enumerate(evidence.lines("evaluate", FILE)):
        lines.setdefault(example_of(answer), number)
    return {example: lines[example] for example in agreed if example in lines}


def examples(facts: Facts) -> list[Row]:
    """One row per agreed example that this run answered: question, reference, and each model's answer."""
    answers = facts.evidence.lines("evaluate", FILE)
    rows = []
    for example, number in agreed_answers(facts.evidence, facts.config.examples).items():
        answer = answers[number]
        texts = {"question": example.question, "reference": example.reference, **answer_texts(answer)}
        rows.append(
            {name: facts.recorded_value("evaluate", FILE, f"{number}.{name}", text) for name, text in texts.items()}
        )
    return rows
