"""Of the personal data and secrets planted in a run's conversations and documents, nothing is published."""

import json
import re

import pytest

from e2e.planted import planted_conversations, planted_values
from tinsmith.model.private import find_private

pytestmark = pytest.mark.browser

PUBLISHED = ("app", "card", "export/package")


def test_planted_values_are_in_no_published_file(finished):
    _, run, _ = finished
    values = {value.encode() for value in planted_values()}
    escaped = {json.dumps(value)[1:-1].encode() for value in planted_values()}
    digits = {compact for value in values if len(compact := re.sub(rb"[^0-9]", b"", value)) >= 10}
    files = [path for folder in PUBLISHED for path in (run / folder).rglob("*") if path.is_file()]
    assert len(values) > 70 and len(files) > 60
    for path in files:
        content = path.read_bytes()
        assert not [value for value in values | escaped if value in content], path
        if path.suffix in (".json", ".jsonl", ".md", ".html"):
            numbers = re.sub(rb"(?<=[0-9])[ ()/-]{1,2}(?=[0-9])", b"", content)
            assert not [one for one in digits if re.search(rb"(?<![0-9.])%s(?![0-9])" % one, numbers)], path


def test_everything_planted_was_found_and_masked(finished):
    _, run, _ = finished
    planted = [text["content"] for one in planted_conversations()[0] for text in one["messages"]]
    kinds = {item.kind for text in planted for item in find_private(text)}
    record = json.loads((run / "data/private.json").read_text())
    assert record["mode"] == "mask" and set(record["kinds"]) == kinds and len(kinds) >= 25
    data = "".join((run / f"data/{split}.jsonl").read_text() for split in ("train", "val", "test"))
    assert {kind.upper() for kind in kinds} <= set(re.findall(r"\[([A-Z0-9_]+)_[0-9a-f]{4}\]", data))
    passages = (run / "app/model/answers/passages.json").read_text()
    assert "A note of the shop. Please write to [EMAIL_" in passages or "My address is [EMAIL_" in passages


def test_the_gates_were_measured(finished):
    _, run, done = finished
    measured = {m["id"]: m for m in json.loads(done.stdout.strip().splitlines()[-1])["measurements"]}
    for name, at_least in (("package", 5), ("replies", 10), ("card", 5), ("site", 40)):
        gate = measured[f"gate.private.{name}"]
        assert gate["value"] == 0 and gate["count"] >= at_least and gate["gate"] == {"op": "==", "bound": 0}
    published = run / "app/model/evidence/data"
    assert (published / "private.json").is_file() and not (published / "hidden.json").exists()
