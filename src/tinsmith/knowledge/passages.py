"""The answers of the conversations as passages."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tinsmith.model.conversations import Conversation
from tinsmith.model.passages import Passage, Source

MIN_CONTENT_WORDS = 3
"""Fewest content words of a later question that is understood without the turns before it."""
_CONTENT_WORD_LETTERS = 4
"""Shorter words are mostly grammar, in all languages that separate words."""
_OPENING_WORDS = 4
"""How many first words of a later question are searched for words that refer back."""
_REFERRING = frozenset(
    # English, then Swedish, German, French, Spanish and Indonesian.
    "it its it's that that's this these those they them their he she him her one ones and but so or then also else"
    " instead same other others another yes no ok okay thanks sure"
    " den det denna detta dessa de dem deras och men så då också istället samma annan annat andra ja nej tack"
    " es das dies dieser diese dieses sie er und aber dann auch dort ja nein danke"
    " il elle ils elles ça cela ceci et mais alors aussi oui non merci"
    " eso esto esa ese ellos ellas y pero entonces también sí gracias"
    " itu ini dan tapi lalu juga ya tidak".split()
)
_FOLLOW_UPS = (
    "...",
    "…",
    "what about",
    "how about",
    "why",
    "hur är det med",
    "varför",
    "was ist mit",
    "warum",
    "et pour",
)
"""Beginnings of questions that carry on with the topic before."""


@dataclass(frozen=True, slots=True)
class AnswerPassages:
    """Passages of conversations, and how many answers are not among them."""

    passages: tuple[Passage, ...]
    answers: int
    """Answers in all conversations."""
    merged: int
    """Answers that are word for word another passage; their questions went to it."""
    dependent: int
    """Answers of later turns, left out because they may need the turns before."""


@dataclass(frozen=True, slots=True)
class _Turn:
    conversation: Conversation
    number: int
    """From 1."""
    question: str
    answer: str


def passages_of(conversations: Iterable[Conversation]) -> AnswerPassages:
    """Every answer that stands alone, ordered by file and position, whatever split it is in.

    A conversation's first answer stands alone, a later one if its question does (`stands_alone`). Identical answers
    become one passage with all their questions. System prompts are no passages.
    """
    passages: dict[str, Passage] = {}
    answers = dependent = merged = 0
    for turn in _turns(sorted(conversations, key=_position)):
        answers += 1
        if turn.number > 1 and not stands_alone(turn.question):
            dependent += 1
            continue
        key = " ".join(turn.answer.split())
        same = passages.get(key)
        if same is None:
            passages[key] = _passage(turn)
            continue
        merged += 1
        questions = tuple(dict.fromkeys((*same.questions, turn.question)))
        passages[key] = Passage(same.id, same.kind, same.title, same.text, same.source, questions, same.category)
    return AnswerPassages(tuple(passages.values()), answers, merged, dependent)


def stands_alone(question: str) -> bool:
    """Whether a message of a later turn is a question that is understood without the turns before it.

    It is judged by its words alone: it has a question mark and `MIN_CONTENT_WORDS` words of content, and none of its
    first words refers back.
    """
    if question.strip().casefold().startswith(_FOLLOW_UPS) or not re.search("[?？؟]", question):
        return False
    words = re.findall(r"[^\W\d_][\w'’-]*", question.casefold().replace("’", "'"))
    if not _REFERRING.isdisjoint(words[:_OPENING_WORDS]):
        return False
    return sum(len(word) >= _CONTENT_WORD_LETTERS for word in words) >= MIN_CONTENT_WORDS


def _turns(conversations: Iterable[Conversation]) -> Iterator[_Turn]:
    for conversation in conversations:
        messages = [message for message in conversation.messages if message.role != "system"]
        for at in range(0, len(messages), 2):
            yield _Turn(conversation, at // 2 + 1, messages[at].content.strip(), messages[at + 1].content.strip())


def _passage(turn: _Turn) -> Passage:
    conversation = turn.conversation
    place = conversation.source.get("position", "")
    if turn.number > 1:
        place = f"{place}, turn {turn.number}"
    return Passage(
        id=conversation.id if turn.number == 1 else f"{conversation.id}:turn {turn.number}",
        kind="answer",
        title=" ".join(turn.question.split()),
        text=turn.answer,
        source=Source(conversation.source.get("file", ""), place),
        questions=(turn.question,),
        category=conversation.category,
    )


def _position(conversation: Conversation) -> tuple[str, list[int], str]:
    """File and position of a conversation, with `line 9` before `line 12`."""
    position = conversation.source.get("position", "")
    return conversation.source.get("file", ""), [int(n) for n in re.findall(r"\d+", position)], conversation.id
