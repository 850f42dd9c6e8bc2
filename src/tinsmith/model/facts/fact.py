"""A fact of a reference answer, bound to what was asked about."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from tinsmith.model.facts.values import Value

Verdict = Literal["stated", "contradicted", "missing"]


@dataclass(frozen=True, slots=True)
class Fact:
    """A value, name, address, yes or no, or a few words, with the words that say what it is about."""

    kind: str
    """`value`, `name`, `address`, `answer` (yes or no) or `words`."""
    text: str
    """As a person would write it; unique in its reference."""
    slot: tuple[str, ...] = ()
    """Stems of the words that the reference binds it to."""
    topic: tuple[str, ...] = ()
    """Stems of its sentence and of the question."""
    sides: tuple[tuple[str, int], ...] = ()
    """Its side in each contrast, such as closing and not opening."""
    value: Value | None = None
    bound: str = ""
    """`min`, `max`, `over`, `under`, `about`, or empty for exactly."""
    denied: bool = False
    asked: bool = True
    """Whether the question asks for it. A right reply states all that is asked for."""
    row: int = 0
    """The list that it is part of. Values of one list do not contradict each other."""
    aliases: tuple[str, ...] = ()
    """Other names that the question or the reference gives for a name."""
    forbidden: tuple[str, ...] = ()
    """Values or words that contradict it wherever a reply states them. Proposals have none; the author adds them."""
    in_training: bool | None = None
    """Whether a training answer states it; None before that is looked up."""

    @property
    def unit(self) -> str:
        """The value's unit; empty for none."""
        return self.value.unit.strip("?") if self.value else ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` reads it."""
        return {
            "kind": self.kind,
            "text": self.text,
            "slot": list(self.slot),
            "topic": list(self.topic),
            "sides": [list(side) for side in self.sides],
            "value": self.value.as_dict() if self.value else None,
            "unit": self.unit,
            "bound": self.bound,
            "denied": self.denied,
            "asked": self.asked,
            "row": self.row,
            "aliases": list(self.aliases),
            "forbidden": list(self.forbidden),
            "in_training": self.in_training,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The fact of an `as_dict` record.

        Raises:
            KeyError: A key is missing.
        """
        return cls(
            kind=record["kind"],
            text=record["text"],
            slot=tuple(record["slot"]),
            topic=tuple(record["topic"]),
            sides=tuple((name, side) for name, side in record["sides"]),
            value=Value.from_dict(record["value"]) if record["value"] else None,
            bound=record["bound"],
            denied=record["denied"],
            asked=record["asked"],
            row=record["row"],
            aliases=tuple(record["aliases"]),
            forbidden=tuple(record["forbidden"]),
            in_training=record["in_training"],
        )
