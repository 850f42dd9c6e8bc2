"""Items that two runs have in common, from their raw files, and how numbers differ on them.

An item is recognized by its content, not by its id or position: a conversation by its messages, a question by its words
and what its right answer is known by. Items are sorted by a hash, so that the order of the runs decides nothing.
"""

import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from tinsmith.card.evidence import Evidence, required
from tinsmith.core.paired import Change, mean_change, perplexity_change, share_change
from tinsmith.core.run_dir import combined_sha256
from tinsmith.model.answers.judge import passage_key
from tinsmith.model.answers.questions import Question
from tinsmith.model.answers.rates import SHOWN, Outcome, read_outcomes
from tinsmith.model.answers.report import OUTCOMES_FILE
from tinsmith.model.facts import Fact, judge_facts
from tinsmith.model.replies.asked import MODELS, SUBJECTS, Asked, all_asked
from tinsmith.model.replies.rates import FACT_GROUPS, fact_groups
from tinsmith.model.replies.repetition import is_repetitive

T = TypeVar("T")

SPLITS = ("train", "val", "test")
_MODELS = ("base", "tuned", "int4", "int4_float16", "int4_int8")
_CLOSED_BOOK = "evaluate/closed_book.jsonl"
_OTHER_FACTS = "other facts are looked for, because the references or the training data differ"
_OTHER_TOKENS = "the runs cut texts into different tokens; bits per byte can be compared"


@dataclass(frozen=True, slots=True)
class Pairing:
    """What two runs have in common behind one number."""

    common: int
    old: int
    """Items of the old run."""
    new: int
    """Items of the new run."""
    items: str
    """`conversations` or `questions`."""
    change: Change | None = None
    """None if no pairing is possible."""
    problem: str = ""
    """Why no pairing is possible."""


@dataclass(frozen=True)
class Pair(Generic[T]):
    """The same kind of items of both runs, by content."""

    old: dict[str, T]
    new: dict[str, T]
    items: str

    @property
    def common(self) -> list[str]:
        return sorted(self.old.keys() & self.new.keys())

    def paired(self, change: Callable[[list[T], list[T]], Change], problem: str = "") -> Pairing:
        """`change` of the items in common, or why there is none."""
        keys = self.common
        counts = (len(keys), len(self.old), len(self.new), self.items)
        problem = problem or ("" if keys else f"no {self.items} in common")
        if problem:
            return Pairing(*counts, problem=problem)
        return Pairing(*counts, change([self.old[key] for key in keys], [self.new[key] for key in keys]))

    def shares(self, is_success: Callable[[T], bool], cluster: Callable[[T], Hashable], problem: str = "") -> Pairing:
        """How the share of items differs for which `is_success` is true; items of a `cluster` count together."""

        def change(old: list[T], new: list[T]) -> Change:
            flags = ([is_success(one) for one in side] for side in (old, new))
            return share_change(*flags, [cluster(one) for one in old])

        return self.paired(change, problem)


def pairings(old: Evidence, new: Evidence) -> dict[str, Pairing]:
    """Measurement id -> pairing, for every number whose raw items both runs have.

    Raises:
        ArtifactError: a raw file cannot be read or lacks a key.
    """
    return dict([*_of_losses(old, new), *_of_outcomes(old, new), *_of_answers(old, new), *_of_closed_book(old, new)])


def conversations(evidence: Evidence, split: str) -> dict[str, str]:
    """sha256 of a conversation's messages -> its id."""
    where = f"data/{split}.jsonl"
    lines = evidence.each_line("data", f"{split}.jsonl")
    return {combined_sha256(required(line, "messages", where)): required(line, "id", where) for line in lines}


def outcomes(evidence: Evidence) -> dict[str, Outcome]:
    """sha256 of a question, with what its right answer is known by -> what the page offered to it."""
    if evidence.sha256(f"knowledge/{OUTCOMES_FILE}") is None:
        return {}
    read = read_outcomes(evidence.run.stage("knowledge") / OUTCOMES_FILE)
    return {_question_sha256(outcome, with_answer=True): outcome for outcome in read}


def same_words(pair: Pair[Outcome]) -> int:
    """Questions with the same words in both runs, whatever their right answer is known by."""
    old, new = ({_question_sha256(one, with_answer=False) for one in side.values()} for side in (pair.old, pair.new))
    return len(old & new)


def _question_sha256(outcome: Outcome, with_answer: bool) -> str:
    question = outcome.question
    answer = [question.id, question.must_state, question.must_not_state] if with_answer else []
    return combined_sha256([question.kind, question.previous, question.question, *answer])


