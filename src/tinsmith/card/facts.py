"""Text for everything the card prints, each with its source; the only door from evidence to the template."""

import re
from dataclasses import asdict, dataclass, field
from typing import Any

from tinsmith.card.evidence import Evidence
from tinsmith.card.rounding import interval_text, number_text
from tinsmith.core.config import CardConfig
from tinsmith.core.measure import Measurement
from tinsmith.core.run_dir import combined_sha256

INTERVAL_NAME = "95 % interval"
NOT_STATED = "Not stated by the author"

_SINGULARS = {
    "positions": "position", "runs": "run", "cold loads": "cold load", "files": "file", "settings": "setting", "recipes": "recipe",
    "models": "model", "browsers": "browser", "conversations": "conversation", "answers": "answer", "facts": "fact", "prompts": "prompt",
}  # fmt: skip

_IDS = (
    (r"base\.(parameters|files_bytes)", "base"),
    (r"data\.(records|conversations|tokens|supervised_tokens|step)\..+|data\.truncated|data\.category\..+", "data"),
    (r"train\.(loss\.)?\w+", "train"),
    (r"export\.\w+", "export"),
    (
        r"evaluate\.(loss|perplexity|bits_per_byte)\.(train|val|test)\.(base|tuned|int4|int4_float16|int4_int8)(\.category\..+)?",
        "evaluate",
    ),
    (r"evaluate\.ratio\.(train|val|test)\.(tuned_over_base|(int4|int4_float16|int4_int8)_over_tuned)", "evaluate"),
    (r"evaluate\.answers\.(stop_rate|repetition_rate|key_fact_recall)\.(base|tuned|int4)", "evaluate"),
    (r"bench\.(wasm|webgpu)\.\w+(\.\d+)?", "bench"),
    (r"remote\.\d+\.(wasm|webgpu)\.\w+(\.\d+)?", "remote"),
)


@dataclass(frozen=True, slots=True)
class Field:
    """One printed text and where it comes from."""

    id: str
    """Measurement id, `card.<key>` for the author's words, or `<file>#<key>` for a stage's record."""
    text: str
    status: str
    """`measured`, `recorded`, `declared`, `not_measured` or `not_stated`."""
    value: Any = None
    unit: str = ""
    count: int | None = None
    count_of: str = ""
    spread: dict[str, float] = field(default_factory=dict)
    method: str = ""
    source: dict[str, str | None] = field(default_factory=dict)
    """`file` (run-relative) and its `sha256`."""
    environment: str = ""


