"""Ranking and ladder, against small cases computed by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tinsmith.knowledge.calibrate import default_ladder, fitted, threshold
from tinsmith.model.answers.grams import Overlap, grams_of
from tinsmith.model.answers.ladder import Ladder, Weights, features
from tinsmith.model.answers.ranking import Index, Ranker, RowCounts, Scored, Settings

SETTINGS = Settings(candidates=2, lexical=1.5, sentence_candidates=10, question_margin=1.0)


def unit(*values: float) -> np.ndarray:
    vector = np.array(values, np.float32)
    return vector / np.linalg.norm(vector)


def ranker(settings: Settings = SETTINGS) -> Ranker:
    """Three passages: of two, of three and of two rows."""
    rows = np.stack([unit(1, 0), unit(1, 0), unit(0, 1), unit(0, 1), unit(1, 0), unit(1, 1), unit(1, 1)])
    overlap = Overlap(["green tea", "black coffee", "oat milk"])
    counts = [RowCounts(2, 0), RowCounts(3, 0), RowCounts(2, 0)]
    return Ranker(counts, [Index(rows, 0.5, 0.25)], overlap, settings)


def test_closeness_is_the_mean_of_rows_and_the_best_sentence():
    ranked = ranker().rank("xyz", [unit(1, 0)])
    closeness = {item.passage: item.closeness for item in ranked}
    assert closeness[0] == pytest.approx((1 - 0.5) / 0.25)
    assert closeness[2] == pytest.approx((math.sqrt(0.5) - 0.5) / 0.25, abs=1e-6)
    assert 1 not in closeness, "only the closest are candidates"
    every = ranker(replace(SETTINGS, candidates=3)).rank("xyz", [unit(1, 0)])
    assert {item.passage: item.closeness for item in every}[1] == pytest.approx(((0 + 0 + 1) / 3 - 0.5) / 0.25)


def test_sentences_count_only_for_the_closest():
    few = replace(SETTINGS, candidates=3, sentence_candidates=2)
    assert {i.passage: i.closeness for i in ranker(few).rank("xyz", [unit(1, 0)])}[1] == pytest.approx(-0.5 / 0.25)


def test_a_passages_own_question_counts_if_it_is_closer_by_the_margin():
    """The first passage's text is at 0; its questions are at 1 and at the square root of a half."""
    rows = np.stack([unit(0, 1), unit(0, 1), unit(1, 1), unit(1, 0), unit(0, 1), unit(0, 1)])
    counts = [RowCounts(4, 2), RowCounts(2, 0)]
    for margin, expected in ((0.5, (1 - 0.5) / 0.25 - 0.5), (10.0, -0.5 / 0.25)):
        settings = replace(SETTINGS, question_margin=margin)
        closeness = Ranker(counts, [Index(rows, 0.5, 0.25)], Overlap(["", ""]), settings).closeness([unit(1, 0)])
        assert closeness == pytest.approx([expected, -0.5 / 0.25])


def test_overlap_changes_the_order_and_a_left_out_passage_is_gone():
    ranked = ranker(replace(SETTINGS, candidates=3, lexical=100)).rank("oat milk", [unit(1, 0)])
    assert [item.passage for item in ranked] == [2, 0, 1] and ranked[0].overlap > 0.9 > ranked[1].overlap == 0
    without = ranker(replace(SETTINGS, candidates=3)).rank("oat milk", [unit(1, 0)], frozenset({2}))
    assert [item.passage for item in without] == [0, 1]


def test_prominence_is_the_lead_over_the_average_passage():
    closeness = ranker().closeness([unit(1, 0)])
    assert ranker().prominence([unit(1, 0)], 0) == pytest.approx(closeness[0] - closeness.mean()) and closeness[0] > 1


def test_grams_and_their_weights():
    assert grams_of("Tea, at 80°") == [" tea", "tea ", " at ", " 80 "]
    assert grams_of("Å") == [" å "]
    overlap = Overlap(["tea at 80", "tea", "milk"])
    weights = overlap.weights("tea milk")
    assert weights[" mil"] > weights["tea "] > 0
    assert overlap.of(weights, 2) > overlap.of(weights, 1) > 0 == overlap.of(overlap.weights("coffee"), 1)
    assert overlap.of({}, 0) == Overlap(["…"]).of(weights, 0) == 0


def scored(*scores: float, closeness: float = 2.0) -> list[Scored]:
    return [Scored(index, score, closeness, 0.0) for index, score in enumerate(scores)]


def test_rungs_follow_confidence_and_closeness():
    ladder = Ladder(Weights(0.0, 1.0, 0.0, 0.0), sure=0.8, likely=0.6, min_closeness=1.0)
    assert features(scored(5, 3, 2, 1, 0.5, 0)) == (2.0, 2, 4.5)
    assert features(scored(5)) == (2.0, 0.0, 0.0)
    assert ladder.confidence(scored(5, 3)) == pytest.approx(1 / (1 + math.exp(-2)))
    assert [ladder.rung(scored(lead, 0)) for lead in (2, 1, 0.1)] == ["sure", "likely", "unsure"]
    assert ladder.rung(scored(9, 0, closeness=0.99)) == ladder.rung([]) == "unsure"
    assert Ladder.from_json(ladder.as_json()) == ladder


def test_a_smaller_share_of_wrong_answers_needs_more_confidence():
    shares = (0.01, 0.03, 0.05, 0.1)
    assert sorted(map(threshold, shares), reverse=True) == list(map(threshold, shares))
    for share in shares:
        ladder = default_ladder(share)
        assert ladder.likely < ladder.sure


def test_fitting_moves_the_confidence_towards_what_was_right():
    """A hundred rankings alike, 80 of them right: the confidence moves most of the way, and weights stay."""
    ladder = default_ladder(0.05)
    rankings = [scored(2.0, 1.8, 1.7, 1.6, 1.5)] * 100
    before = ladder.confidence(rankings[0])
    better = fitted(ladder, rankings, [True] * 80 + [False] * 20)
    worse = fitted(ladder, rankings, [False] * 100)
    assert before < better.confidence(rankings[0]) < 0.8
    assert worse.confidence(rankings[0]) < before
    assert replace(better.weights, bias=0) == replace(ladder.weights, bias=0) and better.sure == ladder.sure
    assert fitted(ladder, rankings[:19], [True] * 19) == ladder
