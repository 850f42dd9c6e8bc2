"""What `card.json` may contain. `card.schema.json` is the same as a JSON schema, and ships beside the card."""

import importlib.resources
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.json_schema import GenerateJsonSchema

SCHEMA_FILE = "card.schema.json"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

Name = Annotated[str, StringConstraints(min_length=1)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Spread = dict[Literal["min", "max", "ci95_low", "ci95_high"], float]
Count = Annotated[int, Field(ge=0)]


class _Untitled(GenerateJsonSchema):
    """Titles of keys would only repeat their names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class Part(BaseModel):
    """An object of `card.json`. Every key is required, no other is allowed, and no type is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Nothing(Part):
    """An empty object."""


class Source(Part):
    """The file that a text or number came from."""

    file: Name
    """Path in the run folder; after a `#`, a part of it."""
    sha256: Sha256 | None
    """Hash of the file, or of the part; null for a file of the run that no finished stage lists."""


class Stamp(Part):
    """The record of a finished stage, whose hash is in `stamps`."""

    file: Annotated[str, StringConstraints(pattern=r"^stamps/\w+\.json$")]


class Printed(Part):
    """A text of the card."""

    id: Name
    text: str
    """As printed. Markdown's special characters are escaped."""
    unit: str


class Measured(Printed):
    """A number that the run measured."""

    status: Literal["measured"]
    value: float
    """At full precision."""
    count: Count
    """Items that the number was computed from."""
    count_of: Name
    spread: Spread
    method: Name
    source: Source
    environment: str


class Unmeasured(Printed):
    """A text that rests on no measurement: what a measurement has is empty."""

    count: None
    count_of: Literal[""]
    spread: Nothing
    method: Literal[""]
    environment: Literal[""]


class Recorded(Unmeasured):
    """A word or number from a stage's record."""

    status: Literal["recorded"]
    value: Any
    source: Source | Stamp


class Declared(Unmeasured):
    """The author's own words."""

    status: Literal["declared"]
    value: Any
    source: Source


class Missing(Unmeasured):
    """Something that was not measured, or that the author did not state; the text says which and why."""

    status: Literal["not_measured", "not_stated"]
    value: None
    source: Nothing


class Gate(Part):
    """The comparison that had to be true for the run to continue."""

    op: Literal["<=", ">=", "<", ">", "=="]
    bound: float


class Measurement(Part):
    """A number that the run measured, printed or not. The ids are listed in tinsmith's docs/measurements.md."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z_]+\..")]
    value: float
    unit: str
    count: Count
    count_of: Name
    method: Name
    """The function that defines the number, or the protocol."""
    spread: Spread
    raw: Name
    """Path in the run folder of what the number was computed from."""
    gate: Gate | Nothing
    stage: Name
    fingerprint: Name
    """Hash of the stage's settings, inputs and code."""
    environment: str
    """Which of `environments` it was measured in."""


class Snippet(Part):
    """A run of the card's How-to-Use code."""

    form: Literal["hub", "self_hosted", "answers"]
    code: Name
    output: str
    device: Literal["wasm", "webgpu", ""]
    browser: Name
    elapsed_seconds: Annotated[float, Field(ge=0)]


class Log(Part):
    """The part of `measurements.jsonl` that the card was rendered from."""

    bytes: Count
    sha256: Sha256


class Card(Part):
    """Every text of a model card with its source, and every measurement of its run."""

    format: Literal["tinsmith-card/1"] = Field(alias="schema")
    name: Name
    """The run's name."""
    fields: list[Annotated[Measured | Recorded | Declared | Missing, Field(discriminator="status")]]
    measurements: list[Measurement]
    snippets: list[Snippet]
    stamps: dict[Name, Sha256]
    """Hash of each finished stage's stamp."""
    environments: dict[Name, Sha256]
    """Hash of each description of a machine and its packages."""
    measurement_log: Log


def schema_problems(content: bytes) -> list[str]:
    """What in a `card.json` is not as it must be, with its place; empty if nothing is."""
    try:
        Card.model_validate_json(content)
    except ValidationError as error:
        return [f"{'.'.join(map(str, one['loc'])) or 'card.json'}: {one['msg']}" for one in error.errors()]
    return []


def schema_text() -> str:
    """The text of `card.schema.json`, as this version of pydantic writes it."""
    return json.dumps({"$schema": _DIALECT, **Card.model_json_schema(schema_generator=_Untitled)}, indent=2) + "\n"


def schema_bytes() -> bytes:
    """`card.schema.json` as it ships. It is kept as a file, so that another version of pydantic cannot change it."""
    return (importlib.resources.files("tinsmith.card") / SCHEMA_FILE).read_bytes()
