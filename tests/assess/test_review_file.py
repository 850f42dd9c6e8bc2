"""Files that raters save: complete ones of this run's items are imported once, others are refused with the reason."""

import json
import shutil

import pytest

from reviews import CHOICE, SEED, answer, by_text, reply, signed, unsigned, write_answers, write_review
from tinsmith.assess.review_file import import_reviews, remove_review, stored_reviews
from tinsmith.assess.review_set import review_set
from tinsmith.core.errors import ArtifactError, UserError


@pytest.fixture
def answers(tmp_path):
    return write_answers(tmp_path / "evaluate", [answer(n) for n in range(24)])


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "imported/reviews"


@pytest.fixture
def take(answers, folder):
    """Import these files."""
    return lambda *paths: import_reviews(paths, answers, folder, SEED)


def write_signed(path, answers, change, rater="Ada"):
    """A file that a page signed after `change`, as if the page itself had allowed it."""
    items = review_set(answers, CHOICE, SEED)
    review = unsigned(items, rater)
    change(review)
    path.write_text(json.dumps(signed(review, items.code)), encoding="utf-8")
    return path


def refusal(take, folder, path):
    with pytest.raises(UserError) as caught:
        take(path)
    assert stored_reviews(folder) == [] and str(path) in caught.value.message and caught.value.hint
    assert "nothing was imported" in caught.value.message
    return caught.value.message


def test_several_raters_are_imported_and_kept_as_they_were_saved(take, folder, answers, tmp_path):
    paths = [write_review(tmp_path / f"{name}.json", answers, name) for name in ("Ada", "Bo \u00d6 \U0001f375")]
    assert [review.rater.name for review in take(*paths)] == ["Ada", "Bo \u00d6 \U0001f375"]
    stored = stored_reviews(folder)
    assert sorted(one.rater.name for one in stored) == ["Ada", "Bo \u00d6 \U0001f375"]
    assert [one.document for one in stored if one.rater.name == "Ada"] == [json.loads(paths[0].read_text())]


@pytest.mark.parametrize(
    "change",
    [
        lambda review: review["items"][3]["replies"][0].update(
            accuracy=1 - review["items"][3]["replies"][0]["accuracy"]
        ),
        lambda review: review["items"][3]["replies"].reverse(),
        lambda review: review["items"].pop(),
        lambda review: review["rater"].update(name="Bo"),
        lambda review: review["rater"].update(is_author=True),
        lambda review: review["items"][0]["facts"][0].update(is_confirmed=False),
        lambda review: review["items"][0]["facts"][0].update(forbidden=["1 kr"]),
        lambda review: review.update(run="other"),
        lambda review: review.update(signature="0" * 64),
    ],
)
def test_a_changed_file_is_refused(take, folder, answers, tmp_path, change):
    path = write_review(tmp_path / "ada.json", answers, "Ada")
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    assert "changed after the page saved it" in refusal(take, folder, path)


def test_other_spacing_is_no_change(take, answers, tmp_path):
    path = write_review(tmp_path / "ada.json", answers, "Ada")
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4))
    assert len(take(path)) == 1


def test_a_file_of_other_items_is_refused(take, folder, answers, tmp_path):
    other = write_answers(tmp_path / "other", [answer(n, int4=reply("?")) for n in range(24)])
    message = refusal(take, folder, write_review(tmp_path / "ada.json", other, "Ada"))
    assert "of other items than this run's" in message and "tea-bot" in message
    few = write_answers(tmp_path / "few", [answer(n, group="trained") for n in range(24)])
    path = write_review(tmp_path / "ada.json", answers, "Ada")
    with pytest.raises(UserError, match="of other items than this run's: the run asked no questions of the group"):
        import_reviews([path], few, folder, SEED)


def test_twenty_complete_items_are_enough_and_fewer_are_named(take, folder, answers, tmp_path):
    def keep(count):
        return lambda review: review.update(items=review["items"][:count])

    message = refusal(take, folder, write_signed(tmp_path / "ada.json", answers, keep(12)))
    assert "12 of 24 items are, at least 20" in message and "8 more items are needed" in message
    assert len(take(write_signed(tmp_path / "ada.json", answers, keep(20)))[0].items) == 20


def test_all_items_are_needed_where_there_are_fewer_than_twenty(take, folder, tmp_path):
    small = write_answers(tmp_path / "small", [answer(n) for n in range(11)])
    path = write_signed(tmp_path / "ada.json", small, lambda review: review["items"].pop())
    with pytest.raises(UserError, match="1 more items are needed"):
        import_reviews([path], small, folder, SEED)
    assert len(import_reviews([write_review(path, small, "Ada")], small, folder, SEED)) == 1


