"""Everything the card prints, as text with its source. The template gets numbers from nowhere else."""

import re
from dataclasses import asdict, dataclass, field
from typing import Any

from tinsmith.card.evidence import Evidence
from tinsmith.card.rounding import interval_text, number_text
from tinsmith.core.config import CardConfig
from tinsmith.core.measure import Measurement
from tinsmith.core.run_dir import combined_sha256
from tinsmith.model.package_format import MEASURED_GRAPHS

INTERVAL_NAME = "95 % interval"
NOT_STATED = "Not stated by the author"
AUTHORS_MARK = "*(author's words)*"
"""Stands after every text that the author declared, so that it cannot pass for a measurement."""

_SINGULARS = {"matrices": "matrix"}
"""Plurals of `Measurement.count_of` that do not just add an s."""

_SPLITS = "(train|val|test|test_clean)"
_GRAPHS = "|".join(MEASURED_GRAPHS)
_SUBJECTS = "(base|tuned|int4|page)"
_CRITERIA = "(accuracy|quality|factual)"
_IDS = (
    (r"base\.(parameters|files_bytes)", "base"),
    (r"data\.(records|conversations|tokens|supervised_tokens|step)\..+|data\.truncated|data\.category\..+", "data"),
    (r"answers\.[a-z_]+\.\w+(\.\w+)?|knowledge\.(encoder\.\w+\.)?\w+", "knowledge"),
    (r"train\.(loss\.)?\w+", "train"),
    (r"export\.(recipe\.\w+\.)?\w+", "export"),
    (
        rf"evaluate\.(loss|perplexity|bits_per_byte)\.{_SPLITS}\.(base|tuned|{_GRAPHS})(\.category\..+)?",
        "evaluate",
    ),
    (rf"evaluate\.ratio\.{_SPLITS}\.(tuned_over_base|({_GRAPHS})_over_tuned)", "evaluate"),
    (r"evaluate\.closed_book\.(right|page_right)|evaluate\.recited\..+", "evaluate"),
    (r"evaluate\.(answers|facts|contradicted|memorised|refused|questions|questions_with_facts)\..+", "evaluate"),
    (r"evaluate\.(category_p_value|difference|detectable)\..+", "evaluate"),
    (r"bench\.(wasm|webgpu)\.\w+(\.\d+)?", "bench"),
    (r"remote\.\d+\.(wasm|webgpu)\.\w+(\.\d+)?", "remote"),
    (rf"review\.{_CRITERIA}\.{_SUBJECTS}|review\.alpha\.{_CRITERIA}|review\.raters", "review"),
    (rf"judge\.{_CRITERIA}\.{_SUBJECTS}|judge\.(control|preferred|agreement)\.\w+", "judge"),
    (r"judge\.(order_)?consistency", "judge"),
)
"""Patterns of measurement ids, and the stage that measures them."""

_TODO = {
    "knowledge": "tinsmith questions {run}",
    "bench": "tinsmith bench {run} --remote --lan",
}
"""Stage -> the command that gets what it could not measure."""


