"""Paired differences that the card's sentences claim, how small a difference the test set can show, and categories.

A difference of two numbers whose intervals overlap may still be certain, because both rest on the same questions. So
each comparison has its own interval.
"""

from collections.abc import Iterable

from tinsmith.core.categories import categories_apart
from tinsmith.core.paired import Change, perplexity_change, share_change
from tinsmith.derive.files import Files
from tinsmith.derive.losses import FOLDER, MIN_CATEGORY, RATIOS
from tinsmith.derive.replies import ANSWERS, withheld
from tinsmith.derive.rules import Derived, Fields, Rule
from tinsmith.model.answers.judge import passage_key
from tinsmith.model.answers.questions import Question
from tinsmith.model.facts import judge_facts
from tinsmith.model.replies.asked import SUBJECTS, Asked, all_asked
from tinsmith.model.replies.rates import fact_groups

CLOSED_BOOK = "evaluate/closed_book.jsonl"
COMPARED = (("tuned", "base"), ("int4", "tuned"), ("page", "int4"))
"""Whose stated facts are compared: of the first, less those of the second."""
_INT4 = f"{FOLDER}/test.int4.jsonl"


def detectable_ratio(files: Files, over: str, under: str) -> Derived | None:
    """Ratio of test perplexities that 80 % of test sets like this one would tell from 1; None for too few."""
    above, below = (files.lines(f"{FOLDER}/test.{model}.jsonl") for model in (over, under))
    nats = ([score["nll"] for score in scores] for scores in (below, above))
    change = perplexity_change(*nats, [score["tokens"] for score in above])
    return _detectable(change, "ratio", "conversations")


def page_difference(files: Files) -> Derived:
    """Share of known questions that the page answers right, less the share that INT4 alone does."""
    return _difference(_page_change(files), "questions")


def detectable_page_difference(files: Files) -> Derived | None:
    """Difference between page and INT4 alone that 80 % of question sets like this one would tell from none."""
    return _detectable(_page_change(files), "fraction", "questions")


def facts_difference(files: Files, group: str, over: str, under: str) -> Derived:
    """Share of a group's facts that one subject states, less the share that another states of the same facts."""
    return _difference(files.once(_fact_changes)[group, over, under], "facts")


def detectable_facts_difference(files: Files, group: str, over: str, under: str) -> Derived | None:
    """Difference in stated facts that 80 % of question sets like this one would tell from none."""
    return _detectable(files.once(_fact_changes)[group, over, under], "fraction", "facts")


def category_p_value(files: Files, category: str) -> Derived:
    """How often a category's loss would lie as far from that of all if categories were alike, corrected by Holm.

    Below 0.05, the category differs by more than chance, however many categories there are.
    """
    lines = files.lines(_INT4)
    return Derived(_p_values(files)[category], "p", _count(lines, category), "conversations")


def _page_change(files: Files) -> Change:
    lines = files.lines(CLOSED_BOOK)
    keys = [
        passage_key(Question(line["question"], id=line["id"], must_state=tuple(line["must_state"]))) for line in lines
    ]
    return share_change([line["right"] for line in lines], [line["page_right"] for line in lines], keys)


def _fact_changes(files: Files) -> dict[tuple[str, str, str], Change]:
    """(group, over, under) -> the change of stated facts; facts of one conversation are a cluster.

    Empty if the scores of facts are withheld.
    """
    if withheld(files):
        return {}
    asked = all_asked(files.lines(ANSWERS), ANSWERS)
    stated = {
        subject: [None if (text := one.text(subject)) is None else _stated(one, text) for one in asked]
        for subject in SUBJECTS
    }
    changes = {}
    for over, under in COMPARED:
        columns: dict[str, list[tuple[bool, bool, str]]] = {}
        for one, after, before in zip(asked, stated[over], stated[under], strict=True):
            if after is None or before is None:
                continue
            for fact, is_stated_before, is_stated_after in zip(one.facts, before, after, strict=True):
                group, *_ = fact_groups(one, fact, frozenset())
                columns.setdefault(group, []).append((is_stated_before, is_stated_after, one.conversation))
        for group, rows in sorted(columns.items()):
            changes[group, over, under] = share_change(*zip(*rows, strict=True))
    return changes


def _stated(one: Asked, text: str) -> list[bool]:
    return [verdict == "stated" for verdict in judge_facts(one.facts, one.question, text)]


def _difference(change: Change, count_of: str) -> Derived:
    return Derived(change.value, "fraction", change.count, count_of, change.interval)


def _detectable(change: Change, unit: str, count_of: str) -> Derived | None:
    return None if change.detectable is None else Derived(change.detectable, unit, change.count, count_of)


def _p_values(files: Files) -> dict[str, float]:
    return files.once(_all_p_values)


def _all_p_values(files: Files) -> dict[str, float]:
    lines = files.lines(_INT4)
    columns = ([line[name] for line in lines] for name in ("nll", "tokens", "category"))
    return categories_apart(*columns, files.seed)


def _count(lines: list[dict], category: str) -> int:
    return sum(line["category"] == category for line in lines)


def _ratios(files: Files) -> Iterable[Fields]:
    for over, under in RATIOS:
        if all(files.has(f"{FOLDER}/test.{model}.jsonl") for model in (over, under)):
            yield {"over": over, "under": under}


def _categories(files: Files) -> Iterable[Fields]:
    if files.has(_INT4):
        lines = files.lines(_INT4)
        yield from ({"category": name} for name in _p_values(files) if _count(lines, name) >= MIN_CATEGORY)


def _facts(files: Files) -> Iterable[Fields]:
    changes = files.once(_fact_changes) if files.has(ANSWERS) else {}
    return [dict(zip(("group", "over", "under"), key, strict=True)) for key in changes]


def _page(files: Files) -> Iterable[Fields]:
    return [{}] if files.has(CLOSED_BOOK) else []


DIFFERENCE_RULES = (
    Rule("evaluate.detectable.ratio.{over}_over_{under}", FOLDER + "/test.{over}.jsonl", detectable_ratio, _ratios),
    Rule("evaluate.difference.closed_book.page_minus_int4", CLOSED_BOOK, page_difference, _page),
    Rule("evaluate.detectable.closed_book.page_minus_int4", CLOSED_BOOK, detectable_page_difference, _page),
    Rule("evaluate.difference.facts.{group}.{over}_minus_{under}", ANSWERS, facts_difference, _facts),
    Rule("evaluate.detectable.facts.{group}.{over}_minus_{under}", ANSWERS, detectable_facts_difference, _facts),
    Rule("evaluate.category_p_value.{category*}", _INT4, category_p_value, _categories),
)
