"""Conversation -> token ids and loss mask, shared by training, calibration and evaluation so they cannot disagree.

The whole text is tokenized at once, as a browser does; the mask comes from the character spans of the family's
segments. Loss is on assistant content and the end-of-turn token, nothing else.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.core.errors import DataError
from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.families import Family, family_of
from tinsmith.model.load import LOCAL_ONLY


@dataclass(frozen=True, slots=True)
class Tokens:
    """One tokenized conversation; `ids` and `mask` have equal length."""

    conversation_id: str
    ids: tuple[int, ...]
    mask: tuple[bool, ...]
    """True where the token itself is a training target."""

    @property
    def supervised(self) -> int:
        """How many tokens carry loss."""
        return sum(self.mask)


@dataclass(frozen=True, slots=True)
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
        return self.tokenizer.bos_token if self.family.has_bos else ""

    def text(self, messages: Sequence[Message]) -> str:
        """The rendered training text of a whole conversation."""
        return "".join(piece for piece, _ in self.family.segments(messages, self.bos))

    def encode_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Ids that ask for the next assistant turn; `messages` ends with a user message."""
        rendered = self.tokenizer.apply_chat_template(
            [{"role": m.role, "content": m.content} for m in messages],
            chat_template=self.family.chat_template,
            tokenize=False,
            add_generation_prompt=True,
        )
        return self.tokenizer(rendered, add_special_tokens=False)["input_ids"]

    def encode(self, conversation: Conversation) -> Tokens:
        """Ids and loss mask of a whole conversation.

        Raises:
            DataError: the shipped chat template renders other text; nothing would be supervised; an
                end-of-turn token is not supervised; or there is not exactly one beginning-of-sequence token
                where the family has one.
        """
        segments = self.family.segments(conversation.messages, self.bos)
        text = "".join(piece for piece, _ in segments)
        self._check_template(conversation, text)
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        spans, at = [], 0
        for piece, supervised in segments:
            if supervised:
                spans.append((at, at + len(piece)))
            at += len(piece)
        ids = tuple(encoded["input_ids"])
        mask = tuple(_inside(start, end, spans) for start, end in encoded["offset_mapping"])
        self._check_mask(conversation, ids, mask, turns=len(spans))
        return Tokens(conversation.id, ids, mask)

    def encode_all(self, conversations: Iterable[Conversation]) -> list[Tokens]:
        """`encode` for each, in order."""
        return [self.encode(conversation) for conversation in conversations]

    def _check_template(self, conversation: Conversation, text: str) -> None:
        rendered = self.tokenizer.apply_chat_template(
            conversation.as_dicts(), chat_template=self.family.chat_template, tokenize=False
        )
        if rendered != text:
            raise DataError(
                f"conversation {conversation.id}: chat template and training text differ",
                "This is a bug in families.py; please report the conversation.",
            )

    def _check_mask(self, conversation: Conversation, ids: tuple, mask: tuple, turns: int) -> None:
        # get_vocab would copy the whole vocabulary: 0.1 s for each conversation.
        end_id = self.tokenizer.convert_tokens_to_ids(self.family.end_of_turn)
        supervised_ends = sum(1 for token, on in zip(ids, mask, strict=True) if on and token == end_id)
        if supervised_ends != turns:
            raise DataError(
                f"conversation {conversation.id}: {supervised_ends} supervised end-of-turn tokens in {turns} "
                f"assistant turns",
                f"Does its text contain {self.family.end_of_turn!r}? Remove it from the data.",
            )
        if self.family.has_bos:
            found = ids.count(self.tokenizer.bos_token_id)
            if found != 1 or ids[0] != self.tokenizer.bos_token_id:
                raise DataError(
                    f"conversation {conversation.id}: {found} beginning-of-sequence tokens, expected one at the start",
                    f"Does its text contain {self.tokenizer.bos_token!r}? Remove it from the data.",
                )


def _inside(start: int, end: int, spans: list[tuple[int, int]]) -> bool:
    return any(low <= start and end <= high and end > start for low, high in spans)


def load_tokenizer(model_dir: Path) -> ChatTokenizer:
    """The tokenizer of a model folder with the family found from its `config.json`.

    Raises:
        BaseModelError: the family is not supported.
    """
    from transformers import AutoTokenizer

    from tinsmith.core.run_dir import read_json

    tokenizer = AutoTokenizer.from_pretrained(model_dir, **LOCAL_ONLY)
    model_type = read_json(model_dir / "config.json")["model_type"]
    return ChatTokenizer(tokenizer, family_of(model_type, tokenizer.get_vocab()))
