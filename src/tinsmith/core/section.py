"""The base class of the configuration's tables, and the checked types of their keys."""

import unicodedata
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError


def _without_control_characters(text: str) -> str:
    for character in text:
        if unicodedata.category(character) == "Cc" and character not in "\n\t":
            raise PydanticCustomError("control_character", "must not contain control characters")
    return text


def _as_tuple(value: Any) -> Any:
    """Convert a list from TOML or JSON into a tuple, so that a section stays immutable."""
    return tuple(value) if isinstance(value, list) else value


def _distinct(values: Sequence[Any]) -> Sequence[Any]:
    if len(set(values)) < len(values):
        raise PydanticCustomError("duplicate", "must not contain the same entry twice")
    return values


Text = Annotated[str, Field(max_length=20_000), AfterValidator(_without_control_characters)]
LIST = (BeforeValidator(_as_tuple), AfterValidator(_distinct))
Texts = Annotated[tuple[Text, ...], *LIST, Field(max_length=50)]


class Section(BaseModel):
    """A table of the configuration. Unknown keys are errors, and no value is converted to another type."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
