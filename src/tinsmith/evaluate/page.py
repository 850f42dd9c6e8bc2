"""What the chat page replies to the questions that the models are asked.

Its index holds every answer of the data, the held-out ones too, and it may hold their questions. So its replies are
open-book: they show how well it finds what it was given.
"""

from collections.abc import Sequence
from pathlib import Path

from tinsmith.evaluate.generate import Question
from tinsmith.model.answers.answers import Answers
from tinsmith.model.answers.publish import SETTINGS_FILE
from tinsmith.model.answers.rates import SHOWN
from tinsmith.model.answers.small_talk import small_talk_of
from tinsmith.model.replies.asked import SMALL_TALK_RUNG, UNKNOWN_RUNG, PageReply


def open_answers(knowledge_dir: Path) -> Answers | None:
    """The page's answers; None if the model answers alone."""
    folder = knowledge_dir / "answers"
    return Answers(folder) if (folder / SETTINGS_FILE).exists() else None


def page_replies(answers: Answers, questions: Sequence[Question], model_texts: Sequence[str]) -> list[PageReply]:
    """The page's reply to each question, as a visitor's first message.

    Args:
        answers: The page's.
        questions: Each is asked without the ones before.
        model_texts: What int4 replies to each, which the page shows if its fallback is the model.
    """
    return [_reply(answers, one.question, text) for one, text in zip(questions, model_texts, strict=True)]


def _reply(answers: Answers, question: str, model_text: str) -> PageReply:
    if small_talk_of(question):
        return PageReply(SMALL_TALK_RUNG, "", (), "site")
    ranked = answers.look_up(question, shown=SHOWN)
    passages = () if ranked.is_far else tuple(passage.id for passage, _ in ranked.passages)
    if ranked.rung != UNKNOWN_RUNG:
        return PageReply(ranked.rung, ranked.passages[0][0].text, passages, "owner")
    if answers.fallback == "model":
        return PageReply(ranked.rung, model_text, passages, "model")
    return PageReply(ranked.rung, answers.unknown, passages, "site")
