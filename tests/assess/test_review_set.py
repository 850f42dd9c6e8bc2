"""Which items a review has, and that its page does not say whose replies are whose."""

import json
from dataclasses import replace

import pytest

from reviews import CHOICE, SEED, answer, reply, write_answers
from tinsmith.assess.review_set import MIN_ITEMS, fact_context, review_set
from tinsmith.browser.runtime import WEB_DIR
from tinsmith.commands.review_page import review_page
from tinsmith.core.errors import UserError
from tinsmith.core.run_dir import file_sha256
from tinsmith.model.facts import facts_of


@pytest.fixture
def answers(tmp_path):
    groups = ("held_out", "trained")
    return write_answers(tmp_path / "evaluate", [answer(n, group=groups[n % 2]) for n in range(60)])


def test_items_are_of_the_chosen_groups_and_the_smaller_set_is_part_of_the_larger(answers):
    shown = review_set(answers, replace(CHOICE, count=20), SEED).items
    assert len(shown) == 20 and {item.group for item in shown} == {"held_out"}
    assert review_set(answers, CHOICE, SEED).items[:20] == shown
    assert [item.id for item in shown] != sorted(item.id for item in shown)
    both = review_set(answers, replace(CHOICE, groups=("trained", "held_out")), SEED).items
    assert {item.group for item in both} == {"trained", "held_out"}


def test_everything_shown_is_in_the_digest(answers):
    before = review_set(answers, CHOICE, SEED).sha256
    changes = ({"reference": "x"}, {"question": "x"}, {"system": "x"}, {"int4": reply("x")}, {"facts": []})
    for change in changes:
        lines = [answer(n, **(change if n == 4 else {})) for n in range(30)]
        write_answers(answers, lines)
        changed = review_set(answers, CHOICE, SEED).sha256
        write_answers(answers, [answer(n) for n in range(30)])
        assert changed not in (before, review_set(answers, CHOICE, SEED).sha256), change


def test_the_page_does_not_say_whose_a_reply_is(answers):
    """No names of subjects beside replies, and names that the published hash of the answers does not give."""
    items = review_set(answers, CHOICE, SEED)
    page = review_page(items, "tea-bot", WEB_DIR)
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert data["of"] == ["base", "int4"] and data["min_items"] == MIN_ITEMS
    for item in data["items"]:
        assert item.keys() == {"id", "system", "question", "reference", "facts", "replies"}
        assert all(reply.keys() == {"name", "text"} for reply in item["replies"])
    first = [items.subjects_of(item["id"])[item["replies"][0]["name"]] for item in data["items"]]
    assert 5 < first.count("base") < 25, "the order on the page must not say it either"
    assert file_sha256(answers / "answers.jsonl") not in page


def test_the_page_is_the_hidden_reference_and_the_site_too(tmp_path):
    page = {"rung": "sure", "text": "From the shop.", "passages": ["p1"], "by": "owner"}
    answers = write_answers(tmp_path, [answer(n, page=page if n else None) for n in range(25)])
    items = review_set(answers, replace(CHOICE, subjects=("page", "reference")), SEED)
    assert len(items.items) == 24, "a question that the page was not asked is left out"
    replies = items.items[0].replies
    assert (replies["page"], replies["reference"]) == ("From the shop.", items.items[0].reference)


def test_equal_facts_are_told_apart_by_what_they_are_about():
    reference = "The warranty is 5 years. Liability under ABS is at most 5 years, but not for paint by Alcro."
    facts = [fact.as_dict() for fact in facts_of(reference, "Who pays?", "", frozenset())]
    contexts = {(fact["text"], fact_context(fact, reference)) for fact in facts}
    assert ("5 year", "warranty") in contexts, contexts
    assert ("5 year", "at most, liability, abs, paint, alcro") in contexts, contexts


def test_what_there_is_none_of_is_named(answers):
    with pytest.raises(UserError, match="no questions of the group reworded"):
        review_set(answers, replace(CHOICE, groups=("reworded",)), SEED)
    with pytest.raises(UserError, match="there are none of page"):
        review_set(answers, replace(CHOICE, subjects=("int4", "page")), SEED)
