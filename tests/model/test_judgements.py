"""Scores of made-up judges against those computed by hand, and what withholds them."""

import pytest

import judges
from tinsmith.assess.items import read_items
from tinsmith.assess.judge_calls import planned_calls
from tinsmith.assess.judge_file import Reply
from tinsmith.assess.judge_stage import grade_rows
from tinsmith.core.intervals import clustered_wilson
from tinsmith.model import judgements
from tinsmith.model.judgements import CONTROLS, KNOWN_BAD, reasons_to_withhold, score
from tinsmith.model.replies.asked import GROUPS


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    folder = tmp_path_factory.mktemp("answers")
    judges.write_answers(folder, judges.answers(40))
    return read_items(folder)


def rows_of(items, judge, people=None):
    calls = planned_calls(items, GROUPS, 40, seed=3)
    replies = {call.key: Reply(call.key, judge(call.prompt), "m", 0, 0) for call in calls}
    return grade_rows(items, calls, replies, people or {})


def test_a_good_judge_gives_the_true_scores(items):
    rows = rows_of(items, judges.good)
    values = {s: score(rows, "accuracy", s, 1).value for s in ("base", "tuned", "int4", "page")}
    assert values == {"base": 0, "tuned": 10, "int4": 5, "page": 10}
    assert score(rows, "accuracy", "page", 1).count == 30, "the page was not asked ten of them"
    assert score(rows, "quality", "int4", 1).value == 5
    interval = clustered_wilson([True, False] * 20, range(40))
    assert score(rows, "factual", "int4", 1).spread == {end: 10 * value for end, value in interval.items()}
    spread = score(rows, "quality", "int4", 1).spread
    assert spread["ci95_low"] < 5 < spread["ci95_high"]
    assert reasons_to_withhold(rows) == {}
    shares = {kind: judgements.control(rows, kind).value for kind in CONTROLS}
    assert shares == {"reference": 1, **dict.fromkeys(KNOWN_BAD, 0), "padded": 0}
    assert judgements.consistency(rows).value == judgements.order_consistency(rows).value == 1
    assert (judgements.preferred(rows, "int4").value, judgements.preferred(rows, "base").value) == (0.5, 0)


@pytest.mark.parametrize(
    ("judge", "reason"),
    [
        (judges.lazy, "it accepts 100% of replies with swapped facts"),
        (judges.strict, "it accepts only 0% of reference answers"),
        (judges.mute, "100% of its replies have no grade"),
    ],
)
def test_a_judge_whose_grades_mean_nothing_has_no_scores(items, judge, reason):
    assert reasons_to_withhold(rows_of(items, judge)) == dict.fromkeys(("accuracy", "factual", "quality"), reason)


def test_a_judge_fond_of_length_has_no_score_of_quality(items):
    reasons = reasons_to_withhold(rows_of(items, judges.fond_of_length))
    assert reasons == {"quality": "it grades 100% of padded replies above the same replies without padding"}


def test_a_judge_who_prefers_the_first_reply_names_no_winner(items):
    rows = rows_of(items, judges.lazy)
    assert judgements.order_consistency(rows).value == 0
    assert judgements.preferred(rows, "int4").value == judgements.preferred(rows, "base").value == 0


@pytest.mark.parametrize("kind", KNOWN_BAD)
@pytest.mark.parametrize(("accepted", "is_withheld"), [(2, False), (3, True)])
def test_more_than_a_tenth_of_one_kind_is_too_much(items, kind, accepted, is_withheld):
    rows = [row for row in rows_of(items, judges.good) if row["control"] != kind or row["criterion"] == "accuracy"]
    known = [row for row in rows if row["control"] == kind]
    assert len(known) == 20
    for row in known[:accepted]:
        row["grade"] = 1
    assert bool(reasons_to_withhold(rows)) == is_withheld


def test_nothing_is_known_of_a_judge_who_saw_few_known_replies(items):
    calls = planned_calls(items, GROUPS, 3, seed=3)
    rows = grade_rows(items, calls, {c.key: Reply(c.key, judges.good(c.prompt), "m", 0, 0) for c in calls}, {})
    reason = reasons_to_withhold(rows)["accuracy"]
    assert reason == "it was asked about too few replies with swapped facts: 3, and 10 are needed"


def test_people_correct_a_judge_who_is_too_kind(items):
    """The judge accepts every reply of int4; 35 people's verdicts say that half of them are right."""
    people = {(item.id, "int4", "accuracy"): int(item.id[4:]) % 2 for item in items[:35]}
    rows = rows_of(items, judges.good, people)
    for row in rows:
        if (row["criterion"], row["subject"]) == ("accuracy", "int4"):
            row["grade"] = 1
    corrected = score(rows, "accuracy", "int4", 1)
    assert corrected.value == pytest.approx(10 * 17 / 35) and corrected.count == 40
    assert corrected.spread["ci95_low"] == pytest.approx(3.3, abs=0.25)
    assert corrected.spread["ci95_high"] == pytest.approx(6.5, abs=0.25)
    assert judgements.agreement(rows, "accuracy").value == pytest.approx(17 / 35)
    assert judgements.has_labels(rows, "accuracy", "int4") and not judgements.has_labels(rows, "factual", "int4")
    one_group = [row | {"people": row["people"] if row["group"] == "trained" else None} for row in rows * 2]
    assert not judgements.has_labels(one_group, "accuracy", "int4"), "nobody judged the other group"
    few = [row | {"people": row["people"] if row["item"] < "cup-2" else None} for row in rows]
    assert score(few, "accuracy", "int4", 1).value == 10, "fewer than 30 verdicts correct nothing"


def test_a_repeat_with_another_grade_is_counted(items):
    rows = rows_of(items, judges.good)
    repeats = [row for row in rows if row["repeat"]]
    repeats[0]["grade"] = None
    assert judgements.consistency(rows).value == pytest.approx(1 - 1 / len(repeats))
    accuracy = [score(rows_of(items, judges.good), "accuracy", s, 1) for s in ("base", "int4")]
    assert [score(rows, "accuracy", s, 1) for s in ("base", "int4")] == accuracy, "a repeat changes no score"
