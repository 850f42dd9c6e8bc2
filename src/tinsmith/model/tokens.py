"""Tokenize conversations and build loss masks, the same way for training, calibration and evaluation.

The whole text is tokenized at once, as a browser does. The mask comes from the character spans of the family's
segments: assistant content and the end-of-turn token count in the loss, nothing else.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from tinsmith.core.errors import DataError
from tinsmith.core.run_dir import read_json
from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.families import Family, family_of
from tinsmith.model.load import LOCAL_ONLY
from tinsmith.model.message_text import text_pieces, token_pattern

_BUG_HINT = "This is a bug in tinsmith; please report it with the conversation."


@dataclass(frozen=True, slots=True)
class Tokens:
    """One tokenized conversation; `ids` and `mask` have equal length."""

    conversation_id: str
    ids: tuple[int, ...]
    mask: tuple[bool, ...]
    """True where the token itself is a training target."""

    @property
    def supervised(self) -> int:
        """Number of tokens that count in the loss."""
        return sum(self.mask)


@dataclass(frozen=True)
class ChatTokenizer:
    """A Transformers tokenizer together with the family whose format it writes."""

    tokenizer: Any
    family: Family

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Ids at which generation stops, the end-of-turn token first."""
        names = (self.family.end_of_turn, *self.family.also_ends)
        vocabulary = self.tokenizer.get_vocab()
        return tuple(vocabulary[name] for name in names if name in vocabulary)

    @property
    def bos(self) -> str:
        """Text of the beginning-of-sequence token; empty if the family writes none."""
        return self.tokenizer.bos_token if self.family.has_bos else ""

    @cached_property
    def special_tokens(self) -> frozenset[str]:
        """Every control token."""
        added = self.tokenizer.added_tokens_decoder.values()
        return frozenset(self.tokenizer.all_special_tokens) | {token.content for token in added if token.special}

    @cached_property
    def _special(self) -> re.Pattern[str] | None:
        return token_pattern(self.special_tokens)

    @cached_property
    def _backend(self) -> Any:
        """What the tokenizer calls, without the checks around it, which take a quarter of the time."""
        backend = self.tokenizer.backend_tokenizer
        backend.no_padding()
        backend.no_truncation()
        return backend

    def text(self, messages: Sequence[Message]) -> str:
        """The rendered training text of a whole conversation."""
        return "".join(piece for piece, _ in self.family.segments(messages, self.bos))

    def encode_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Ids up to the start of the next assistant turn; `messages` ends with a user message.

        Special tokens come from the chat format alone; a message that spells one is read as text.
        """
        ids: list[int] = []
        for piece in text_pieces(messages, self._prompt_text, self._special):
            ids += self.tokenizer(piece, add_special_tokens=False)["input_ids"]
        return ids

    def encode(self, conversation: Conversation) -> Tokens:
        """Ids and loss mask of a whole conversation.

        Special tokens come from the chat format alone; a message that spells one is read as text.

        Raises:
            DataError: the shipped chat template renders different text; nothing would be supervised; an
                end-of-turn token is not supervised; or there is not exactly one beginning-of-sequence token
                where the family has one.
        """
        segments = self.family.segments(conversation.messages, self.bos)
        self._check_template(conversation, "".join(piece for piece, _ in segments))
        spans, position = [], 0
        for piece, supervised in segments:
            if supervised:
                spans.append((position, position + len(piece)))
            position += len(piece)
        ids: list[int] = []
        mask: list[bool] = []
        position = 0
        for piece in text_pieces(conversation.messages, self.text, self._special):
            encoded = self._backend.encode(piece, add_special_tokens=False)
            ids += encoded.ids
            mask += _inside(encoded.offsets, position, spans)
            position += len(piece)
        self._check_mask(conversation, ids, mask, turns=len(spans))
        return Tokens(conversation.id, tuple(ids), tuple(mask))

    def encode_all(self, conversations: Iterable[Conversation]) -> list[Tokens]:
        """`encode` for each, in order."""
        return [self.encode(conversation) for conversation in conversations]

    def _prompt_text(self, messages: Sequence[Message]) -> str:
        return self._rendered(messages, add_generation_prompt=True)

    def _rendered(self, messages: Sequence[Message], **options: bool) -> str:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        template = self.family.chat_template
        return self.tokenizer.apply_chat_template(turns, chat_template=template, tokenize=False, **options)

    def _check_template(self, conversation: Conversation, text: str) -> None:
        if self._rendered(conversation.messages) != text:
            raise DataError(f"conversation {conversation.id}: chat template and training text differ", _BUG_HINT)

    def _check_mask(self, conversation: Conversation, ids: Sequence[int], mask: Sequence[bool], turns: int) -> None:
        # get_vocab would copy the whole vocabulary: 0.1 s for each conversation.
        end_id = self.tokenizer.convert_tokens_to_ids(self.family.end_of_turn)
        supervised_ends = count_supervised(ids, mask, end_id)
        if supervised_ends != turns:
            raise DataError(
                f"conversation {conversation.id}: {supervised_ends} supervised end-of-turn tokens in {turns} "
                "assistant turns",
                _BUG_HINT,
            )
        if self.family.has_bos:
            bos_id = self.tokenizer.bos_token_id
            if ids.count(bos_id) != 1 or ids[0] != bos_id:
                raise DataError(
                    f"conversation {conversation.id}: {ids.count(bos_id)} beginning-of-sequence tokens, expected one "
                    "at the start",
                    _BUG_HINT,
                )


def count_supervised(ids: Sequence[int], mask: Sequence[bool], id: int) -> int:
    """How often a token occurs where `mask` is true."""
    return list(compress(ids, mask)).count(id)


def _inside(offsets: Sequence[tuple[int, int]], position: int, spans: Sequence[tuple[int, int]]) -> list[bool]:
    """Whether each token lies in a span, and has characters at all.

    Args:
        offsets: Start and end of each token in its piece, in order.
        position: Start of the piece in the text.
        spans: Start and end of the spans in the text, in order and apart from each other.
    """
    if not (offsets and spans):
        return [False] * len(offsets)
    tokens = np.array(offsets, np.int64) + position
    starts, ends = tokens[:, 0], tokens[:, 1]
    lows, highs = np.array(spans, np.int64).T
    span = np.searchsorted(lows, starts, side="right") - 1
    return ((span >= 0) & (ends <= highs[span]) & (ends > starts)).tolist()


def load_tokenizer(model_dir: Path) -> ChatTokenizer:
    """The tokenizer of a model folder, with the family that fits its `config.json`.

    Raises:
        BaseModelError: the family is not supported.
    """
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(model_dir, **LOCAL_ONLY)
    model_type = read_json(model_dir / "config.json")["model_type"]
    return ChatTokenizer(tokenizer, family_of(model_type, tokenizer.get_vocab()))