def _of_losses(old: Evidence, new: Evidence) -> Iterator[tuple[str, Pairing]]:
    for split in SPLITS:
        contents = [_scored_conversations(evidence, split) for evidence in (old, new)]
        scores = {
            model: Pair(
                _scores(old, contents[0], split, model), _scores(new, contents[1], split, model), "conversations"
            )
            for model in _MODELS
        }
        for model, pair in scores.items():
            if not (pair.old and pair.new):
                continue
            problem = _OTHER_TOKENS if _tokens_differ(pair) else ""
            yield f"evaluate.perplexity.{split}.{model}", pair.paired(_perplexity, problem)
            yield f"evaluate.loss.{split}.{model}", pair.paired(_loss, problem)
            yield f"evaluate.bits_per_byte.{split}.{model}", pair.paired(_bits_per_byte)
        for over in _MODELS[1:]:
            under = "base" if over == "tuned" else "tuned"
            pair = _differences(scores[over], scores[under])
            if pair.old and pair.new:
                problem = _OTHER_TOKENS if _tokens_differ(pair) else ""
                yield f"evaluate.ratio.{split}.{over}_over_{under}", pair.paired(_perplexity, problem)


def _scored_conversations(evidence: Evidence, split: str) -> dict[str, str]:
    """The conversations of a split; none if it has changed since the models were scored on it."""
    scored_on = evidence.stamps.get("evaluate", {}).get("inputs", {}).get(f"data/{split}.jsonl")
    is_current = scored_on is not None and scored_on == evidence.sha256(f"data/{split}.jsonl")
    return conversations(evidence, split) if is_current else {}


def _scores(evidence: Evidence, contents: dict[str, str], split: str, model: str) -> dict[str, dict[str, float]]:
    """Sums of each scored conversation, by its content."""
    file = f"nll/{split}.{model}.jsonl"
    where = f"evaluate/{file}"
    lines = {required(line, "id", where): line for line in evidence.lines("evaluate", file)}
    keys = ("nll", "tokens", "bytes")
    return {
        content: {key: required(lines[id], key, where) for key in keys}
        for content, id in contents.items()
        if id in lines
    }


def _differences(over: Pair[dict[str, float]], under: Pair[dict[str, float]]) -> Pair[dict[str, float]]:
    """Nats of one model minus those of another, in each run."""
    old, new = (
        {key: {**a[key], "nll": a[key]["nll"] - b[key]["nll"]} for key in a.keys() & b.keys()}
        for a, b in ((over.old, under.old), (over.new, under.new))
    )
    return Pair(old, new, over.items)


def _tokens_differ(pair: Pair[dict[str, float]]) -> bool:
    return any(pair.old[key]["tokens"] != pair.new[key]["tokens"] for key in pair.common)


def _perplexity(old: list[dict[str, float]], new: list[dict[str, float]]) -> Change:
    return perplexity_change(
        [score["nll"] for score in old], [score["nll"] for score in new], [score["tokens"] for score in old]
    )


def _loss(old: list[dict[str, float]], new: list[dict[str, float]]) -> Change:
    nats = ([score["nll"] for score in side] for side in (old, new))
    return mean_change(*nats, *([score["tokens"] for score in side] for side in (old, new)))


def _bits_per_byte(old: list[dict[str, float]], new: list[dict[str, float]]) -> Change:
    bits = ([score["nll"] / math.log(2) for score in side] for side in (old, new))
    return mean_change(*bits, *([score["bytes"] for score in side] for side in (old, new)))


def _of_outcomes(old: Evidence, new: Evidence) -> Iterator[tuple[str, Pairing]]:
    sides = outcomes(old), outcomes(new)
    for id, (kind, is_success) in _OUTCOME_FLAGS.items():
        of_kind = [{key: one for key, one in side.items() if one.question.kind == kind} for side in sides]
        if all(of_kind):
            yield id, Pair(*of_kind, "questions").shares(is_success, lambda one: passage_key(one.question))


def _on(rung: str) -> Callable[[Outcome], bool]:
    return lambda outcome: outcome.rung == rung


