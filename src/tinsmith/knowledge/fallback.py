"""Decide who answers what no passage does: the model, the model if the visitor lets it, or nobody."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tinsmith.model.conversations import Conversation
from tinsmith.model.numbers import find_numbers

_MIN_PROMPT_SHARE = 1 / 3
"""Least share of the answers' numbers in system prompts for the model to answer."""
_MIN_DIALOGUE_SHARE = 0.5
"""Least share of conversations with several turns for the model to answer."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """What the page does with a question whose answer it does not know."""

    name: Literal["unknown", "offer", "model"]
    """`unknown` and `offer` say that the page does not know; with `offer`, a visitor can let the model answer. The page
    downloads the model only when it is needed."""
    prompt_share: float
    """Share of the numbers in the answers that stand in their conversation's system prompt."""
    dialogue_share: float
    """Share of conversations with several turns."""
    reason: str

    def as_json(self) -> dict[str, Any]:
        """For the stage's record."""
        shares = {"prompt_share": self.prompt_share, "dialogue_share": self.dialogue_share}
        return {"fallback": self.name, "fallback_reason": self.reason, **shares}


def fallback_of(mode: Literal["auto", "ladder", "model"], conversations: Sequence[Conversation]) -> Fallback:
    """The fallback for these conversations; `ladder` never lets the model answer.

    A model that is given the facts in its system prompt, or that was taught dialogues, has more to say than passages.
    Any other would invent facts, so visitors are asked first.
    """
    in_prompt = numbers = 0
    for conversation in conversations:
        system = "".join(m.content for m in conversation.messages if m.role == "system")
        known = {(number.value, number.unit) for number in find_numbers(system)}
        for message in conversation.messages:
            if message.role == "assistant":
                stated = [(number.value, number.unit) for number in find_numbers(message.content)]
                numbers += len(stated)
                in_prompt += sum(number in known for number in stated)
    prompt_share = in_prompt / numbers if numbers else 0.0
    dialogues = sum(sum(m.role == "user" for m in c.messages) > 1 for c in conversations)
    dialogue_share = dialogues / len(conversations) if conversations else 0.0
    if mode != "auto":
        return Fallback("unknown", prompt_share, dialogue_share, f"answers.mode is {mode}")
    if prompt_share >= _MIN_PROMPT_SHARE:
        reason = f"{prompt_share:.0%} of the answers' numbers stand in the system prompt"
        return Fallback("model", prompt_share, dialogue_share, reason)
    if dialogue_share >= _MIN_DIALOGUE_SHARE:
        reason = f"{dialogue_share:.0%} of the conversations have several turns"
        return Fallback("model", prompt_share, dialogue_share, reason)
    reason = (
        f"only {prompt_share:.0%} of the answers' numbers stand in the system prompt, and {dialogue_share:.0%} of the "
        "conversations have several turns"
    )
    return Fallback("offer", prompt_share, dialogue_share, reason)
