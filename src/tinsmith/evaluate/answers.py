"""Shares of greedy answers that stop by themselves, repeat themselves, and state the reference's key facts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tinsmith.core.intervals import bootstrap, wilson
from tinsmith.core.measure import Recorder
from tinsmith.core.run_dir import write_text
from tinsmith.evaluate.generate import Question, is_repetitive
from tinsmith.model.facts import Fact, facts_of, judge_facts
from tinsmith.model.generation import Answer

MODELS = ("base", "tuned", "int4")


@dataclass(frozen=True, slots=True)
class Item:
    """One question with each model's answer and key facts."""

    question: Question
    answers: dict[str, Answer]
    """By model."""
    facts: list[Fact]
    """The reference's key facts."""
    stated: dict[str, list[Fact]]
    """By model: those of `facts` that its answer states."""


def compare(
    questions: Sequence[Question], answers: Mapping[str, Sequence[Answer]], common: frozenset[str]
) -> list[Item]:
    """Look for each reference's key facts in the models' answers.

    Args:
        questions: In the order of the answers.
        answers: By model.
        common: Ordinary words that are not names, from `common_words`.
    """
    items = []
    for index, question in enumerate(questions):
        facts = facts_of(question.reference, question.question, question.system, common)
        by_model = {model: answers[model][index] for model in MODELS}
        stated = {
            model: [
                fact
                for fact, verdict in zip(facts, judge_facts(facts, question.question, answer.text), strict=True)
                if verdict == "stated"
            ]
            for model, answer in by_model.items()
        }
        items.append(Item(question, by_model, facts, stated))
    return items


def write_answers(path: Path, items: Sequence[Item]) -> None:
    """Write one JSON line per question."""
    lines = []
    for item in items:
        line = asdict(item.question) | {model: asdict(item.answers[model]) for model in MODELS}
        line["facts"] = [fact.text for fact in item.facts]
        line |= {f"{model}_facts": [fact.text for fact in item.stated[model]] for model in MODELS}
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))


def record_answers(recorder: Recorder, items: Sequence[Item], raw: str, seed: int) -> None:
    """Record stop rate, repetition rate and, where the references state any, key-fact recall of every model."""
    for model in MODELS:
        answers = [item.answers[model] for item in items]
        shares = {
            "stop_rate": (sum(answer.stopped for answer in answers), "tinsmith.evaluate.generate.Answer.stopped"),
            "repetition_rate": (
                sum(is_repetitive(answer.text) for answer in answers),
                "tinsmith.evaluate.generate.is_repetitive",
            ),
        }
        for name, (count, method) in shares.items():
            recorder.add(
                f"evaluate.answers.{name}.{model}",
                count / len(answers),
                "fraction",
                len(answers),
                "answers",
                method,
                spread=wilson(count, len(answers)),
                raw=raw,
            )
        # A reference without key facts says nothing about recall, so its answer is not a cluster of the bootstrap.
        rows = np.array([(len(item.stated[model]), len(item.facts)) for item in items if item.facts], dtype=np.float64)
        if len(rows):
            stated, facts = rows.sum(axis=0)
            recorder.add(
                f"evaluate.answers.key_fact_recall.{model}",
                stated / facts,
                "fraction",
                int(facts),
                "facts",
                "tinsmith.model.facts.judge_facts",
                spread=_recall_interval(rows, seed),
                raw=raw,
            )


def _recall_interval(rows: np.ndarray, seed: int) -> dict[str, float]:
    """95 % interval of the recall. `rows` (questions, 2) counts stated facts and all facts of each question.

    If no fact or every fact is stated, all resamples are equal and say nothing; the Wilson interval over questions is
    used instead.
    """
    stated, facts = rows.sum(axis=0)
    if stated in (0, facts):
        return wilson(len(rows) if stated else 0, len(rows))
    return bootstrap(rows, lambda sums: sums[:, 0] / sums[:, 1], seed)
