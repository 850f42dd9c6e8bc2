"""Imported reviews become scores that agree with numbers computed by hand, and a record of who reviewed."""

import json
from dataclasses import replace

import pytest

from reviews import CHOICE, SEED, answer, by_text, reply, signed, unsigned, write_answers, write_review
from stage_runs import run_stage
from tinsmith.assess.review_file import import_reviews, stored_reviews
from tinsmith.assess.review_set import review_set
from tinsmith.assess.review_stage import record_reviews
from tinsmith.core.errors import ArtifactError
from tinsmith.core.intervals import clustered_wilson
from tinsmith.core.run_dir import read_json, write_json
from tinsmith.derive.files import Files
from tinsmith.derive.table import derived


@pytest.fixture
def answers(tmp_path):
    return write_answers(tmp_path / "evaluate", [answer(n) for n in range(24)])


@pytest.fixture
def record(tmp_path, answers):
    """Import these files and run the stage."""

    def run(*paths):
        folder, out = tmp_path / "imported", tmp_path / "out"
        out.mkdir(exist_ok=True)
        import_reviews(paths, answers, folder, SEED)
        return run_stage(record_reviews, answers, folder, out, seed=SEED)

    return run


def values(done):
    return {m.id: m for m in done.measurements}


def number_of(item):
    return int(item.id.partition(":")[2])


def test_without_reviews_there_is_nothing(record, tmp_path):
    done = record()
    assert done.measurements == () and list((tmp_path / "out").iterdir()) == []
    assert done.summary == ("nobody has reviewed the answers: tinsmith review RUN",)


def test_scores_of_one_rater(record, answers, tmp_path):
    """int4 is right for 18 of 24, all its facts for 12; qualities of 1 to 5 are worth 0 to 10."""

    def grade(item, subject):
        n = number_of(item)
        return (int(n < 18), int(n < 12), 5 if n < 12 else 2) if subject == "int4" else (0, 0, 1)

    done = record(write_review(tmp_path / "ada.json", answers, "Ada", grade, is_author=True))
    found = values(done)
    assert found["review.accuracy.int4"].value == 7.5 and found["review.factual.int4"].value == 5
    assert found["review.quality.int4"].value == (12 * 10 + 12 * 2.5) / 24
    assert [found[f"review.{name}.base"].value for name in ("accuracy", "factual", "quality")] == [0, 0, 0]
    accuracy = found["review.accuracy.int4"]
    assert (accuracy.unit, accuracy.count, accuracy.count_of) == ("out of 10", 24, "items")
    wilson = clustered_wilson([True] * 18 + [False] * 6, range(24))
    assert accuracy.spread == {end: pytest.approx(10 * share) for end, share in wilson.items()}
    quality = found["review.quality.int4"]
    assert quality.spread["ci95_low"] < quality.value < quality.spread["ci95_high"]
    assert found["review.raters"].value == 1 and not any(".alpha." in id for id in found)
    assert not any(id.count(".") > 2 for id in found), "one group has no scores of its own"
    rater = {"is_author": True, "date": "2026-11-27", "items": 24, "of_items": 24}
    written = read_json(tmp_path / "out/review.json")
    assert written["raters"] == [{**rater, "subjects": ["base", "int4"]}] and written["is_blind"]
    assert (written["items"], written["groups"], written["subjects"]) == (24, {"held_out": 24}, ["base", "int4"])
    assert done.summary == (
        "reviewed by Ada (the author)",
        "base: accuracy 0.0, factual 0.0, quality 0.0 out of 10 (24 items)",
        "int4: accuracy 7.5, factual 5.0, quality 6.2 out of 10 (24 items)",
    )


def test_every_number_follows_from_the_raw_files(record, answers, tmp_path):
    done = record(
        write_review(tmp_path / "ada.json", answers, "Ada"),
        write_review(tmp_path / "bo.json", answers, "Bo", lambda item, subject: (number_of(item) % 2, 1, 3)),
    )
    files = Files({"review": tmp_path / "out", "evaluate": answers}.__getitem__, SEED)
    assert len(done.measurements) > 9
    for measurement in done.measurements:
        again = derived(measurement.id, files)
        assert (again.value, again.count, again.spread) == (measurement.value, measurement.count, measurement.spread)
        assert files.has(measurement.raw)


def test_two_raters_and_their_agreement(record, answers, tmp_path):
    """Bo differs from Ada on 6 of 48 replies. Of 96 verdicts Ada's 24 and Bo's 30 are yes."""

    def differing(item, subject):
        accuracy, factual, quality = by_text(item, subject)
        return (1 if number_of(item) < 6 else accuracy), factual, quality

    found = values(
        record(
            write_review(tmp_path / "ada.json", answers, "Ada"),
            write_review(tmp_path / "bo.json", answers, "Bo", differing),
        )
    )
    assert found["review.raters"].value == 2
    assert found["review.accuracy.base"].value == 10 * 6 / 48 and found["review.accuracy.base"].count == 24
    yes, no = 24 + 30, 24 + 18
    assert found["review.alpha.accuracy"].value == pytest.approx(1 - 95 * 12 / (2 * yes * no))
    assert (found["review.alpha.accuracy"].count, found["review.alpha.factual"].value) == (48, 1)
    width = found["review.accuracy.base"].spread
    assert width["ci95_low"] < 1.25 < width["ci95_high"]


def test_raters_who_all_say_the_same_give_no_alpha(record, answers, tmp_path):
    paths = [write_review(tmp_path / f"{n}.json", answers, n, lambda item, subject: (1, 1, 5)) for n in ("Ada", "Bo")]
    found = values(record(*paths))
    assert found["review.raters"].value == 2 and not any(".alpha." in id for id in found)