def test_what_is_half_done_is_named(take, folder, answers, tmp_path):
    def forget(review):
        review["items"][1]["replies"][1]["factual"] = None
        review["items"][2]["facts"][0]["is_confirmed"] = None

    message = refusal(take, folder, write_signed(tmp_path / "ada.json", answers, forget))
    assert "22 of 24" in message and "lacks: factual of reply B" in message and "the fact '" in message


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda review: review["items"][0].update(id="tea.json:99"), "item 1 (tea.json:99) is not of the set"),
        (lambda review: review["items"].append(review["items"][0]), "is not of the set or stands twice"),
        (lambda review: review["items"][0]["replies"].pop(), "item 1 (tea.json:"),
        (lambda review: review["items"][0]["replies"][0].update(name="0" * 16), "has other replies than the set"),
        (lambda review: review["items"][0]["facts"].pop(), "has other facts than the set"),
        (lambda review: review["items"][0]["replies"][0].update(quality=6), "not a review: items.0.replies.0.quality"),
        (lambda review: review["items"][0]["replies"][0].update(accuracy=True), "items.0.replies.0.accuracy"),
        (lambda review: review["rater"].update(name=""), "not a review: rater.name"),
        (lambda review: review.update(set="../.."), "not a review: set"),
        (lambda review: review.update(of=["gpt"]), "not a review: of.0"),
        (lambda review: review.update(count=10**9), "not a review: count"),
        (lambda review: review.pop("items"), "not a review: items"),
        (lambda review: review.update(more=1), "not a review: more"),
    ],
)
def test_what_no_page_would_save_is_refused(take, folder, answers, tmp_path, change, problem):
    assert problem in refusal(take, folder, write_signed(tmp_path / "ada.json", answers, change))


@pytest.mark.parametrize("content", ["", "[", "[]", "7", "{}", '{"signature": 3}', "[" * 100_000, "\ud800"])
def test_what_is_no_review_is_refused(take, folder, tmp_path, content):
    path = tmp_path / "ada.json"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserError, match="not a review"):
        take(path)
    with pytest.raises(UserError, match="cannot be read"):
        take(tmp_path / "gone.json")


def test_one_bad_file_keeps_all_out(take, folder, answers, tmp_path):
    good = write_review(tmp_path / "ada.json", answers, "Ada")
    (tmp_path / "bo.json").write_text("{}")
    with pytest.raises(UserError, match=r"bo\.json: not a review"):
        take(good, tmp_path / "bo.json")
    assert stored_reviews(folder) == []


def test_a_rater_has_one_review(take, folder, answers, tmp_path):
    take(write_review(tmp_path / "ada.json", answers, "Ada L."))
    again = write_review(tmp_path / "again.json", answers, "ada  l.", lambda item, subject: (0, 0, 1))
    with pytest.raises(UserError, match=r"there is a review by 'ada  l\.' already \(imported on \d{4}-") as caught:
        take(again)
    assert "--remove" in caught.value.hint and len(stored_reviews(folder)) == 1
    remove_review(folder, "ADA L.")
    assert stored_reviews(folder) == [] and len(take(again)) == 1
    bo = write_review(tmp_path / "bo.json", answers, "Bo")
    shutil.copy(bo, tmp_path / "copy.json")
    with pytest.raises(UserError, match=r"copy.json: there is a review by 'Bo' already \(in .*bo.json\)"):
        take(bo, tmp_path / "copy.json")


def test_a_review_of_earlier_answers_is_replaced(take, folder, answers, tmp_path):
    take(write_review(tmp_path / "ada.json", answers, "Ada"))
    write_answers(answers, [answer(n, int4=reply("Another.")) for n in range(24)])
    take(write_review(tmp_path / "again.json", answers, "Ada"))
    (stored,) = stored_reviews(folder)
    assert stored.document == json.loads((tmp_path / "again.json").read_text())


@pytest.mark.parametrize("name", ["Bo", "", "../x"])
def test_only_a_rater_with_a_review_can_be_removed(take, folder, answers, tmp_path, name):
    take(write_review(tmp_path / "ada.json", answers, "Ada"))
    with pytest.raises(UserError, match=r"there is no review by .*; reviews are by: Ada"):
        remove_review(folder, name)
    assert len(stored_reviews(folder)) == 1


def test_a_foreign_file_among_the_reviews_is_named(take, folder, answers, tmp_path):
    take(write_review(tmp_path / "ada.json", answers, "Ada", by_text))
    (folder / "notes.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"notes\.json: not an imported review"):
        stored_reviews(folder)