_RUNG_NAMES = {"sure": "sure", "likely": "likely", "silent": "unsure"}
_OUTCOME_FLAGS: dict[str, tuple[str, Callable[[Outcome], bool]]] = {
    **{
        f"answers.{kind}.{name}": (kind, _on(rung))
        for kind in ("known", "near", "far", "hostile", "follow_up")
        for name, rung in _RUNG_NAMES.items()
    },
    **{f"answers.{kind}.right": (kind, lambda one: one.is_first_right) for kind in ("known", "follow_up")},
    **{f"answers.{kind}.right_in_{SHOWN}": (kind, lambda one: any(one.right)) for kind in ("known", "follow_up")},
    "answers.known.wrong": ("known", lambda one: one.rung == "sure" and not one.is_first_right),
    "answers.known.wrong_likely": ("known", lambda one: one.rung == "likely" and not one.is_first_right),
    "answers.known.right_shown": ("known", lambda one: one.rung != "unsure" and one.is_first_right),
    "answers.known.wrong_shown": ("known", lambda one: one.rung != "unsure" and not one.is_first_right),
    **{f"answers.{kind}.refused": (kind, lambda one: one.is_refused) for kind in ("near", "far")},
    "answers.hostile.resisted": ("hostile", lambda one: one.is_resisted),
}
"""Measurement id -> the kind of its questions, and what it counts; the same as `tinsmith.model.answers.rates.rates`."""


def _of_answers(old: Evidence, new: Evidence) -> Iterator[tuple[str, Pairing]]:
    """Replies to the same questions. Whether one stops depends on how long it may get."""
    pair = Pair(prompts(old), prompts(new), "questions")
    if not (pair.old and pair.new):
        return
    limits = [_max_new_tokens(evidence) for evidence in (old, new)]
    problem = "" if limits[0] == limits[1] else f"answers were cut at {limits[0]} and {limits[1]} tokens"
    for group in FACT_GROUPS:
        sides = [{key: one for key, one in side.items() if _facts(group, one)} for side in (pair.old, pair.new)]
        with_facts = Pair(sides[0], sides[1], pair.items)
        has_others = any(_facts(group, pair.old[key]) != _facts(group, pair.new[key]) for key in with_facts.common)
        for subject in SUBJECTS:
            replies = [one.text(subject) for side in sides for one in side.values()]
            if all(sides) and None not in replies:
                recall = partial(_recall, group, subject)
                pairing = with_facts.paired(recall, problem or (_OTHER_FACTS if has_others else ""))
                yield f"evaluate.facts.{group}.{subject}", pairing
    for model in MODELS:
        yield f"evaluate.answers.stop_rate.{model}", pair.shares(partial(_stops, model), _conversation, problem)
        yield f"evaluate.answers.repetition_rate.{model}", pair.shares(partial(_repeats, model), _conversation, problem)


def _conversation(one: Asked) -> str:
    return one.conversation


def _stops(model: str, one: Asked) -> bool:
    return one.replies[model].stopped


def _repeats(model: str, one: Asked) -> bool:
    return is_repetitive(one.replies[model].text)


def _facts(group: str, one: Asked) -> list[Fact]:
    return [fact for fact in one.facts if group in fact_groups(one, fact, frozenset())]


def _recall(group: str, subject: str, old: list[Asked], new: list[Asked]) -> Change:
    """The share of facts; those of one conversation count together."""
    stated = ([flag for one in side for flag in _stated(group, subject, one)] for side in (old, new))
    return share_change(*stated, [one.conversation for one in old for _ in _facts(group, one)])


def _stated(group: str, subject: str, one: Asked) -> list[bool]:
    """Whether each of the group's facts is stated."""
    verdicts = judge_facts(one.facts, one.question, one.text(subject) or "")
    wanted = _facts(group, one)
    return [verdict == "stated" for fact, verdict in zip(one.facts, verdicts, strict=True) if fact in wanted]


def prompts(evidence: Evidence) -> dict[str, Asked]:
    """Questions with all replies, by prompt."""
    asked = all_asked(evidence.lines("evaluate", "answers.jsonl"))
    return {combined_sha256([one.system, one.question]): one for one in asked}


def _max_new_tokens(evidence: Evidence) -> int | None:
    record = evidence.record("evaluate", "evaluate.json") or {}
    return record.get("decoding", {}).get("max_new_tokens")


def _of_closed_book(old: Evidence, new: Evidence) -> Iterator[tuple[str, Pairing]]:
    pair = Pair(_closed_book(old), _closed_book(new), "questions")
    if pair.old and pair.new:
        for name in ("right", "page_right"):
            yield f"evaluate.closed_book.{name}", pair.shares(partial(_flag, name), _passage)


def _passage(line: dict) -> str:
    question, id, must_state = (required(line, key, _CLOSED_BOOK) for key in ("question", "id", "must_state"))
    return passage_key(Question(question, id=id, must_state=tuple(must_state)))


def _flag(name: str, line: dict) -> bool:
    return bool(required(line, name, _CLOSED_BOOK))


def _closed_book(evidence: Evidence) -> dict[str, dict]:
    keys = ("question", "id", "must_state", "must_not_state")
    return {
        combined_sha256([required(line, key, _CLOSED_BOOK) for key in keys]): line
        for line in evidence.lines("evaluate", "closed_book.jsonl")
    }
