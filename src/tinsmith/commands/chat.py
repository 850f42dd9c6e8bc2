"""`tinsmith chat`: a conversation in the terminal. It answers by the same ladder as the page."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from tinsmith.commands.existing_run import config_of, existing_run, require_stage
from tinsmith.commands.passage_text import choices_text, mark_of, passage_text
from tinsmith.commands.terminal import ask, say, show
from tinsmith.core.config import RunConfig
from tinsmith.core.run_dir import RunDir, read_json
from tinsmith.model.answers.small_talk import SmallTalk, answered_small_talk, asked_texts, small_talk_of
from tinsmith.model.conversations import Message
from tinsmith.model.onnx_decoder import OnnxDecoder, load_onnx
from tinsmith.model.package_format import FLOAT32
from tinsmith.model.passages import Passage
from tinsmith.model.tokens import ChatTokenizer, load_tokenizer

if TYPE_CHECKING:
    from tinsmith.model.answers.answers import Answers, Ranked

_MAX_NEW_TOKENS = 512
_OFFERED = {"sure": 0, "likely": 2, "unsure": 3}
"""How many further passages each rung offers, as on the page."""
_ASK_MODEL = "m"
"""What lets the model answer."""


def chat(run_path: Path, system: str | None) -> None:
    """Read user turns from stdin and answer on stdout until the input ends.

    Args:
        run_path: A run with a finished export.
        system: System prompt; None uses the most common one in the data.

    Raises:
        ArtifactError: the export stage has not finished.
    """
    run = existing_run(run_path)
    require_stage(run, "export", "no package yet")
    if system is None:
        system = read_json(run.stage("data") / "report.json")["system_prompt"]
    answers = open_answers(run)
    config = config_of(run)
    package = _Package(run.stage("export") / "package")
    conversation = _Conversation(package, answers, config, system)
    if answers:
        say(f"{len(answers.passages):,} answers and sections of documents are searched first, as on the page.")
    say("Type a question; Ctrl-D ends.")
    while True:
        try:
            text = ask("you").strip()
        except (EOFError, click.Abort):
            say()
            return
        conversation.reply(text)


def open_answers(run: RunDir) -> "Answers | None":
    """The run's answers, whether or not they are published; None if the model answers alone."""
    folder = run.stage("knowledge") / "answers"
    if config_of(run).answers.mode == "model" or not folder.is_dir():
        return None
    from tinsmith.model.answers.answers import Answers

    return Answers(folder)


