"""What the owner of the data should look at first, in plain sentences with what to do, from the report alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST = 10
"""Sentences at the top of the report."""
_MOST_FLAGS = 4
_FEW_IN_CATEGORY = 5
_FEW_CONVERSATIONS = 200
_MANY_NEAR = 0.2
_MANY_DUPLICATES = 0.05
_TWO_WAYS = 0.05


UNUSED_FIELDS = "fields of records that are not used"
"""Reason of `Unused` for a field."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a flag means for its owner."""

    clause: str
    """What is so, after `in 3 conversations`."""
    action: str


MEANINGS = {
    "garbled characters: the text was read in a wrong encoding": Meaning(
        "characters are garbled, because the text was read in a wrong encoding",
        "Export the file again as UTF-8, or correct the text.",
    ),
    "JSON at the end of an answer cannot be read": Meaning(
        "the JSON at the end of an answer cannot be read",
        "Correct the JSON, or the model learns to write broken JSON.",
    ),
    "placeholder that was never filled in": Meaning(
        "a placeholder was never filled in", "Fill it in, or the model writes it to visitors."
    ),
    "reasoning of a language model in an answer": Meaning(
        "an answer has the reasoning of a language model in it", "Keep only the answer itself."
    ),
    "answer speaks as a language model": Meaning(
        "the answer speaks as a language model", "Write the answer as your own staff would give it."
    ),
    "answer seems cut off": Meaning(
        "the answer seems cut off", "Complete it, or the model learns to stop in the middle."
    ),
    "answer has no content": Meaning("the answer has no content", "Write the answer, or delete the conversation."),
    "answer lacks the closing block of JSON that most answers have": Meaning(
        "an answer lacks the closing block of JSON that most answers have", "Add the block."
    ),
    "closing block of JSON has other keys than most": Meaning(
        "the closing block of JSON has other keys than most", "Use the same keys everywhere."
    ),
    "HTML in the text": Meaning("there is HTML in the text", "Remove the tags, or visitors read them."),
    "citation marks of a chat tool": Meaning(
        "there are citation marks of a chat tool", "Remove the marks: they point to nothing."
    ),
    "text of a special token, read as plain text": Meaning(
        "the text spells a special token of some models",
        "Remove it if a program left it there; it is read as plain text.",
    ),
    "language is not data.language": Meaning(
        "the language is not data.language", "Move them to data of their own, or correct data.language."
    ),
    "language differs from that of most conversations": Meaning(
        "the language differs from that of the others", "Move them to data of their own, or translate them."
    ),
    "answer repeats its question": Meaning(
        "the answer repeats its question", "Begin with the answer, or the model learns to repeat questions."
    ),
    "answer is word for word that of many other questions": Meaning(
        "the answer is word for word that of many other questions", "Keep it where it really answers the question."
    ),
    "answer begins with a sentence that many answers share": Meaning(
        "the answer begins with a sentence that many share", "Delete the sentence where it says nothing."
    ),
    "answer ends with a sentence that many answers share": Meaning(
        "the answer ends with a sentence that many share", "Delete the sentence where it says nothing."
    ),
    "answer is far longer than the others": Meaning(
        "an answer is far longer than the others", "Shorten it, or split the conversation."
    ),
    "answer is far shorter than the others": Meaning(
        "an answer is far shorter than the others", "Complete it if something is missing."
    ),
    "answer ends without a full stop, unlike most": Meaning(
        "the answer ends without a full stop, unlike most", "Complete it if something is missing."
    ),
}
"""Reason of a flag -> its meaning, the most harmful first."""
_SHARED_TEXTS = frozenset(reason for reason in MEANINGS if " many " in reason)
"""Reasons whose detail is the text itself."""


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
        *(_private, _left_out, _unused_fields, _contradictions, _spellings, _cut, _flagged, _blocks),
        *(_duplicates, _languages, _categories, _unused_files, _size),
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
        yield Advice(
            f"{count:,} of {read:,} records {verb} left out; {reason}{_such_as(most)}.", "Correct them.", "left-out"
        )


def _unused_fields(report: Mapping[str, Any]) -> Iterator[Advice]:
    fields = [one for one in report["unused"] if one["reason"] == UNUSED_FIELDS]
    if fields:
        most = max(fields, key=lambda one: one["count"])
        start = "A field of records is" if len(fields) == 1 else f"{len(fields)} fields of records are"
        yield Advice(
            f"{start} not used: {most['name']} in {most['count']:,} records"
            + (f" and {len(fields) - 1} more." if len(fields) > 1 else "."),
            "Name them in data.fields if the model should learn from them.",
            "not-used",
        )


def _unused_files(report: Mapping[str, Any]) -> Iterator[Advice]:
    files = [one for one in report["unused"] if one["reason"] != UNUSED_FIELDS]
    if files:
        start = "A file or part of a file is" if len(files) == 1 else f"{len(files):,} files or parts of files are"
        more = f" and {len(files) - 1:,} more" if len(files) > 1 else ""
        yield Advice(
            f"{start} not used: {files[0]['name']} ({files[0]['reason']}){more}.",
            "Fine if they hold no conversations.",
            "not-used",
        )


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
            f"{near['clusters']:,} groups.",
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
    return "1 conversation" if count == 1 else f"{count:,} conversations"


def _such_as(group: Mapping[str, Any]) -> str:
    """The first example: its place, or the text that many conversations share."""
    examples: Sequence[Mapping[str, str]] = group["examples"]
    if group["reason"] in _SHARED_TEXTS and examples:
        return f": “{examples[0]['detail']}”"
    return f", such as {examples[0]['file']}, {examples[0]['position']}" if examples else ""
