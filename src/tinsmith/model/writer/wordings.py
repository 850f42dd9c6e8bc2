"""Wordings by an endpoint: other ways to ask what each passage answers, for the search to compare with.

A small base model writes none that help: with eight per passage from SmolLM2-135M, fewer right passages come first
(docs/experiments/answers.md).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tinsmith.model.answers.questions import Question
from tinsmith.model.answers.statements import normalized
from tinsmith.model.passages import Passage
from tinsmith.model.writer.checks import Checks, cleaned
from tinsmith.model.writer.endpoint import Endpoint
from tinsmith.model.writer.prompts import wordings_prompt

_TOKENS_EACH = 40
_LIST_MARK = re.compile(r"\A(?:\d+\s*[.):]|[-*\u2022])\s+")


@dataclass(slots=True)
class WrittenWordings:
    """Wordings, and counts of those that were dropped."""

    wordings: list[Question] = field(default_factory=list)
    """`known` questions with the id of their passage, in the order of the passages."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Reason -> number of wordings dropped for it."""
    bare_passages: int = 0
    """Number of passages without any wording."""


def written_wordings(passages: Sequence[Passage], per_passage: int, writer: Endpoint) -> WrittenWordings:
    """Up to `per_passage` wordings of each passage. No two passages share a wording.

    Args:
        passages: The owner's.
        per_passage: Wordings to ask for; further ones are dropped.
        writer: Asked once for each passage.

    Raises:
        EndpointError: the endpoint failed.
    """
    prompts = [wordings_prompt(passage, per_passage) for passage in passages]
    replies = writer.replies(prompts, per_passage * _TOKENS_EACH, "wordings")
    checks = Checks(passages)
    written, seen = WrittenWordings(), set()
    for passage, reply in zip(passages, replies, strict=True):
        kept = 0
        for text in _lines(reply):
            problem = checks.problem(text, passage)
            if normalized(text) in seen:
                problem = "repeats another one"
            elif kept == per_passage:
                problem = "one too many"
            if problem:
                written.dropped[problem] += 1
                continue
            seen.add(normalized(text))
            written.wordings.append(Question(text, "known", passage.id, origin=writer.origin))
            kept += 1
        written.bare_passages += not kept
    return written


def _lines(reply: str) -> list[str]:
    """The lines of a reply, without list markers."""
    lines = (cleaned(_LIST_MARK.sub("", line.strip())) for line in cleaned(reply).splitlines())
    return [line for line in lines if line]
