"""`tinsmith chat`: a conversation with the packaged model in the terminal, on ONNX Runtime."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np

from tinsmith.commands.existing_run import existing_run, require_stage
from tinsmith.commands.terminal import ask, say, show
from tinsmith.core.run_dir import read_json
from tinsmith.model.conversations import Message
from tinsmith.model.onnx_decoder import OnnxDecoder, load_onnx
from tinsmith.model.package_format import FLOAT32
from tinsmith.model.tokens import ChatTokenizer, load_tokenizer

_MAX_NEW_TOKENS = 512


def chat(run_path: Path, system: str | None) -> None:
    """Read user turns from stdin and stream greedy answers to stdout until the input ends.

    Args:
        run_path: A run with a finished export.
        system: System prompt; None uses the most common one in the data.

    Raises:
        ArtifactError: the export stage has not finished.
    """
    run = existing_run(run_path)
    require_stage(run, "export", "no package yet")
    package_dir = run.stage("export") / "package"
    model = _Model(load_tokenizer(package_dir), load_onnx(package_dir / FLOAT32.file))
    if system is None:
        system = read_json(run.stage("data") / "report.json")["system_prompt"]
    messages = [Message("system", system)] if system else []
    say("Type a question; Ctrl-D ends.")
    while True:
        try:
            question = ask("you").strip()
        except (EOFError, click.Abort):
            say()
            return
        messages.append(Message("user", question))
        answer = ""
        for piece in model.answer(messages):
            show(piece, end="")
            answer += piece
        show()
        messages.append(Message("assistant", answer.strip() or "..."))


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
