"""A hidden value is found in a published file however the file's format writes it, and a gate stops the run."""

import json

import pytest

from tinsmith.core.errors import GateError
from tinsmith.core.measure import Recorder
from tinsmith.derive import private
from tinsmith.derive.files import Files
from tinsmith.derive.rules import record
from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.private.masks import Masks, Public, mask_key
from tinsmith.model.private.protect import protect
from tinsmith.model.private.published import leaks_in_folder, text_files
from tinsmith.model.private.record import Hidden, PrivateRecord, read_masks

MASKS = Masks(mask_key(["aa"]))
SECRETS = ("ada@home.example", "+46 70 174 06 05", "4111 1111 1111 1111", "ghp_abcdefghijklmnopqrstuvwxyz0123456789")


def write_record(folder, mode="mask", secrets=SECRETS):
    """The data stage's record of these secrets, in `folder`."""
    folder.mkdir(exist_ok=True)
    record = PrivateRecord()
    for secret in secrets:
        conversation = Conversation("1", "tea", (Message("user", f"Call {secret}"), Message("assistant", "Yes.")))
        record.add(protect(conversation, mode, MASKS).findings)
    record.write(folder, mode, MASKS.key)
    return Hidden.of(json.loads((folder / "hidden.json").read_text()))


def files_of(run):
    return Files(lambda stage: run / stage, 0)


@pytest.fixture
def hidden(tmp_path):
    return write_record(tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("README.md", "Write to ada@home.example", "email"),
        ("README.md", "Write to ada\\@home.example", "email"),
        ("app.json", json.dumps({"a": [{"ada@home.example": 1}]}), "email"),
        ("app.json", json.dumps({"a": "Hej\nada@home.example"}), "email"),
        ("lines.jsonl", json.dumps("x") + "\n" + json.dumps(["Hej\tada@home.example"]) + "\n", "email"),
        ("index.html", "<p>ada&#64;home.example</p>", "email"),
        ("index.html", "<p>ada@<b>home</b>.example</p>", "email"),
        ("chat.js", 'const to = "mailto:ada%40home.example"', "email"),
        ("card.txt", "ring 070-174 06 05", "phone"),
        ("card.txt", "4111-1111-1111-1111", "card"),
        (".htaccess", "# ghp_abcdefghijklmnopqrstuvwxyz0123456789", "github_token"),
    ],
)
def test_planted_leaks_are_found(tmp_path, hidden, name, content, kind):
    site = tmp_path / "site"
    (site / "deep/er").mkdir(parents=True)
    (site / "deep/er" / name).write_text(content)
    leaks, count = leaks_in_folder(site, hidden)
    assert [(leak.file, leak.kind) for leak in leaks] == [(f"deep/er/{name}", kind)] and count == 1
    assert not any(secret in leak.shown for leak in leaks for secret in SECRETS)


def test_other_private_values_are_no_leak(tmp_path, hidden):
    (tmp_path / "README.md").write_text("eve@home.example, 4242 4242 4242 4242 and [EMAIL_3f2a]")
    assert leaks_in_folder(tmp_path, hidden)[0] == []


def test_files_of_numbers_are_not_read_as_text(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"\0\1ada@home.example")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\xff\xfe")
    (tmp_path / "long.txt").write_text("a" * 65_535 + "å")
    (tmp_path / "empty.txt").write_text("")
    assert [path.name for path in text_files(tmp_path)] == ["empty.txt", "long.txt"]


def test_the_record_holds_no_value_and_hides_none_where_nothing_is_promised(tmp_path, hidden):
    text = "".join((tmp_path / "data" / name).read_text() for name in ("hidden.json", "private.json"))
    assert not any(secret in text for secret in SECRETS)
    counts = json.loads((tmp_path / "data/private.json").read_text())
    assert counts["kinds"]["email"] == {"places": 1, "values": 1} and len(hidden.digests) == len(SECRETS)
    assert write_record(tmp_path / "warned", "warn").digests == frozenset()
    assert set(json.loads((tmp_path / "warned/hidden.json").read_text())["kept"]) == hidden.digests
    assert read_masks(tmp_path / "data", Public.of()).key == MASKS.key


def test_counts_of_several_processes_add_up():
    records = [PrivateRecord(), PrivateRecord()]
    for record_of_process, secrets in zip(records, (SECRETS[:3], SECRETS[2:]), strict=True):
        for secret in secrets:
            conversation = Conversation("1", "tea", (Message("user", secret), Message("assistant", secret)))
            record_of_process.add(protect(conversation, "mask", MASKS).findings)
    records[0].merge(records[1])
    assert records[0].places == {"email": 2, "phone": 2, "card": 4, "github_token": 2}
    assert {kind: len(digests) for kind, digests in records[0].digests.items()} == dict.fromkeys(records[0].places, 1)


FOLDERS = {"package": "export/package", "card": "card", "site": "app"}
RULES = {"package": private.PACKAGE_RULES, "card": private.CARD_RULES, "site": private.SITE_RULES}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_gate_stops_the_run_at_a_leak(tmp_path, hidden, name):
    folder = tmp_path / FOLDERS[name]
    folder.mkdir(parents=True)
    (folder / "fine.txt").write_text("Green tea is mild.")
    recorder = Recorder()
    record(recorder, RULES[name], files_of(tmp_path))
    (measured,) = recorder.measurements
    assert (measured.id, measured.value, measured.count) == (f"gate.private.{name}", 0, 1)
    (folder / "leak.md").write_text("Ask ada@home.example")
    with pytest.raises(GateError, match=rf"gate\.private\.{name}: measured 1 count over 2 files") as error:
        record(Recorder(), RULES[name], files_of(tmp_path))
    assert "leak.md: email ad...le (16 characters)" in error.value.hint
    assert "data.privacy_allow" in error.value.hint


def test_a_run_that_only_warns_has_no_gate(tmp_path):
    write_record(tmp_path / "data", "warn")
    recorder = Recorder()
    for rules in RULES.values():
        record(recorder, rules, files_of(tmp_path))
    assert recorder.measurements == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        (
            "answers.jsonl",
            {"question": "?", "base": {"text": ""}, "tuned": {"text": "Call +46701740605"}, "page": None},
        ),
        ("answers.jsonl", {"question": "?", "int4": {"text": "ok"}, "page": {"text": "Call 070-174 06 05"}}),
        ("out_of_scope.jsonl", {"question": "?", "text": "Call 070-174 06 05"}),
        ("closed_book.jsonl", {"question": "?", "text": "Call 070-174 06 05"}),
    ],
)
def test_a_hidden_value_in_a_reply_stops_the_run(tmp_path, hidden, file, line):
    (tmp_path / "evaluate").mkdir()
    path = tmp_path / "evaluate" / file
    path.write_text(json.dumps(line | {"question": "Is ada@home.example yours?"}) + "\n")
    with pytest.raises(GateError, match=r"gate\.private\.replies: measured 1 count") as error:
        record(Recorder(), private.REPLY_RULES, files_of(tmp_path))
    assert f"evaluate/{file}, line 1: phone" in error.value.hint


def test_values_of_documents_count_too(tmp_path, hidden):
    write_record(tmp_path / "knowledge", secrets=["eve@home.example"])
    (tmp_path / "app").mkdir()
    (tmp_path / "app/index.html").write_text("eve@home.example")
    with pytest.raises(GateError, match=r"gate\.private\.site"):
        record(Recorder(), private.SITE_RULES, files_of(tmp_path))
