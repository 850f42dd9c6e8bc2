"""Open a folder of answers and look up questions, as the page does."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tinsmith.core.run_dir import read_json
from tinsmith.model.answers.encoder import Encoder
from tinsmith.model.answers.grams import Overlap, joined
from tinsmith.model.answers.ladder import Ladder, Rung
from tinsmith.model.answers.publish import SETTINGS_FILE
from tinsmith.model.answers.q4 import row_bytes, unpack_rows
from tinsmith.model.answers.ranking import Index, Ranker, RowCounts, Scored, Settings
from tinsmith.model.passages import Passage, Source


@dataclass(frozen=True, slots=True)
class Ranked:
    """What the ladder makes of a question."""

    rung: Rung
    confidence: float
    """Estimated probability that the first passage is right; 0 if it fits only the previous question."""
    passages: tuple[tuple[Passage, Scored], ...]
    """The best passages, best first."""
    used_previous: bool
    """Whether the question was read together with the previous one."""
    is_far: bool
    """Whether the question is so far from all passages that none is offered."""


class Answers:
    """Passages, encoders and ladder of a folder of answers."""

    def __init__(self, folder: Path, threads: int = 0) -> None:
        """Open the folder.

        Args:
            folder: Written by `write_answers`; its formats are in docs/answers-format.md.
            threads: Threads of each encoder; 0 lets ONNX Runtime decide.
        """
        settings: dict[str, Any] = read_json(folder / SETTINGS_FILE)
        stored = read_json(folder / settings["passages"])
        self.passages = [_passage(record) for record in stored]
        self.encoders = [
            Encoder(
                folder,
                e["name"],
                e["query_prefix"],
                e["passage_prefix"],
                e["max_tokens"],
                e["max_question_tokens"],
                threads,
            )
            for e in settings["encoders"]
        ]
        self.ladder = Ladder.from_json(settings["ladder"])
        self.unknown: str = settings["unknown"]
        self.fallback: Literal["unknown", "offer", "model"] = settings["fallback"]
        """What `unsure` shows: `unknown`, the same with an offer to let the model answer, or an answer of the model."""
        indexes = [
            Index(_read_rows(folder / e["index"], settings["dimension"]), e["mean"], e["deviation"])
            for e in settings["encoders"]
        ]
        overlap = Overlap([_compared(passage) for passage in self.passages])
        ranking = Settings(
            settings["candidates"], settings["lexical"], settings["sentence_candidates"], settings["question_margin"]
        )
        counts = [RowCounts(record["rows"], record["question_rows"]) for record in stored]
        self.ranker = Ranker(counts, indexes, overlap, ranking)

    def look_up(
        self, question: str, previous: Sequence[str] = (), shown: int = 5, left_out: frozenset[int] = frozenset()
    ) -> Ranked:
        """Rank the passages for a question, and say what to do with the best.

        A question that is not `sure` alone is also ranked together with the previous one. Words of the previous
        question must not answer this one, so the best passage must also stand out for this question alone.

        Args:
            question: The visitor's words.
            previous: The visitor's earlier questions, oldest first.
            shown: Number of passages to return.
            left_out: Indices of passages to ignore, for measuring what happens without them.
        """
        vectors = self.vectors(question)
        ranked = self.ranker.rank(question, vectors, left_out)
        rung, confidence, used_previous = self.ladder.rung(ranked), self.ladder.confidence(ranked), False
        if previous and rung != "sure":
            together = self.rank(joined((previous[-1], question)), left_out)
            if self.ladder.confidence(together) > confidence:
                ranked, used_previous = together, True
                rung, confidence = self.ladder.rung(ranked), self.ladder.confidence(ranked)
                if self.ranker.prominence(vectors, ranked[0].passage) < self.ladder.min_closeness:
                    rung, confidence = "unsure", 0.0
        best = tuple((self.passages[scored.passage], scored) for scored in ranked[:shown])
        return Ranked(rung, confidence, best, used_previous, self.ladder.is_far(ranked))

    def rank(self, question: str, left_out: frozenset[int] = frozenset()) -> list[Scored]:
        """The candidates for a question, best first; passages in `left_out` are not considered."""
        return self.ranker.rank(question, self.vectors(question), left_out)

    def closest(self, question: str) -> list[Passage]:
        """The candidates for a question, best first."""
        return [self.passages[scored.passage] for scored in self.rank(question)]

    def vectors(self, question: str) -> list[np.ndarray]:
        """The question's vector of each encoder."""
        return [encoder.query(question) for encoder in self.encoders]


def _compared(passage: Passage) -> str:
    """The words that overlap is measured on. The title of an answer is a question, which may not be published."""
    title = "" if passage.kind == "answer" else passage.title
    return joined((title, passage.text, *passage.wordings))


def _passage(record: dict[str, Any]) -> Passage:
    fields = ("id", "kind", "title", "text", "category")
    source, wordings = Source(**record["source"]), tuple(record["wordings"])
    return Passage(**{name: record[name] for name in fields}, source=source, wordings=wordings)


def _read_rows(path: Path, dimension: int) -> np.ndarray:
    packed = np.fromfile(path, np.uint8).reshape(-1, row_bytes(dimension))
    return unpack_rows(packed)