def test_groups_are_kept_apart(tmp_path):
    lines = [answer(n, group="held_out" if n % 3 else "reworded") for n in range(30)]
    answers = write_answers(tmp_path / "evaluate", lines)
    items = review_set(answers, replace(CHOICE, groups=("reworded", "held_out")), SEED)

    def grade(item, subject):
        return (int(item.group == "reworded"), 1, 3)

    path = tmp_path / "ada.json"
    path.write_text(json.dumps(signed(unsigned(items, "Ada", grade), items.code)))
    import_reviews([path], answers, tmp_path / "imported", SEED)
    (tmp_path / "out").mkdir()
    found = values(run_stage(record_reviews, answers, tmp_path / "imported", tmp_path / "out", seed=SEED))
    assert found["review.accuracy.int4"].value == pytest.approx(10 / 3)
    assert (found["review.accuracy.reworded.int4"].value, found["review.accuracy.held_out.int4"].value) == (10, 0)
    assert found["review.accuracy.reworded.int4"].count == 10
    assert read_json(tmp_path / "out/review.json")["groups"] == {"held_out": 20, "reworded": 10}


def test_items_with_one_reference_are_one_cluster(tmp_path):
    """Twenty-four questions about four answers say no more than four do, so there is no interval."""
    same = [answer(n, reference=f"It costs {n % 4} kr.", facts=[]) for n in range(24)]
    answers = write_answers(tmp_path / "evaluate", same)
    (tmp_path / "out").mkdir()
    path = write_review(tmp_path / "ada.json", answers, "Ada")
    import_reviews([path], answers, tmp_path / "imported", SEED)
    found = values(run_stage(record_reviews, answers, tmp_path / "imported", tmp_path / "out", seed=SEED))
    assert found["review.accuracy.int4"].spread == {} and found["review.quality.int4"].spread == {}
    assert "review.facts.int4" not in found


def with_facts(path, answers, rater, decide):
    items = review_set(answers, CHOICE, SEED)
    review = unsigned(items, rater)
    for item in review["items"]:
        for fact in item["facts"]:
            decide(item, fact)
    path.write_text(json.dumps(signed(review, items.code)))
    return path


def test_recall_counts_confirmed_facts_and_forbidden_values(record, answers, tmp_path):
    """int4 states the price but not the weight; a price of 22 crowns is forbidden for one item that states it."""

    def prices_only(item, fact):
        fact["is_confirmed"] = "500" not in fact["text"]
        if item["id"] == "tea.json:2":
            fact["forbidden"] = ["22 kr"]

    found = values(record(write_review(tmp_path / "ada.json", answers, "Ada")))
    assert (found["review.facts.int4"].value, found["review.facts.int4"].count) == (0.5, 48)
    assert found["review.facts.tuned"].value == found["review.facts.base"].value == 0
    assert "review.facts.page" not in found
    (tmp_path / "imported").rename(tmp_path / "earlier")
    found = values(record(with_facts(tmp_path / "bo.json", answers, "Bo", prices_only)))
    assert (found["review.facts.int4"].value, found["review.facts.int4"].count) == (23 / 24, 24)


def test_recall_is_withheld_where_the_rules_find_facts_in_wrong_replies(record, answers, tmp_path, monkeypatch):
    monkeypatch.setattr("tinsmith.model.replies.rates.MAX_CONTROL_RECALL", -1)
    done = record(write_review(tmp_path / "ada.json", answers, "Ada"))
    assert not any(id.startswith("review.facts") for id in values(done)) and "review.accuracy.int4" in values(done)
    reason = read_json(tmp_path / "out/review.json")["facts_withheld"]
    assert "wrong by construction" in reason and done.summary[-1] == f"recall of confirmed facts is withheld: {reason}"


def test_a_fact_needs_most_raters(record, answers, tmp_path):
    def strike(item, fact):
        fact["is_confirmed"] = False

    def confirm(item, fact):
        fact["forbidden"] = ["99 kr"]

    record(
        with_facts(tmp_path / "ada.json", answers, "Ada", strike),
        with_facts(tmp_path / "bo.json", answers, "Bo", confirm),
    )
    rows = [json.loads(line) for line in (tmp_path / "out/facts.jsonl").read_text().splitlines()]
    assert len(rows) == 24 and all(row["facts"] == [] and len(row["struck"]) == 2 for row in rows)
    record(with_facts(tmp_path / "cy.json", answers, "Cy", confirm))
    rows = [json.loads(line) for line in (tmp_path / "out/facts.jsonl").read_text().splitlines()]
    assert all([fact["forbidden"] for fact in row["facts"]] == [["99 kr"]] * 2 for row in rows)


def test_reviews_of_other_answers_are_left_out(record, answers, tmp_path):
    record(write_review(tmp_path / "ada.json", answers, "Ada"))
    write_answers(answers, [answer(n, int4=reply("Another.")) for n in range(24)])
    done = record()
    assert done.measurements == () and done.summary == ("reviews of other answers, left out: 1",)
    done = record(write_review(tmp_path / "bo.json", answers, "Bo"))
    assert values(done)["review.raters"].value == 1 and done.summary[-1] == "reviews of other answers, left out: 1"


def test_a_review_that_was_changed_in_the_run_stops_the_stage(record, answers, tmp_path):
    record(write_review(tmp_path / "ada.json", answers, "Ada"))
    (stored,) = stored_reviews(tmp_path / "imported")
    document = stored.document
    document["items"][0]["replies"][0]["quality"] = 5
    write_json(stored.path, {"imported_at": stored.imported_at, "review": document})
    with pytest.raises(ArtifactError, match="changed after the page saved it") as caught:
        record()
    assert "--remove 'Ada'" in caught.value.hint
