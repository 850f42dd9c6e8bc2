"""What every model is scored on and asked: the same token ids in the same order."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinsmith.core.config import EvaluateConfig
from tinsmith.evaluate.closed_book import closed_book_questions, closed_book_sample
from tinsmith.evaluate.generate import Question, encode_prompts
from tinsmith.evaluate.groups import (
    Group,
    draw,
    held_out_group,
    out_of_scope_questions,
    reworded_group,
    trained_group,
    usual_system,
)
from tinsmith.evaluate.recite import Recital, draw_recitals
from tinsmith.model.answers.rates import Outcome, read_outcomes
from tinsmith.model.answers.report import OUTCOMES_FILE
from tinsmith.model.conversations import Conversation, Conversations
from tinsmith.model.passages import read_passages
from tinsmith.model.token_file import TokenFile
from tinsmith.model.tokens import ChatTokenizer, Tokens, load_tokenizer

SPLITS = ("train", "val", "test")

_PERCENTILE, _ROOM, _MIN_LIMIT, _MAX_LIMIT = 95, 1.25, 64, 384
_OUT_OF_SCOPE_TOKENS = 48
"""A reply that admits not to know says so at its start."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Conversations to score, and questions to ask."""

    tokenizer: ChatTokenizer
    conversations: dict[str, Sequence[Conversation]]
    """To score, by split."""
    tokens: dict[str, Sequence[Tokens]]
    """By split, parallel to `conversations`."""
    groups: dict[str, Group]
    closed_book: list[Outcome]
    """Known questions that int4 answers alone."""
    closed_book_prompts: list[list[int]]
    out_of_scope: list[Question]
    """Questions that no answer of the data fits, for int4 alone."""
    recitals: list[Recital]
    """Private values of the data that every model is asked to go on with."""
    max_new_tokens: int

    @property
    def questions(self) -> list[Question]:
        """Of all groups, for every model."""
        return [question for group in self.groups.values() for question in group.questions]

    @property
    def prompts(self) -> list[list[int]]:
        """Of `questions`."""
        return encode_prompts(self.tokenizer, self.questions)

    @property
    def recital_prompts(self) -> list[list[int]]:
        return [recital.prompt(self.tokenizer) for recital in self.recitals]

    @property
    def out_of_scope_prompts(self) -> list[list[int]]:
        return encode_prompts(self.tokenizer, self.out_of_scope)

    @property
    def out_of_scope_tokens(self) -> int:
        """Longest reply to a question out of scope."""
        return min(self.max_new_tokens, _OUT_OF_SCOPE_TOKENS)


def read_inputs(
    config: EvaluateConfig,
    base_dir: Path,
    data_dir: Path,
    knowledge_dir: Path,
    conversations: dict[str, Conversations],
    work_dir: Path,
    seed: int,
) -> Inputs:
    """Draw the samples.

    Args:
        config: Their sizes.
        base_dir: Holds `model/` with the tokenizer.
        data_dir: Of the data stage, whose record names the private values that were kept.
        knowledge_dir: Holds `passages.jsonl` and, if the page's answers were measured, `answers_questions.jsonl`.
        conversations: Of each split, all of them.
        work_dir: Keeps the tokens of what is scored.
        seed: Of the samples.

    Raises:
        ArtifactError: the knowledge stage's outcomes cannot be read.
        DataError: a question has no tokens.
    """
    tokenizer = load_tokenizer(base_dir / "model")
    train, test = conversations["train"], conversations["test"]
    outcomes = read_outcomes(knowledge_dir / OUTCOMES_FILE)
    passages_file = knowledge_dir / "passages.jsonl"
    passages = read_passages(passages_file) if passages_file.exists() else []
    closed_book = closed_book_sample(outcomes, seed)
    groups = {
        "trained": trained_group(train, config.questions, seed),
        "reworded": reworded_group(train, outcomes, passages, closed_book, config.questions, seed),
        "held_out": held_out_group(test, config.questions, seed),
    }
    sample = draw(train, config.train_sample, f"{seed} train")
    scored: dict[str, Sequence[Conversation]] = {**conversations, "train": sample}
    system = usual_system(train)
    return Inputs(
        tokenizer,
        scored,
        {split: TokenFile(work_dir, map(tokenizer.encode, scored[split])) for split in SPLITS},
        groups,
        closed_book,
        encode_prompts(tokenizer, closed_book_questions(closed_book, system)),
        out_of_scope_questions(outcomes, system, config.questions // 2, seed),
        draw_recitals(data_dir, train, test, seed) if config.questions else [],
        config.max_new_tokens or reply_limit(tokenizer, groups["trained"].questions),
    )


def reply_limit(tokenizer: ChatTokenizer, questions: Sequence[Question]) -> int:
    """Tokens that a reply may have: a quarter more than 95 % of the references, between 64 and 384."""
    if not questions:
        return _MIN_LIMIT
    lengths = [len(tokenizer.tokenizer(one.reference, add_special_tokens=False)["input_ids"]) for one in questions]
    return int(np.clip(np.ceil(_ROOM * np.percentile(lengths, _PERCENTILE)), _MIN_LIMIT, _MAX_LIMIT))
