"""What greedy answers show: how many stop, repeat themselves, and state the key facts of the reference."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tinsmith.core.intervals import bootstrap, wilson
from tinsmith.core.measure import Recorder
from tinsmith.core.run_dir import write_text
from tinsmith.evaluate.generate import Answer, Question, is_repetitive
from tinsmith.evaluate.keyfacts import Fact, key_facts, stated

MODELS = ("base", "tuned", "int4")


@dataclass(frozen=True, slots=True)
class Item:
    """One question with its answers and the facts each states."""

    question: Question
    answers: dict[str, Answer]
    """By model."""
    facts: list[Fact]
    found: dict[str, list[Fact]]
    """By model; a part of `facts`."""


def compare(
    questions: Sequence[Question], answers: Mapping[str, Sequence[Answer]], common: frozenset[str]
) -> list[Item]:
    """Each question with its answers by model, the reference's key facts, and those found in each answer."""
    items = []
    for index, question in enumerate(questions):
        facts = key_facts(question.reference, f"{question.system}\n{question.question}", common)
        given = {model: answers[model][index] for model in MODELS}
        found = {model: stated(facts, answer.text) for model, answer in given.items()}
        items.append(Item(question, given, facts, found))
    return items


def write_answers(path: Path, items: Sequence[Item]) -> None:
    """One JSON line per question."""
    lines = []
    for item in items:
        line = asdict(item.question) | {model: asdict(item.answers[model]) for model in MODELS}
        line["facts"] = [fact.text for fact in item.facts]
        line |= {f"{model}_facts": [fact.text for fact in item.found[model]] for model in MODELS}
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))


def record_answers(recorder: Recorder, items: Sequence[Item], raw: str, seed: int) -> None:
    """Record stop rate, repetition rate and, where the references state any, key-fact recall of every model."""
    for model in MODELS:
        answers = [item.answers[model] for item in items]
        shares = {
            "stop_rate": (sum(answer.stopped for answer in answers), "tinsmith.evaluate.generate.Answer.stopped"),
            "repetition_rate": (
                sum(is_repetitive(answer.text) for answer in answers), "tinsmith.evaluate.generate.is_repetitive"
            ),
        }  # fmt: skip
        for name, (hits, method) in shares.items():
            recorder.add(
                f"evaluate.answers.{name}.{model}", hits / len(answers), "fraction", len(answers), "answers", method,
                spread=wilson(hits, len(answers)), raw=raw,
            )  # fmt: skip
        # Answers whose reference states no fact cannot win or lose one; they are no clusters of this share.
        rows = np.array([(len(item.found[model]), len(item.facts)) for item in items if item.facts], dtype=np.float64)
        if len(rows):
            found, facts = rows.sum(axis=0)
            recorder.add(
                f"evaluate.answers.key_fact_recall.{model}", found / facts, "fraction", int(facts), "facts",
                "tinsmith.evaluate.keyfacts.stated", raw=raw,
                spread=_recall_interval(rows, seed),
            )  # fmt: skip


def _recall_interval(rows: np.ndarray, seed: int) -> dict[str, float]:
    """Of (found, facts) of each question; none or all of them found, no resample differs, and the questions' Wilson interval is taken."""
    found, facts = rows.sum(axis=0)
    if found in (0, facts):
        return wilson(len(rows) if found else 0, len(rows))
    return bootstrap(rows, lambda sums: sums[:, 0] / sums[:, 1], seed)
