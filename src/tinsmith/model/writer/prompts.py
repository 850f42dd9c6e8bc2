"""Prompts for writers, as chat messages. The base model and endpoints get the same ones."""

from collections.abc import Sequence

from tinsmith.model.conversations import Message
from tinsmith.model.passages import Passage

STYLES = (
    "one plain sentence",
    "a few words, as one types them into a search box",
    "a sentence about their own situation, then the question",
    "one plain sentence about a single detail",
)
"""Ways in which a visitor may ask. Successive passages take them in turn."""

NOTHING = "NONE"
"""What a model replies if no text answers a question."""

_MAX_CHARACTERS = 2500
"""Longer texts are cut, for models with a short context."""
_ASK = (
    "Write what a visitor of a website would ask to be told this. They have not read it, so use other words than it "
    "does, and do not give the answer away. Write in the language of the text. Write nothing but the question."
)
_EXAMPLES = (
    (
        "Can I return opened tea?",
        "Opened bags cannot be returned. A bag that arrives stale is replaced free of charge within 30 days.",
        (
            "Is it possible to send back a pack I have tasted?",
            "leaves taste old new ones?",
            "The tin I ordered smells of nothing. What can I do?",
            "How soon do I have to tell you that something tastes old?",
        ),
    ),
    (
        "What does a tea workshop cost?",
        "A workshop takes two hours and costs 450 kr per person, with six people at most.",
        (
            "How much do I pay to learn brewing from you?",
            "price brewing class",
            "I would like to bring my colleagues along. How many of us can come?",
            "For how long does a class go on?",
        ),
    ),
)
"""Title, text, and a question in each style."""


def known_prompt(passage: Passage, style: int = 0) -> list[Message]:
    """Asks for a question that the passage answers.

    Args:
        passage: Shown with its title, which often says what the text is about.
        style: Index into `STYLES`.
    """
    messages = []
    for title, text, questions in _EXAMPLES:
        request = Message("user", _request(title, text, style))
        messages += [request, Message("assistant", questions[style % len(STYLES)])]
    return [*messages, Message("user", _request(passage.title, _cut(passage.text), style))]


def wordings_prompt(passage: Passage, count: int) -> list[Message]:
    """Asks for several ways to ask what a passage answers, one per line."""
    return [
        Message(
            "user",
            f"{_text(passage)}\n\nWrite {count} different ways in which visitors of a website may ask for what this "
            "text says, one a line. They have not read it: use everyday words in place of its own. Write some as one "
            "types into a search box, and some about the visitor's own situation. Ask for each fact of the text at "
            "least once, but give no figure of it away. Write in the language of the text, and nothing but the "
            "questions.",
        )
    ]


def near_prompt(passage: Passage) -> list[Message]:
    """Asks for a question on the passage's topic that it does not answer."""
    return [
        Message(
            "user",
            f"{_text(passage)}\n\nWrite a question on the same topic that a visitor of this website may well ask, but "
            "that this text does not answer. Write in the language of the text. Write nothing but the question.",
        )
    ]


def follow_up_prompt(passage: Passage, first: str) -> list[Message]:
    """Asks for a second question that the passage answers too, and that makes sense only after the first."""
    return [
        Message(
            "user",
            f"{_text(passage)}\n\nA visitor asked: {first}\nWrite what they ask next. The text above answers it. It "
            "must make sense only after the first question: do not name the topic again, say `it` or leave it out. Do "
            "not give the answer away. Write in the language of the text. Write nothing but the question.",
        )
    ]


def quote_prompt(questions: Sequence[str], passages: Sequence[Passage]) -> list[Message]:
    """Asks for the words of a passage that answer the last of several questions, given in the order asked."""
    texts = "\n\n".join(_text(passage) for passage in passages)
    dialogue = "\nThen: ".join(questions)
    last = "the last question" if len(questions) > 1 else "this question"
    return [
        Message(
            "user",
            f"{texts}\n\nA visitor asked: {dialogue}\nCopy the shortest part of a text that answers {last}, word for "
            f"word. If no text answers it, write {NOTHING}.",
        )
    ]


def _request(title: str, text: str, style: int) -> str:
    return f"{_named(title, text)}\n\n{_ASK} Form: {STYLES[style % len(STYLES)]}."


def _text(passage: Passage) -> str:
    return _named(passage.title, _cut(passage.text))


def _named(title: str, text: str) -> str:
    return f"Title: {title}\nText: {text}"


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS].rsplit(' ', 1)[0]} ..."
