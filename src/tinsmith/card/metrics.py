"""The measured numbers that hubs and bills of materials list, with the data each was measured on."""

from collections.abc import Iterator
from dataclasses import dataclass

from tinsmith.card.answers import ANSWER_ROWS, KIND_WORDS, shows_passages
from tinsmith.card.facts import Facts
from tinsmith.card.rounding import interval_text, number_text
from tinsmith.core.measure import Measurement
from tinsmith.model.package_format import MEASURED_GRAPHS

SUBJECTS = {
    "base": "base model",
    "tuned": "fine-tuned, bf16",
    **{
        model: f"INT4 package in {graph.computes_in}, for {graph.used_by.replace('`', '')}"
        for model, graph in MEASURED_GRAPHS.items()
    },
}
"""Whose numbers they are. The graphs are what a browser runs: on GPUs, or on the processor (WASM)."""

_FACT_GROUPS = {
    "trained": "questions of the training data",
    "reworded": "questions of the training data in other words",
    "held_out_seen": "held-out questions whose facts other training answers state",
    "held_out_new": "held-out questions whose facts no training answer states",
}
_GRADES = {"accuracy": "Accuracy", "quality": "Response quality", "factual": "Factual correctness"}
_RATE_TYPES = {"right": "accuracy", "right_in_3": "top_3_accuracy"}
_JUDGES = {"review": "people", "judge": "a language model"}


@dataclass(frozen=True, slots=True)
class DataPart:
    """Items that numbers were measured on."""

    name: str
    config: str
    """Short name, different for each part of the same split."""
    split: str
    file: str
    """Run-relative path of the items; its hash says which they are."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured number with its place in a list of results."""

    measurement: Measurement
    type: str
    """Short name of what is measured, such as `perplexity`."""
    name: str
    task: str
    """The Hub's name of the task."""
    data: DataPart

    @property
    def value(self) -> float:
        """The number, rounded as on the card. A fraction stays one."""
        m = self.measurement
        return _number(number_text(m.value, _plain(m.unit), m.spread))

    @property
    def interval(self) -> tuple[float, float] | None:
        """Bounds of the 95 % interval, rounded like the value; None if it has none."""
        m = self.measurement
        if not {"ci95_low", "ci95_high"} <= set(m.spread):
            return None
        low, high = interval_text(m.value, _plain(m.unit), m.spread, "ci95_low", "ci95_high").split(" to ")
        return _number(low), _number(high)


def _plain(unit: str) -> str:
    return "" if unit == "fraction" else unit


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def published_metrics(facts: Facts) -> list[Metric]:
    """Every number of this run that is listed, in order; those that were not measured are left out."""
    return [*_perplexities(facts), *_facts_stated(facts), *_grades(facts), *_page_rates(facts)]


def _measured(facts: Facts, id: str, type: str, name: str, task: str, data: DataPart) -> Iterator[Metric]:
    m = facts.evidence.measurements.get(id)
    if m is not None:
        yield Metric(m, type, name, task, data)


def _perplexities(facts: Facts) -> Iterator[Metric]:
    data = DataPart("held-out conversations of the training data", "held_out", "test", "data/test.jsonl")
    for subject, whose in SUBJECTS.items():
        id, name = f"evaluate.perplexity.test.{subject}", f"Perplexity ({whose})"
        yield from _measured(facts, id, "perplexity", name, "text-generation", data)


def _facts_stated(facts: Facts) -> Iterator[Metric]:
    for group, words in _FACT_GROUPS.items():
        split = "test" if group.startswith("held_out") else "train"
        data = DataPart(words, group, split, "evaluate/answers.jsonl")
        for subject, whose in {**SUBJECTS, "page": "chat page"}.items():
            id, name = f"evaluate.facts.{group}.{subject}", f"Facts stated ({whose})"
            yield from _measured(facts, id, "fact_recall", name, "text-generation", data)


def _grades(facts: Facts) -> Iterator[Metric]:
    for stage, judge in _JUDGES.items():
        data = DataPart(f"replies graded by {judge}", stage, "test", "evaluate/answers.jsonl")
        for criterion, title in _GRADES.items():
            for subject, whose in {**SUBJECTS, "page": "chat page"}.items():
                id, name = f"{stage}.{criterion}.{subject}", f"{title} out of 10, graded by {judge} ({whose})"
                yield from _measured(facts, id, criterion, name, "text-generation", data)


def _page_rates(facts: Facts) -> Iterator[Metric]:
    if not shows_passages(facts):
        return
    kinds = {words: kind for kind, words in KIND_WORDS.items()}
    for words, rates in ANSWER_ROWS:
        if words not in kinds:  # the model's own rates are not the page's
            continue
        data = DataPart(words, kinds[words], "questions", "knowledge/answers_questions.jsonl")
        for id, what in rates:
            rate = id.rpartition(".")[2]
            type = _RATE_TYPES.get(rate, f"{rate}_rate")
            yield from _measured(facts, id, type, f"The chat page {what}", "question-answering", data)