@dataclass(frozen=True, slots=True)
class Field:
    """One printed text and its source."""

    id: str
    """A measurement id, `card.<key>` for the author's words, or `<file>#<key>` for a stage's record."""
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
    """Formats measurements, records and the author's words, and lists everything it has formatted."""

    def __init__(self, evidence: Evidence, config: CardConfig) -> None:
        self.evidence = evidence
        self.config = config
        self._uses: dict[tuple[str, str], Field] = {}
        self._line_sha256s: dict[str, str] = {}

    @property
    def uses(self) -> list[Field]:
        """Every distinct text formatted so far, in order."""
        return list(self._uses.values())

    def has(self, id: str) -> bool:
        """Whether the number was measured."""
        _stage_of(id)
        return id in self.evidence.measurements

    def value(self, id: str, unit: str = "") -> str:
        """The rounded number with its unit, or `Not measured: <reason>`.

        Args:
            id: A measurement id from docs/measurements.md.
            unit: Overrides the measurement's own: `minutes` converts from seconds, `exact` keeps all digits.

        Raises:
            ValueError: no stage is known to measure `id`.
        """
        m = self.evidence.measurements.get(id)
        if m is None:
            return self._missing(id)
        return self._measured(m, number_text(m.value, unit or m.unit, m.spread))

    def worded(self, id: str, text: str) -> str:
        """`text`, which says in words what the number `id` is, such as `7 of 10`."""
        return self._measured(self.evidence.measurements[id], text)

    def change(self, id: str) -> str:
        """How far a ratio is from one, without its sign: `1.2 % (0.5 to 1.9 %)` for 1.012 and its interval."""
        m = self.evidence.measurements[id]
        names = [name for name in ("ci95_low", "ci95_high") if name in m.spread]
        spread = dict(zip(names, sorted(abs(m.spread[name] - 1) for name in names), strict=True))
        value = abs(m.value - 1)
        interval = f" ({interval_text(value, 'fraction', spread, *names)})" if names else ""
        return self._measured(m, number_text(value, "fraction", spread) + interval)

    def interval(self, id: str) -> str:
        """The 95 % interval, else the observed range, such as `14.1 to 19.2`; empty if there is neither."""
        m = self.evidence.measurements.get(id)
        for low, high in (("ci95_low", "ci95_high"), ("min", "max")):
            if m is not None and low in m.spread and high in m.spread:
                return self._measured(m, interval_text(m.value, m.unit, m.spread, low, high))
        return ""

    def rests_on(self, id: str) -> str:
        """How many items the number rests on, such as `50 conversations`; empty if it was not measured."""
        m = self.evidence.measurements.get(id)
        if m is None:
            return ""
        singular = _SINGULARS.get(m.count_of, m.count_of.removesuffix("s"))
        return f"{m.count:,} {singular if m.count == 1 else m.count_of}"

    def cell(self, id: str) -> str:
        """The number for a table, such as `16.4 (14.1 to 19.2)`; without brackets if there is no interval."""
        interval = self.interval(id)
        return f"{self.value(id)} ({interval})" if interval else self.value(id)

    def full(self, id: str) -> str:
        """The number for a sentence, such as `16.4 (95 % interval 14.1 to 19.2; 50 conversations)`."""
        if not self.has(id):
            return self.value(id)
        spread = self.evidence.measurements[id].spread
        name = INTERVAL_NAME if "ci95_low" in spread else "range"
        interval = f"{name} {self.interval(id)}; " if self.interval(id) else ""
        return f"{self.value(id)} ({interval}{self.rests_on(id)})"

    def recorded(self, stage: str, file: str, key: str, unit: str = "") -> str:
        """A value from a stage's record, or the reason why there is none.

        Args:
            stage: The stage that wrote the record.
            file: Name of the record in the stage's folder.
            key: Dotted path of the value, such as `license.name`.
            unit: A number's unit for `number_text`; empty for words.
        """
        id = f"{stage}/{file}#{key}"
        value = self.raw(stage, file, key)
        if value in (None, "", []):
            return self._keep(Field(id, f"Not measured: {self.absence(stage, file)}", "not_measured"))
        return self.recorded_value(stage, file, key, value, unit)

    def recorded_value(self, stage: str, file: str, key: str, value: Any, unit: str = "") -> str:
        """Text of a value that the caller took from a record, with `key` as its source."""
        text = number_text(value, unit) if unit else plain(words(value))
        source = {"file": f"{stage}/{file}", "sha256": self.evidence.sha256(f"{stage}/{file}")}
        return self._keep(Field(f"{stage}/{file}#{key}", text, "recorded", value, unit, source=source))

    def raw(self, stage: str, file: str, key: str) -> Any:
        """The unformatted value at a dotted path of a stage's record; None if there is none."""
        value = self.evidence.record(stage, file)
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def stated(self, stage: str, file: str, key: str) -> str:
        """The author's words from a stage's record, marked as theirs, or `Not stated by the author`."""
        value = self.raw(stage, file, key)
        if value is None:
            return self.recorded(stage, file, key)
        id = f"{stage}/{file}#{key}"
        if not value:
            return self._not_stated(id, f"{stage}.{key}")
        source = {"file": f"{stage}/{file}", "sha256": self.evidence.sha256(f"{stage}/{file}")}
        return f"{self._keep(Field(id, plain(words(value)), 'declared', value, source=source))} {AUTHORS_MARK}"

    def configured(self, key: str, text: str = "", unit: str = "") -> str:
        """A setting of the run, or `text` in its place.

        Args:
            key: Such as `answers.max_wrong`.
            text: What the setting means; empty prints the value.
            unit: A number's unit for `number_text`; empty for words.
        """
        section, name = key.split(".")
        value = getattr(getattr(self.evidence.config, section), name)
        shown = text or (number_text(value, unit) if unit else plain(words(value)))
        source = {"file": "config.json", "sha256": combined_sha256({key: value})}
        return self._keep(Field(f"config.{key}", shown, "declared", value, unit, source=source))

    def date(self) -> str:
        """Day on which the evaluation finished, such as `2026-11-22`."""
        stamp = self.evidence.stamps.get("evaluate")
        if stamp is None:
            return self._keep(Field("date", f"Not measured: {self.absence('evaluate', '')}", "not_measured"))
        text = stamp["finished_at"][:10]
        return self._keep(Field("date", text, "recorded", text, source={"file": "stamps/evaluate.json"}))

    def declared(self, key: str) -> str:
        """One of the author's words from the `card` section, marked as theirs, or `Not stated by the author`."""
        value = getattr(self.config, key)
        if not value:
            return self._not_stated(f"card.{key}", f"card.{key}")
        return f"{self._keep(self._author_field(key, plain(value), value))} {AUTHORS_MARK}"

    def declared_list(self, key: str) -> list[str]:
        """A list from the `card` section, each marked, or `Not stated by the author` as its only item."""
        values = getattr(self.config, key)
        if not values:
            return [self.declared(key)]
        return [f"{self._keep(self._author_field(key, plain(value), value))} {AUTHORS_MARK}" for value in values]

    def _not_stated(self, id: str, key: str) -> str:
        return self._keep(Field(id, f"{NOT_STATED}: set `{key}`", "not_stated"))

    def _author_field(self, key: str, text: str, value: str) -> Field:
        source = {"file": "config.json#card", "sha256": combined_sha256(self.config.model_dump(mode="json"))}
        return Field(f"card.{key}", text, "declared", value, source=source)

    def _measured(self, m: Measurement, text: str) -> str:
        file = m.raw or "measurements.jsonl"
        sha256 = self.evidence.sha256(m.raw) if m.raw else self._line_sha256(m)
        return self._keep(
            Field(
                m.id,
                text,
                "measured",
                value=m.value,
                unit=m.unit,
                count=m.count,
                count_of=m.count_of,
                spread=dict(m.spread),
                method=m.method,
                source={"file": file, "sha256": sha256},
                environment=m.environment,
            )
        )

    def _line_sha256(self, m: Measurement) -> str:
        if m.id not in self._line_sha256s:
            self._line_sha256s[m.id] = combined_sha256(asdict(m))
        return self._line_sha256s[m.id]

    def _missing(self, id: str) -> str:
        stage = _stage_of(id)
        file, key = f"{stage}.json", "withheld"
        if stage == "bench":
            file, key = f"{id.split('.')[1]}.json", "not_measured"
        elif id.startswith("evaluate.closed_book."):
            key = "closed_book.withheld"
        elif stage == "evaluate" and (start := self._absent_start(id)):
            return self._keep(Field(id, f"Not measured: {plain(self._absent()[start])}", "not_measured"))
        elif id == "train.energy_joules":
            key = "energy.not_measured"
        reason = self.absence(stage, file, key)
        return self._keep(Field(id, f"Not measured: {reason}", "not_measured"))

    def _absent(self) -> dict[str, str]:
        """Starts of evaluate's measurement ids, and why it has none of them."""
        return self.raw("evaluate", "evaluate.json", "absent") or {}

    def _absent_start(self, id: str) -> str:
        """The longest start of `id` that the evaluate stage gives a reason for; empty if there is none."""
        return max((start for start in self._absent() if f"{id}.".startswith(f"{start}.")), key=len, default="")

    def absence(self, stage: str, file: str, key: str = "") -> str:
        """Why there is no number, and what to type."""
        if stage not in self.evidence.stamps:
            return f"the {stage} stage has not finished; type `tinsmith run CONFIG`"
        reason = self.raw(stage, file, key) if file and key else None
        if not reason:
            return f"the {stage} stage recorded nothing for it"
        todo = _TODO.get(stage, "").format(run=self.run_path)
        return f"{plain(reason)}{f'; type `{todo}`' if todo else ''}"

    @property
    def run_path(self) -> str:
        """The run's folder as commands name it."""
        return f"runs/{self.evidence.config.name}"

    def _keep(self, use: Field) -> str:
        self._uses.setdefault((use.id, use.text), use)
        return use.text


def plain(text: str) -> str:
    """`text` on one line, with every character escaped that could act as Markdown in a page or table."""
    line = " ".join(str(text).split())
    line = re.sub(r"([\\`*<|\[\]])", r"\\\1", line)
    line = re.sub(r"&(?=#?\w+;)", r"\&", line)
    line = re.sub(r"(?<!\w)_|_(?!\w)", r"\_", line)
    return re.sub(r"^(#|[-+>]|\d+[.)])(?=\s)", r"\\\1", line)


def words(value: Any) -> str:
    """A JSON value as words: lists and objects become their non-empty values, joined by commas."""
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
