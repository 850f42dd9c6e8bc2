"""The loss mask covers exactly the assistant's words and the end of turn, for every family."""

import pytest

from tinsmith.core.errors import DataError
from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.families import LLAMA3
from tinsmith.model.tokens import load_tokenizer
from tiny import tiny_conversations


@pytest.mark.parametrize("kind", ["tiny_llama", "tiny_gemma"])
@pytest.mark.parametrize("system", ["You sell tea.", ""])
def test_mask_is_exactly_assistant_content_and_end_of_turn(kind, system, request):
    tokenizer = load_tokenizer(request.getfixturevalue(kind))
    for conversation in tiny_conversations(system=system):
        tokens = tokenizer.encode(conversation)
        supervised = tokenizer.tokenizer.decode([t for t, on in zip(tokens.ids, tokens.mask, strict=True) if on])
        expected = "".join(
            m.content + tokenizer.family.end_of_turn for m in conversation.messages if m.role == "assistant"
        )
        assert supervised == expected


@pytest.mark.parametrize("kind", ["tiny_llama", "tiny_gemma"])
def test_prompt_is_a_prefix_of_the_training_ids(kind, request):
    tokenizer = load_tokenizer(request.getfixturevalue(kind))
    for conversation in tiny_conversations():
        tokens = tokenizer.encode(conversation)
        prompt = tokenizer.encode_prompt(conversation.messages[:-1])
        assert list(tokens.ids[: len(prompt)]) == prompt
        assert tokens.mask[len(prompt)] and not tokens.mask[len(prompt) - 1]


def test_gemma_has_exactly_one_bos(tiny_gemma):
    tokenizer = load_tokenizer(tiny_gemma)
    bad = Conversation("x", "c", (Message("user", "hi <bos> there"), Message("assistant", "yes")))
    with pytest.raises(DataError, match="2 beginning-of-sequence tokens"):
        tokenizer.encode(bad)


def test_end_of_turn_in_an_answer_is_refused(tiny_llama):
    tokenizer = load_tokenizer(tiny_llama)
    bad = Conversation("x", "c", (Message("user", "hi"), Message("assistant", "yes<|im_end|>no")))
    with pytest.raises(DataError, match="2 supervised end-of-turn tokens in 1"):
        tokenizer.encode(bad)


def test_llama3_template_and_segments_agree():
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(LLAMA3.chat_template)
    for conversation in (*tiny_conversations(4), *tiny_conversations(4, system="")):
        rendered = template.render(messages=conversation.as_dicts(), bos_token="<B>")
        assert rendered == "".join(piece for piece, _ in LLAMA3.segments(conversation.messages, "<B>"))
