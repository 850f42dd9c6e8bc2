"""What the owner of the data should look at first, in plain sentences with what to do, from the report alone."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinsmith.data.meanings import MEANINGS, SHARED_TEXTS
from tinsmith.data.not_used import UNUSED_FIELDS, not_used
from tinsmith.data.report import counted

MOST = 10
"""Sentences at the top of the report."""
_MOST_FLAGS = 4
_FEW_IN_CATEGORY = 5
_FEW_CONVERSATIONS = 200
_MANY_NEAR = 0.2
_MANY_DUPLICATES = 0.05
_TWO_WAYS = 0.05
_MOST_NAMES = 3
_CONTENT_FIELDS = frozenset(
    "context passage document documents text input system system_prompt instructions reasoning reasoning_content"
    " thinking thoughts choices options weight tools functions chosen history turns dialog explanation".split()
)
_LEFT_ON_PURPOSE = frozenset(["rejected"])
"""Fields that must not be learned: the worse answer of a preference pair."""
_PROPOSAL = re.compile(r"Say which fields are which.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Advice:
    """A problem of the data as a whole."""

    text: str
    action: str
    section: str
    """Id of the section of the page that shows it."""


def advice(report: Mapping[str, Any]) -> tuple[Advice, ...]:
    """What to do about the data, the most important first, at most `MOST`.

    Args:
        report: As written to `report.json`.
    """
    everything = (
        *(_private, _left_out, _unused_content, _contradictions, _spellings, _cut, _flagged, _blocks),
        *(_duplicates, _languages, _categories, _size, _unused),
    )
    return tuple(one for part in everything for one in part(report))[:MOST]


def _groups(report: Mapping[str, Any], *what: str) -> list[dict[str, Any]]:
    return [group for group in report["changes"] if group["what"] in what]


def _private(report: Mapping[str, Any]) -> Iterator[Advice]:
    groups = [group for group in _groups(report, "flagged") if group["reason"] not in MEANINGS]
    for group in groups:
        yield Advice(
            f"In {_conversations(group['count'])} there is private data: {group['reason']}{_such_as(group)}.",
            'Remove it, or set data.privacy = "mask"; whatever is trained on can come out again. List what is public, '
            "such as your own address, in data.privacy_allow.",
            "flagged",
        )


def _left_out(report: Mapping[str, Any]) -> Iterator[Advice]:
    groups = _groups(report, "dropped")
    count, read = report["records"]["dropped"], report["steps"][0]["before"]
    if groups:
        most = max(groups, key=lambda group: group["count"])
        reason = most["reason"] if len(groups) == 1 else f"most often: {most['reason']}"
        verb = "was" if count == 1 else "were"
        proposal = _PROPOSAL.search(most["examples"][0]["detail"]) if most["examples"] else None
        text = f"{count:,} of {read:,} records {verb} left out; {reason}{_such_as(most)}."
        yield Advice(text, f"{proposal[0]}." if proposal else "Correct them.", "left-out")


def _unused_content(report: Mapping[str, Any]) -> Iterator[Advice]:
    """Fields that usually hold what an answer depends on."""
    fields = {name: count for name, count in _unused_field_counts(report).items() if name.lower() in _CONTENT_FIELDS}
    if fields:
        names = ", ".join(f"{name} ({counted(count, 'record')})" for name, count in fields.items())
        yield Advice(
            f"{'A field with content is' if len(fields) == 1 else 'Fields with content are'} not used: {names}.",
            "Name them in data.fields, or the model learns answers without what they are based on.",
            "not-used",
        )


def _unused(report: Mapping[str, Any]) -> Iterator[Advice]:
    fields = [name for name in _unused_field_counts(report) if name.lower() not in _CONTENT_FIELDS]
    others = [one for one in not_used(report) if one.reason != UNUSED_FIELDS]
    parts = [f"{one.name} {one.where}" for one in others if one.is_part]
    files = [one.name for one in others if not one.is_part]
    named = []
    if fields:
        named.append(f"the field{'' if len(fields) == 1 else 's'} {_first_of(fields)}")
    if parts:
        named.append(_first_of(parts))
    if files:
        named.append(f"the file{'' if len(files) == 1 else 's'} {_first_of(files)}")
    if named:
        yield Advice(f"Not used: {'; '.join(named)}.", "Fine if they hold no conversations.", "not-used")


def _unused_field_counts(report: Mapping[str, Any]) -> dict[str, int]:
    """Field -> records of all files together, the most frequent first, without what is left out on purpose."""
    fields = [one for one in not_used(report) if one.reason == UNUSED_FIELDS]
    return {one.name: one.count for one in fields if one.name.lower() not in _LEFT_ON_PURPOSE}


def _first_of(names: Sequence[str]) -> str:
    shown = [*names[:_MOST_NAMES], *([f"{len(names) - _MOST_NAMES:,} more"] if names[_MOST_NAMES:] else ())]
    return ", ".join(shown[:-1]) + " and " * bool(shown[1:]) + shown[-1]


def _contradictions(report: Mapping[str, Any]) -> Iterator[Advice]:
    pairs = report["contradictions"]
    if pairs:
        first, second = pairs[0]["first"], pairs[0]["second"]
        values = f"{', '.join(first['values'])} or {', '.join(second['values'])}"
        start = "A pair of answers seems" if len(pairs) == 1 else f"{len(pairs):,} pairs of answers seem"
        yield Advice(
            f"{start} to contradict each other, such as those to “{first['question']}”: {values}.",
            "Decide which is right and correct the other: the model learns both.",
            "contradictions",
        )


def _cut(report: Mapping[str, Any]) -> Iterator[Advice]:
    count = report["records"]["cut"]
    if count:
        yield Advice(
            f"{_conversations(count)} {'is' if count == 1 else 'are'} longer than data.max_tokens: the last messages "
            "were cut off.",
            "Raise data.max_tokens if the ends matter; training then takes more memory.",
            "changed",
        )


def _flagged(report: Mapping[str, Any]) -> Iterator[Advice]:
    """A sentence for each of the flags that matter most, and one for all others."""
    order = list(MEANINGS)
    groups = [group for group in _groups(report, "flagged") if group["reason"] in MEANINGS]
    groups.sort(key=lambda group: (-group["count"] * (len(order) - order.index(group["reason"])), group["reason"]))
    for group in groups[:_MOST_FLAGS]:
        meaning = MEANINGS[group["reason"]]
        yield Advice(
            f"In {_conversations(group['count'])} {meaning.clause}{_such_as(group)}.", meaning.action, "flagged"
        )
    if rest := groups[_MOST_FLAGS:]:
        names = "; ".join(f"{group['reason']} ({group['count']:,})" for group in rest)
        yield Advice(f"Others stand out for other reasons: {names}.", "See the examples.", "flagged")


def _spellings(report: Mapping[str, Any]) -> Iterator[Advice]:
    if spellings := report["spellings"]:
        forms = " and ".join(f"{form['text']} ({form['count']:,})" for form in spellings[0]["forms"])
        start = "A name is" if len(spellings) == 1 else f"{len(spellings)} names are"
        yield Advice(
            f"{start} spelled in two ways, such as {forms}.", "Use one spelling, or the model mixes them.", "spellings"
        )


def _blocks(report: Mapping[str, Any]) -> Iterator[Advice]:
    total, long = report["form"]["blocks"], report["form"]["long_blocks"]
    if _TWO_WAYS * total < long < (1 - _TWO_WAYS) * total:
        yield Advice(
            f"The block that ends answers is on one line in {total - long:,} conversations, and over several lines in "
            f"{long:,}.",
            "Write it the same way everywhere: the model makes fewer mistakes.",
            "numbers",
        )


def _languages(report: Mapping[str, Any]) -> Iterator[Advice]:
    counts = {code: count for code, count in report["languages"]["counts"].items() if code}
    total = sum(counts.values())
    large = [f"{code} {count / total:.0%}" for code, count in counts.items() if count > total / 10]
    if len(large) > 1:
        yield Advice(
            f"The conversations are in {len(large)} languages: {', '.join(large)}.",
            "A small model does one language better than two: make one model for each.",
            "numbers",
        )


def _categories(report: Mapping[str, Any]) -> Iterator[Advice]:
    small = [one for one in report["categories"] if one["count"] < _FEW_IN_CATEGORY]
    if small and len(report["categories"]) > 1:
        names = ", ".join(f"{one['name']} ({one['count']})" for one in small[:3])
        more = f" and {len(small) - 3} more" if len(small) > 3 else ""
        start = "A category has" if len(small) == 1 else f"{len(small)} categories have"
        yield Advice(
            f"{start} fewer than {_FEW_IN_CATEGORY} conversations: {names}{more}.",
            "Add conversations there, or put them into a larger category.",
            "categories",
        )
    largest = report["categories"][0]
    if len(report["categories"]) > 1 and largest["share"] > 0.5:
        yield Advice(
            f"{largest['share']:.0%} of the conversations are in one category, {largest['name']}.",
            "Add conversations to the others if visitors ask about them as often.",
            "categories",
        )


def _duplicates(report: Mapping[str, Any]) -> Iterator[Advice]:
    repeated = report["repeated_questions"]
    if repeated["questions"]:
        start = "A question has" if repeated["questions"] == 1 else f"{repeated['questions']:,} questions have"
        yield Advice(
            f"{start} more than one answer, such as “{repeated['example']}”.",
            "Keep the best answer of each: the model learns all of them.",
            "near-duplicates",
        )
    used = sum(report["splits"].values())
    near = report["near_duplicates"]
    if near["conversations"] > _MANY_NEAR * used:
        yield Advice(
            f"{near['conversations']:,} of {used:,} questions are nearly the same as another one, in "
            f"{counted(near['clusters'], 'group')}.",
            "Other topics teach the model more than other wordings of one question.",
            "near-duplicates",
        )
    copies = report["records"]["duplicate"]
    if copies > _MANY_DUPLICATES * report["steps"][0]["before"]:
        yield Advice(
            f"{copies:,} records are exact copies of others and were left out.",
            "Check whether a file was exported twice.",
            "left-out",
        )


def _size(report: Mapping[str, Any]) -> Iterator[Advice]:
    used = sum(report["splits"].values())
    if used < _FEW_CONVERSATIONS:
        yield Advice(
            f"There are only {used} conversations, and {report['splits']['test']} of them measure the result.",
            "Numbers on the card will have wide intervals. Add conversations if you can.",
            "numbers",
        )


def _conversations(count: int) -> str:
    return counted(count, "conversation")


def _such_as(group: Mapping[str, Any]) -> str:
    """The first example: its place, or the text that many conversations share."""
    examples: Sequence[Mapping[str, str]] = group["examples"]
    if group["reason"] in SHARED_TEXTS and examples:
        return f": “{examples[0]['detail']}”"
    return f", such as {examples[0]['file']}, {examples[0]['position']}" if examples else ""
