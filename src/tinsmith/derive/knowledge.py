"""Numbers of the knowledge stage: passages, sizes of what visitors download, and how often answers are right."""

from tinsmith.derive.files import Files
from tinsmith.derive.inventory import INVENTORY_FILE, file_sizes
from tinsmith.derive.rules import Derived, Fields, Rule
from tinsmith.model.answers.rates import Outcome, Rate, is_judged, outcome_of, passed_controls, rates
from tinsmith.model.answers.report import OUTCOMES_FILE

RECORD = "knowledge/knowledge.json"
OUTCOMES = f"knowledge/{OUTCOMES_FILE}"
_RAW_SIZES = f"knowledge/{INVENTORY_FILE}"


def passages(files: Files) -> Derived:
    """Passages to look up."""
    count = files.json(RECORD)["passages"]
    return Derived(count, "count", count, "passages")


def answer_rate(files: Files, rate: str) -> Derived:
    """A share of questions; `tinsmith.model.answers.rates.rates` defines each."""
    one = files.once(_recorded_rates)[rate]
    return Derived(one.share, "fraction", one.count, "questions", one.interval)


def encoder_bytes(files: Files, name: str) -> Derived:
    """Bytes of an encoder's files."""
    sizes = [size for file, size in file_sizes(files, "knowledge").items() if file.startswith(f"{name}.")]
    return Derived(sum(sizes), "bytes", len(sizes), "files")


def download_bytes(files: Files) -> Derived:
    """Bytes of all files that the search needs."""
    sizes = file_sizes(files, "knowledge").values()
    return Derived(sum(sizes), "bytes", len(sizes), "files")


def _outcomes(files: Files) -> list[Outcome]:
    lines = files.lines(OUTCOMES)
    return [outcome_of(line, f"{OUTCOMES}:{number}") for number, line in enumerate(lines, start=1)]


def _recorded_rates(files: Files) -> dict[str, Rate]:
    """Every rate; without those that rest on the judge if it accepts wrong replies."""
    by_id = rates(files.once(_outcomes))
    has_passed = passed_controls({id: rate.share for id, rate in by_id.items()})
    return {id: rate for id, rate in by_id.items() if not (has_passed and is_judged(id))}


def _rate_names(files: Files) -> list[Fields]:
    return [{"rate": name} for name in files.once(_recorded_rates)] if files.has(OUTCOMES) else []


def _encoders(files: Files) -> list[Fields]:
    if not files.has(_RAW_SIZES):
        return []
    names = [file.removesuffix(".onnx") for file in file_sizes(files, "knowledge") if file.endswith(".onnx")]
    return [{"name": name} for name in names]


RULES = (
    Rule("knowledge.passages", RECORD, passages),
    Rule("answers.{rate*}", OUTCOMES, answer_rate, _rate_names),
    Rule("knowledge.encoder.{name}.bytes", _RAW_SIZES, encoder_bytes, _encoders),
    Rule("knowledge.download_bytes", _RAW_SIZES, download_bytes),
)
