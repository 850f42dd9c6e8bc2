"""Looking up questions and follow-ups, with vectors by hand."""

import numpy as np
import pytest

from shared import build_once
from tinsmith.model.answers.answers import Answers
from tinsmith.model.answers.grams import Overlap
from tinsmith.model.answers.ladder import Ladder, Weights
from tinsmith.model.answers.ranking import Index, Ranker, RowCounts, Settings
from tiny_answers import write_tiny_answers

VECTORS = {
    "fence": [0.8, 0.0, 0.0],
    "permit": [0.0, 0.8, 0.0],
    "fence and how high?": [0.9, 0.0, 0.0],
    "fence and thanks": [0.9, 0.0, 0.0],
    "permit and how high?": [0.2, 0.5, 0.0],
    "and how high?": [0.5, 0.1, 0.0],
    "and thanks": [0.2, 0.2, 0.2],
}
"""Cosines with the three passages; fences are about heights."""


@pytest.fixture
def answers(tmp_path_factory, monkeypatch):
    """A ladder on closeness alone: unsure for the second question by itself."""
    opened = Answers(build_once(tmp_path_factory, "tiny-answers", write_tiny_answers), threads=1)
    rows = np.repeat(np.eye(3, dtype=np.float32), 2, axis=0)
    settings = Settings(candidates=3, lexical=0.0, sentence_candidates=3, question_margin=1.0)
    opened.ranker = Ranker([RowCounts(2, 0)] * 3, [Index(rows, 0.0, 1.0)], Overlap([""] * 3), settings)
    opened.ladder = Ladder(Weights(5.0, 0.0, 0.0, -3.0), sure=0.6, likely=0.4, min_closeness=0.2)
    monkeypatch.setattr(opened, "vectors", lambda question: [np.array(VECTORS[question], np.float32)])
    return opened


def test_a_follow_up_is_answered_with_the_previous_question(answers):
    alone, together = answers.look_up("and how high?"), answers.look_up("and how high?", ["fence"])
    assert (alone.rung, alone.used_previous) == ("unsure", False)
    assert (together.rung, together.used_previous) == ("sure", True) and together.confidence > 0.8
    assert together.passages[0][0] is answers.passages[0]


def test_words_of_the_previous_question_answer_nothing(answers):
    """The first passage fits both questions together, but not the second one alone."""
    together = answers.look_up("and thanks", ["fence"])
    assert (together.rung, together.confidence, together.used_previous) == ("unsure", 0.0, True)
    assert together.passages[0][0] is answers.passages[0]


def test_a_question_stays_alone_if_the_previous_one_adds_nothing(answers):
    expected = answers.look_up("and how high?")
    assert answers.look_up("and how high?", ["permit"]) == expected
    assert not answers.look_up("fence", ["permit"]).used_previous, "sure alone"


def test_only_the_last_of_the_previous_questions_counts(answers):
    assert answers.look_up("and how high?", ["permit", "fence"]) == answers.look_up("and how high?", ["fence"])