class Facts:
    """Formats measurements, records and the author's words, and remembers every use."""

    def __init__(self, evidence: Evidence, config: CardConfig) -> None:
        self.evidence = evidence
        self.config = config
        self._uses: dict[tuple[str, str], Field] = {}
        self._line_sha256s: dict[str, str] = {}

    @property
    def uses(self) -> list[Field]:
        """Every distinct text handed out so far, in order."""
        return list(self._uses.values())

    def has(self, id: str) -> bool:
        """Whether the number was measured."""
        _stage_of(id)
        return id in self.evidence.measurements

    def value(self, id: str, unit: str = "") -> str:
        """The rounded number with its unit, or `Not measured: <reason>`.

        Args:
            id: A measurement id of docs/measurements.md.
            unit: `minutes` prints a number of seconds in minutes, `exact` a setting without zeros at its end.

        Raises:
            ValueError: no stage is known to measure `id`.
        """
        found = self.evidence.measurements.get(id)
        if found is None:
            return self._missing(id)
        return self._measured(found, number_text(found.value, unit or found.unit, found.spread))

    def interval(self, id: str) -> str:
        """`14.1 to 19.2`, from the 95 % interval, else the observed range; empty if there is neither."""
        found = self.evidence.measurements.get(id)
        for low, high in (("ci95_low", "ci95_high"), ("min", "max")):
            if found is not None and low in found.spread and high in found.spread:
                return self._measured(found, interval_text(found.value, found.unit, found.spread, low, high))
        return ""

    def rests_on(self, id: str) -> str:
        """What the number rests on, such as `50 conversations`; empty if it was not measured."""
        found = self.evidence.measurements.get(id)
        if found is None:
            return ""
        return (
            f"{found.count:,} {_SINGULARS.get(found.count_of, found.count_of) if found.count == 1 else found.count_of}"
        )

    def cell(self, id: str) -> str:
        """For a table: `16.4 (14.1 to 19.2)`, without the brackets if there is no interval."""
        interval = self.interval(id)
        return f"{self.value(id)} ({interval})" if interval else self.value(id)

    def full(self, id: str) -> str:
        """For a sentence: `16.4 (95 % interval 14.1 to 19.2; 50 conversations)`."""
        if not self.has(id):
            return self.value(id)
        spread = self.evidence.measurements[id].spread
        name = INTERVAL_NAME if "ci95_low" in spread else "range"
        interval = f"{name} {self.interval(id)}; " if self.interval(id) else ""
        return f"{self.value(id)} ({interval}{self.rests_on(id)})"

    def recorded(self, stage: str, file: str, key: str, unit: str = "") -> str:
        """A word (or, with `unit`, a number) from a stage's record, or why there is none.

        Args:
            stage: The stage that wrote the record.
            file: Its file in the stage's folder.
            key: Dotted path of the value, such as `license.name`.
            unit: Formats a number as `number_text` does.
        """
        id = f"{stage}/{file}#{key}"
        found = self.raw(stage, file, key)
        if found is None or found == "" or found == []:
            return self._keep(Field(id, f"Not measured: {self._absence(stage, file)}", "not_measured"))
        return self.recorded_value(stage, file, key, found, unit)

    def recorded_value(self, stage: str, file: str, key: str, value: Any, unit: str = "") -> str:
        """Text of a value the caller took from a record, such as one row of a list; `key` says where it was."""
        text = number_text(value, unit) if unit else plain(words(value))
        source = {"file": f"{stage}/{file}", "sha256": self.evidence.sha256(f"{stage}/{file}")}
        return self._keep(Field(f"{stage}/{file}#{key}", text, "recorded", value, unit, source=source))

    def raw(self, stage: str, file: str, key: str) -> Any:
        """The value at a dotted path of a stage's record, for decisions rather than for print; None if absent."""
        found = self.evidence.record(stage, file)
        for part in key.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return found

    def stated(self, stage: str, file: str, key: str) -> str:
        """The author's words as a stage's record carries them on, or `Not stated by the author`."""
        found = self.raw(stage, file, key)
        if found is None:
            return self.recorded(stage, file, key)
        if not found:
            return self._keep(Field(f"{stage}/{file}#{key}", NOT_STATED, "not_stated"))
        source = {"file": f"{stage}/{file}", "sha256": self.evidence.sha256(f"{stage}/{file}")}
        return self._keep(Field(f"{stage}/{file}#{key}", plain(words(found)), "declared", found, source=source))

    def date(self) -> str:
        """Day on which the evaluation finished, as `2026-11-22`; never today's."""
        stamp = self.evidence.stamps.get("evaluate")
        if stamp is None:
            return self._keep(Field("date", f"Not measured: {self._absence('evaluate', '')}", "not_measured"))
        text = stamp["finished_at"][:10]
        return self._keep(Field("date", text, "recorded", text, source={"file": "stamps/evaluate.json"}))

    def declared(self, key: str) -> str:
        """One of the author's words from the `card` section, or `Not stated by the author`."""
        found = getattr(self.config, key)
        if not found:
            return self._keep(Field(f"card.{key}", NOT_STATED, "not_stated"))
        return self._keep(self._author_field(key, plain(found), found))

    def declared_list(self, key: str) -> list[str]:
        """A list of the author's words; one entry saying so if there are none."""
        found = getattr(self.config, key)
        if not found:
            return [self.declared(key)]
        return [self._keep(self._author_field(key, plain(item), item)) for item in found]

    def _author_field(self, key: str, text: str, value: str) -> Field:
        source = {"file": "config.json#card", "sha256": combined_sha256(self.config.model_dump(mode="json"))}
        return Field(f"card.{key}", text, "declared", value, source=source)

    def _measured(self, found: Measurement, text: str) -> str:
        if found.raw:
            source: dict[str, str | None] = {"file": found.raw, "sha256": self.evidence.sha256(found.raw)}
        else:
            source = {"file": "measurements.jsonl", "sha256": self._line_sha256(found)}
        return self._keep(
            Field(
                found.id, text, "measured", found.value, found.unit, found.count, found.count_of, dict(found.spread),
                found.method, source, found.environment,
            )
        )  # fmt: skip

    def _line_sha256(self, found: Measurement) -> str:
        if found.id not in self._line_sha256s:
            self._line_sha256s[found.id] = combined_sha256(asdict(found))
        return self._line_sha256s[found.id]

    def _missing(self, id: str) -> str:
        stage = _stage_of(id)
        reason = self._absence(stage, f"{id.split('.')[1]}.json" if stage == "bench" else "", "not_measured")
        return self._keep(Field(id, f"Not measured: {reason}", "not_measured"))

    def _absence(self, stage: str, file: str, key: str = "") -> str:
        if stage not in self.evidence.stamps:
            return f"the {stage} stage has not finished"
        reason = self.raw(stage, file, key) if file and key else None
        return plain(reason) if reason else f"the {stage} stage recorded nothing for it"

    def _keep(self, used: Field) -> str:
        self._uses.setdefault((used.id, used.text), used)
        return used.text


def plain(text: str) -> str:
    """`text` on one line, with the characters escaped that would change the structure of a Markdown page or table."""
    line = " ".join(str(text).split())
    line = re.sub(r"([\\`*<|\[\]])", r"\\\1", line)
    line = re.sub(r"&(?=#?\w+;)", r"\&", line)
    line = re.sub(r"(?<!\w)_|_(?!\w)", r"\_", line)
    return re.sub(r"^(#|[-+>]|\d+[.)])(?=\s)", r"\\\1", line)


def words(value: Any) -> str:
    """A value of a JSON record as words: lists and the values of objects joined by commas, empty ones left out."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return ", ".join(words(item) for item in value if item not in ("", None))
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _stage_of(id: str) -> str:
    for pattern, stage in _IDS:
        if re.fullmatch(pattern, id):
            return stage
    raise ValueError(f"{id}: no stage is known to measure this; ids are listed in docs/measurements.md")
