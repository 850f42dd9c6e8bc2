"""The evidence that ships beside a card: a run folder with raw numbers and without private texts.

A stranger can derive numbers from it and render the card again. A file ships if the card was rendered from it or a
number is derived from it, and if `_PUBLISHED` lists it. What is left out of a file stays left out when the same is done
again, so the check can make these files from themselves.
"""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from tinsmith.card.evidence import Evidence
from tinsmith.card.examples import FILE as ANSWERS_FILE
from tinsmith.card.examples import answer_texts, example_of
from tinsmith.core.run_dir import CHECKSUMS_FILE
from tinsmith.derive.inventory import INVENTORY_FILE
from tinsmith.derive.losses import NEIGHBOURS
from tinsmith.derive.table import RULES
from tinsmith.model.answers.judge import passage_key
from tinsmith.model.answers.rates import outcome_of

FOLDER = "evidence"
_LEFT_OUT = "(not published)"
_CONFIG = {
    "name": None,
    "seed": None,
    "card": None,
    "evaluate": None,
    "answers": ("publish", "publish_questions", "mode", "max_wrong", "unknown"),
}
"""Sections of the configuration that a card is rendered from; a tuple names the keys."""


def _as_is(value: Any, evidence: Evidence) -> Any:
    return value


def _report(report: dict[str, Any], evidence: Evidence) -> dict[str, Any]:
    """Counts, categories and steps; of what was left out only how much."""
    names = ("data", "categories", "splits", "steps", "records", "language", "source", "license", "hub")
    kept = {key: report[key] for key in names if key in report}
    return kept | {"contradictions": [{}] * len(report["contradictions"])}


def _knowledge(record: dict[str, Any], evidence: Evidence) -> dict[str, Any]:
    """Without the names of documents that were not used."""
    return {key: value for key, value in record.items() if key != "unused"}


def _category(line: dict[str, Any], evidence: Evidence) -> dict[str, Any]:
    return {"category": line["category"]}


def _without_id(line: dict[str, Any], evidence: Evidence) -> dict[str, Any]:
    return {**line, "id": _hidden(line["id"])}


def _neighbour(line: dict[str, Any], evidence: Evidence) -> dict[str, Any]:
    return {"id": _hidden(line["id"]), "close": line["close"]}


def _tokens(record: dict[str, Any], evidence: Evidence) -> dict[str, Any]:
    return {**record, "different": [_hidden(id) for id in record["different"]]}


def _gates(record: dict[str, Any], evidence: Evidence) -> dict[str, Any]:
    logits = [{"disagreement": one["disagreement"]} for one in record["logits"]]
    return {**record, "token_differences": [{}] * len(record["token_differences"]), "logits": logits}


def _outcome(line: dict[str, Any], evidence: Evidence) -> dict[str, Any]:
    """What was right about a question, without its words; the id says which questions share a passage."""
    texts = {"question": "", "must_state": [], "must_not_state": [], "previous": [], "passages": []}
    return {**line, **texts, "id": _hidden(passage_key(outcome_of(line, "").question))}


def _closed_book(line: dict[str, Any], evidence: Evidence) -> dict[str, Any]:
    key = line["id"] or "\n".join(line["must_state"]) or line["question"]
    flags = {name: line[name] for name in ("right", "page_right")}
    return {"question": "", "id": _hidden(key), "must_state": [], **flags}


def _grade(line: dict[str, Any], evidence: Evidence) -> dict[str, Any]:
    return {**line, "item": _hidden(line["item"]), "cluster": _hidden(line["cluster"])}


def _answer(line: dict[str, Any], evidence: Evidence) -> dict[str, Any]:
    """The texts of an example that the owner agreed to publish, as the card prints them; nothing of other questions."""
    if example_of(line) not in evidence.config.card.examples:
        return {"question": _LEFT_OUT, "reference": _LEFT_OUT}
    replies = {model: {"text": text} for model, text in answer_texts(line).items()}
    return {"question": line["question"], "reference": line["reference"], **replies}


_HIDDEN = re.compile(r"#[0-9a-f]{12}")


def _hidden(id: str) -> str:
    """A hash in place of an id, which may be a name."""
    return id if _HIDDEN.fullmatch(id) else f"#{hashlib.sha256(id.encode()).hexdigest()[:12]}"