class _Conversation:
    """What was said, the passages that a number chooses, and the question that the model may answer."""

    def __init__(self, package: "_Package", answers: "Answers | None", config: RunConfig, system: str) -> None:
        self._package, self._answers, self._config = package, answers, config
        self._messages = [Message("system", system)] if system else []
        self._questions: list[str] = []
        self._offered: list[Passage] = []
        self._unanswered: Ranked | None = None
        """What was found for the last question, while the model may answer it."""

    def reply(self, text: str) -> None:
        """Answer a question, show the offered passage whose number it is, or let the model answer the last question."""
        unanswered, self._unanswered = self._unanswered, None
        if unanswered and text.lower() == _ASK_MODEL:
            question = self._messages[-2].content
            del self._messages[-2:]
            self._answer_by_model(question, unanswered)
            return
        if text.isdecimal() and 1 <= int(text) <= len(self._offered):
            passage = self._offered[int(text) - 1]
            show(passage_text(passage))
            self._add(passage.title, passage.text)
            return
        if self._answers is None:
            self._add(text, self._generate(text))
            return
        kind = small_talk_of(text)
        if kind and not self._is_answered(kind, text):
            self._reply_to_small_talk(text, kind)
            return
        ranked = self._answers.look_up(text, () if kind else self._questions)
        if not kind:
            self._questions.append(text)
        if ranked.rung == "unsure" and self._answers.fallback == "model":
            self._answer_by_model(text, ranked)
        else:
            self._add(text, self._show_owners_words(ranked))
        self._offer(ranked)
        if ranked.rung == "unsure" and self._answers.fallback == "offer":
            self._unanswered = ranked
            show(f"Type {_ASK_MODEL} to let the model answer.")

    def _is_answered(self, kind: SmallTalk, text: str) -> bool:
        """Whether the ladder is sure of an answer. It is asked only for kinds that the owner's own questions have."""
        if self._answers is None:
            return False
        asked = (text for one in self._answers.passages for text in asked_texts(one.kind, one.title, one.wordings))
        return kind in answered_small_talk(asked) and self._answers.look_up(text).rung == "sure"

    def _reply_to_small_talk(self, text: str, kind: SmallTalk) -> None:
        self._offered = []
        if self._answers and self._answers.fallback == "model":
            self._answer_by_model(text, None)
            return
        reply = getattr(self._config.answers, kind)
        show(reply)
        if kind != "goodbye":
            self._suggest()
        self._add(text, reply)

    def _suggest(self) -> None:
        if self._config.app.questions:
            show("\n  ".join(("You could ask:", *self._config.app.questions)))

    def _answer_by_model(self, question: str, ranked: "Ranked | None") -> None:
        show(mark_of("model", self._config.owner, ranked.confidence if ranked else None))
        self._add(question, self._generate(question))

    def _show_owners_words(self, ranked: "Ranked") -> str:
        """Show the first passage, or that nothing is known; returns the text that counts as the answer."""
        show(mark_of(ranked.rung, self._config.owner, ranked.confidence, ranked.used_previous))
        if ranked.rung == "unsure":
            show(self._config.answers.unknown)
            return self._config.answers.unknown
        passage, _ = ranked.passages[0]
        show(passage_text(passage))
        return passage.text

    def _offer(self, ranked: "Ranked") -> None:
        first = 0 if ranked.rung == "unsure" else 1
        others = ranked.passages[first : first + _OFFERED[ranked.rung]]
        self._offered = [] if ranked.is_far else [passage for passage, _ in others]
        if self._offered:
            show(choices_text(self._offered))
        elif ranked.is_far:
            self._suggest()

    def _generate(self, question: str) -> str:
        answer = ""
        for piece in self._package.model.answer([*self._messages, Message("user", question)]):
            show(piece, end="")
            answer += piece
        show()
        return answer.strip()

    def _add(self, question: str, answer: str) -> None:
        self._messages += [Message("user", question), Message("assistant", answer or "...")]


class _Package:
    """A package whose model is loaded when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def model(self) -> "_Model":
        return _Model(load_tokenizer(self._folder), load_onnx(self._folder / FLOAT32.file))


class _Model:
    """The packaged model. It caches the conversation, so that each turn computes only its new tokens."""

    def __init__(self, tokenizer: ChatTokenizer, decoder: OnnxDecoder) -> None:
        self._tokenizer = tokenizer
        self._decoder = decoder
        self._sequence = decoder.start()
        self._read_ids: list[int] = []

    def answer(self, messages: Sequence[Message]) -> Iterator[str]:
        """The greedy answer to the last message, in pieces of whole characters."""
        prompt_ids = self._tokenizer.encode_prompt(messages)
        if prompt_ids[: len(self._read_ids)] != self._read_ids:  # an answer's text may tokenize to other ids
            self._sequence, self._read_ids = self._decoder.start(), []
        logits = self._feed(prompt_ids[len(self._read_ids) :])
        answer_ids: list[int] = []
        shown = ""
        while len(answer_ids) < _MAX_NEW_TOKENS:
            token = int(np.argmax(logits[-1]))
            if token in self._tokenizer.end_ids:
                break
            answer_ids.append(token)
            text = self._tokenizer.tokenizer.decode(answer_ids, skip_special_tokens=True)
            if not text.endswith("\ufffd"):  # half a character: wait for the rest
                yield text[len(shown) :]
                shown = text
            logits = self._feed([token])

    def _feed(self, ids: list[int]) -> np.ndarray:
        self._read_ids += ids
        return self._sequence.feed(ids, keep=1)
