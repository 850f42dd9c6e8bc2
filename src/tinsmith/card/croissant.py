"""The description of the training data that data set catalogues read, as Croissant 1.0 (JSON-LD).

It says what the data is without containing any of it. The splits are named by their SHA-256 and not by an address,
because they are not published. Source: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html
"""

import base64
import json
from typing import Any

from tinsmith.card.citation import citation_of, is_address
from tinsmith.card.evidence import required
from tinsmith.card.facts import Facts
from tinsmith.card.license import spdx_id

CROISSANT_FILE = "croissant.json"
_TERMS = """arrayShape citeAs column containedIn equivalentProperty extract field fileObject fileProperty fileSet format
    includes isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate
    separator source subField transform""".split()
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS},
}
"""The names that Croissant 1.0 defines."""

_FIELDS = (
    ("id", "The conversation's id", "id", ""),
    ("category", "Subject that the conversation belongs to", "category", ""),
    ("role", "Who wrote each message: system, user or assistant", "messages", "$[*].role"),
    ("content", "Text of each message", "messages", "$[*].content"),
)
"""Name, description, column of the file and path inside the column; a path gives one value for each message."""

_UNPUBLISHED = "Not published: named by its SHA-256 alone."

Tree = dict[str, Any]


def croissant(facts: Facts, name: str) -> bytes | None:
    """The description of the data of the run `name`; None if the data stage has not finished."""
    report = facts.evidence.record("data", "report.json")
    if report is None:
        return None
    citation = citation_of(facts, name)
    splits = {split: n for split, n in required(report, "splits", "data/report.json").items() if _sha256(facts, split)}
    total = f"{sum(splits.values())} conversations that {citation.title} was trained and evaluated with."
    source = f"Source, in the author's words: {report['source']}." if report.get("source") else ""
    tree: Tree = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"Conversations of {citation.title}",
        "description": " ".join(part for part in (total, source, _UNPUBLISHED) if part),
    }
    hub = report.get("hub") or {}
    if license := report.get("license") or hub.get("license"):
        tree["license"] = f"https://spdx.org/licenses/{id}" if (id := spdx_id(license)) else license
    if language := report.get("language"):
        tree["inLanguage"] = language
    if is_address(citation.url):
        tree["url"] = citation.url
    named = [f"https://huggingface.co/datasets/{id}" for id in facts.config.datasets if id != hub.get("id")]
    if based_on := [*([hub["address"]] if hub else ()), *named]:
        tree["isBasedOn"] = based_on
    tree["distribution"] = [_file(split, n, _sha256(facts, split) or "") for split, n in splits.items()]
    tree["recordSet"] = [_record_set(split, n) for split, n in splits.items()]
    return (json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _sha256(facts: Facts, split: str) -> str | None:
    return facts.evidence.sha256(f"data/{split}.jsonl")


def _file(split: str, conversations: int, sha256: str) -> Tree:
    return {
        "@type": "cr:FileObject",
        "@id": f"{split}.jsonl",
        "name": f"{split}.jsonl",
        "description": f"{conversations} conversations. {_UNPUBLISHED}",
        "contentUrl": named_information(sha256),
        "encodingFormat": "application/jsonlines",
        "sha256": sha256,
    }


def named_information(sha256: str) -> str:
    """The URI that names content by its hash and says nothing of where it is. Source: RFC 6920."""
    return "ni:///sha-256;" + base64.urlsafe_b64encode(bytes.fromhex(sha256)).decode().rstrip("=")


def _record_set(split: str, conversations: int) -> Tree:
    fields = []
    for name, description, column, path in _FIELDS:
        source: Tree = {"fileObject": {"@id": f"{split}.jsonl"}, "extract": {"column": column}}
        field: Tree = {"@type": "cr:Field", "@id": f"{split}/{name}", "name": name, "description": description}
        field |= {"dataType": "sc:Text"} | ({"repeated": True} if path else {})
        fields.append({**field, "source": {**source, "transform": {"jsonPath": path}} if path else source})
    return {
        "@type": "cr:RecordSet",
        "@id": split,
        "name": split,
        "description": f"{conversations} conversations",
        "key": {"@id": f"{split}/id"},
        "field": fields,
    }