_PUBLISHED: tuple[tuple[str, Callable[[Any, Evidence], Any]], ...] = (
    (r"(base|knowledge|train|export)/" + re.escape(INVENTORY_FILE), _as_is),
    (r"base/base\.json", _as_is),
    (r"data/report\.json", _report),
    (r"data/private\.json", _as_is),
    (r"data/tokens\.jsonl", _as_is),
    (r"data/test\.jsonl", _category),
    (r"knowledge/knowledge\.json", _knowledge),
    (r"knowledge/answers/answers\.json", _as_is),
    (r"knowledge/answers_questions\.jsonl", _outcome),
    (r"train/(train\.json|log\.jsonl)", _as_is),
    (r"merge/(norms\.json|positions\.jsonl)", _as_is),
    (r"export/(export|recipes|parity|float16_range|gguf)\.json", _as_is),
    (r"evaluate/evaluate\.json", _as_is),
    (r"evaluate/nll/\w+\.\w+\.jsonl", _without_id),
    (re.escape(NEIGHBOURS), _neighbour),
    (r"evaluate/tokens\.json", _tokens),
    (r"evaluate/closed_book\.jsonl", _closed_book),
    (r"evaluate/recited\.jsonl", _as_is),
    (rf"evaluate/{re.escape(ANSWERS_FILE)}", _answer),
    (r"(review|judge)/\w+\.json", _as_is),
    (r"(review|judge)/grades\.jsonl", _grade),
    (r"bench/(wasm|webgpu)\.json", _as_is),
    (r"bench/gates\.json", _gates),
    (r"remote/\d+\.json", _as_is),
)
"""Run-relative paths, and what of each object or line ships."""

PRIVATE = frozenset(
    {
        "data/hidden.json",
        "evaluate/answers.jsonl",
        "evaluate/out_of_scope.jsonl",
        "review/facts.jsonl",
    }
)
"""Raw files of texts. Numbers derived from them can only be derived again in the run folder itself."""


def evidence_files(evidence: Evidence) -> dict[str, bytes]:
    """Path beside the card -> content. Call it when the card has been rendered, because it ships what that has read.

    Args:
        evidence: Of the run, or of a published folder of evidence, which gives the same files again.
    """
    run = evidence.run
    files = {f"stamps/{stage}.json": run.stamp(stage).read_bytes() for stage in evidence.stamps}
    files |= {
        f"environments/{name}.json": (run.environments / f"{name}.json").read_bytes() for name in evidence.environments
    }
    files["config.json"] = _config(evidence)
    files["measurements.jsonl"] = run.measurements.read_bytes()[: evidence.log_bytes] if evidence.log_bytes else b""
    names = evidence.reads | {m.raw for m in evidence.measurements.values()}
    names |= {name for name in _named_by_rules(evidence) if (run.root / name).is_file()}
    for name in sorted(names):
        if content := _published(name, evidence):
            files[name] = content
    return {f"{FOLDER}/{name}": content for name, content in files.items()}


def checksums(files: dict[str, bytes]) -> bytes:
    """`SHA256SUMS` of the folder of evidence and of the card's files above it."""
    lines = []
    for name, content in sorted(files.items()):
        path = name.removeprefix(f"{FOLDER}/") if name.startswith(f"{FOLDER}/") else f"../{name}"
        lines.append(f"{hashlib.sha256(content).hexdigest()}  {path}\n")
    return "".join(lines).encode()


CHECKSUMS = f"{FOLDER}/{CHECKSUMS_FILE}"


def _named_by_rules(evidence: Evidence) -> set[str]:
    """Raw files beside those of the measurements, such as the record of a recipe or which test texts are close."""
    rules = [rule for stage in evidence.stamps for rule in RULES.get(stage, ())]
    return {rule.raw for rule in rules if "{" not in rule.raw} | {NEIGHBOURS}


def _published(name: str, evidence: Evidence) -> bytes:
    """What of a file ships; nothing if it is not listed."""
    change = next((change for pattern, change in _PUBLISHED if re.fullmatch(pattern, name)), None)
    if change is None or evidence.sha256(name) is None:
        return b""
    stage, _, rest = name.partition("/")
    if name.endswith(".jsonl"):
        lines = [change(line, evidence) for line in evidence.lines(stage, rest)]
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
    return (json.dumps(change(evidence.record(stage, rest), evidence), indent=1, ensure_ascii=False) + "\n").encode()


def _config(evidence: Evidence) -> bytes:
    """The settings that the card is rendered from. The system prompt is the owner's own, which the page shows too."""
    whole = evidence.config.model_dump(mode="json")
    kept = {
        section: whole[section] if keys is None else {key: whole[section][key] for key in keys}
        for section, keys in _CONFIG.items()
    }
    kept["app"] = {"system_prompt": evidence.config.public_system_prompt}
    return (json.dumps(kept, indent=1, ensure_ascii=False) + "\n").encode()
