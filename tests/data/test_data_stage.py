"""The stage writes splits, a report that accounts for every record, measurements and gates."""

import io
import json
import shutil
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest

from stage_runs import run_stage
from tinsmith.core.config import DataConfig, RunConfig
from tinsmith.core.errors import DataError, GateError
from tinsmith.core.measure import Recorder
from tinsmith.core.run_dir import file_sha256
from tinsmith.data.advice import advice
from tinsmith.data.changes import Change, ChangeLog, Tally, read_changes
from tinsmith.data.fit import TokenCounts, TooLong, fit, write_tokens
from tinsmith.data.pieces import SCHEMA, columns_of, complete
from tinsmith.data.report import histogram
from tinsmith.data.stage import check_data, prepare_data
from tinsmith.data.store import PartWriter, Store
from tinsmith.derive.data import RULES
from tinsmith.derive.files import Files
from tinsmith.derive.rules import record
from tinsmith.model.conversations import Conversation, Message, read_jsonl
from tinsmith.model.tokens import ChatTokenizer, load_tokenizer
from tinsmith.pipeline.stages import STAGES
from tiny import tiny_conversations

WORDS = "amber basil cedar delta ember fjord grove heron inlet jewel koala lemon mango nylon ocean piano quilt".split()


@pytest.fixture(params=["tiny_llama", "tiny_gemma"])
def base_dir(request, tmp_path):
    """A finished base stage around a tiny model."""
    shutil.copytree(request.getfixturevalue(request.param), tmp_path / "base" / "model")
    return tmp_path / "base"


@pytest.fixture
def source(tmp_path):
    """Seventeen usable records and one each to repair, cut, drop (twice) and recognise as a duplicate."""
    records = [{"q": f"{word} {word[::-1]}?", "a": f"Yes, {word}."} for word in WORDS]
    records += [
        {"q": " spaced  ", "a": "Yes."},
        {
            "messages": [
                {"role": role, "content": f"{role} {n}" + " long" * 12}
                for n in range(4)
                for role in ("user", "assistant")
            ]
        },
        {"q": "endless" + " endless" * 79, "a": "Yes."},
        {"q": "only a question", "a": ""},
        records[3],
    ]
    folder = tmp_path / "private" / "chats"
    folder.mkdir(parents=True)
    (folder / "01_words.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "notes.jpg").write_text("hi")
    return folder


def run(config, base_dir, tmp_path, name="out"):
    out = tmp_path / name
    out.mkdir()
    result = run_stage(prepare_data, config, base_dir, out, seed=0)
    return out, result, {m.id: m for m in result.measurements}


def test_everything_is_accounted_for(base_dir, source, tmp_path):
    config = DataConfig(path=str(source), max_tokens=200, system_prompt="Be kind.", language="en", license="CC0-1.0")
    out, result, numbers = run(config, base_dir, tmp_path)
    report = json.loads((out / "report.json").read_text())
    assert sorted(p.name for p in out.iterdir()) == [
        "changes.jsonl",
        "hidden.json",
        "private.json",
        "report.html",
        "report.json",
        "report.md",
        "test.jsonl",
        "tokens.jsonl",
        "train.jsonl",
        "val.jsonl",
    ]
    assert [tuple(step.values()) for step in report["steps"]] == [
        ("read", 22, 22, "from 1 file"),
        ("valid", 22, 21, "1 dropped, 1 repaired"),
        ("system_prompt", 21, 21, "added to 21 that had none"),
        ("length", 21, 20, "1 cut, 1 dropped, limit 200 tokens"),
        ("duplicates", 20, 19, "1 left out"),
    ]
    changes = [json.loads(line) for line in (out / "changes.jsonl").read_text().splitlines()]
    assert [(one["what"], one["position"]) for one in changes] == [
        ("repaired", "line 18"),
        ("cut", "line 19"),
        ("dropped", "line 20"),
        ("dropped", "line 21"),
        ("duplicate", "line 22"),
    ]
    assert report["records"] == {"dropped": 2, "duplicate": 1, "cut": 1, "repaired": 1, "masked": 0, "flagged": 0}
    assert [(one["what"], one["count"], len(one["examples"])) for one in report["changes"]] == [
        ("dropped", 1, 1),
        ("dropped", 1, 1),
        ("duplicate", 1, 1),
        ("cut", 1, 1),
        ("repaired", 1, 1),
    ]
    assert "data.max_tokens is 200" in changes[2]["detail"]
    assert report["changes"][2] == {
        "what": "duplicate",
        "reason": "same messages as an earlier conversation",
        "count": 1,
        "examples": [{"file": "01_words.jsonl", "position": "line 22", "detail": "01_words.jsonl, line 4"}],
    }
    assert report["system_prompt"] == "Be kind." and (report["language"], report["license"]) == ("en", "CC0-1.0")
    assert report["categories"] == [{"name": "words", "count": 19, "share": 1.0}]
    assert report["files"] == {"01_words.jsonl": file_sha256(source / "01_words.jsonl")}
    assert sum(bin["count"] for bin in report["lengths"]["bins"]) == 19
    assert report["data"] == "chats" and "private/" not in (out / "report.json").read_text()
    values = {
        id: numbers[id].value
        for id in numbers
        if id.startswith(("data.records", "data.conv", "data.step", "data.trunc", "data.cat"))
    }
    assert values == {
        "data.records.read": 22,
        "data.records.dropped": 2,
        "data.records.repaired": 1,
        "data.records.duplicates": 1,
        "data.step.read.after": 22,
        "data.step.valid.after": 21,
        "data.step.system_prompt.after": 21,
        "data.step.length.after": 20,
        "data.step.duplicates.after": 19,
        "data.truncated": 1,
        "data.category.words": 1,
        "data.conversations.total": 19,
        "data.conversations.train": 15,
        "data.conversations.val": 2,
        "data.conversations.test": 2,
    }
    assert result.summary == (
        "15 train, 2 val, 2 test conversations in 1 categories",
        "2 dropped, 1 exact duplicates, 1 cut, 1 repaired: see data/report.html",
    )


def test_token_counts_and_gates_are_those_of_the_written_files(base_dir, source, tmp_path):
    out, _, numbers = run(DataConfig(path=str(source), max_tokens=200), base_dir, tmp_path)
    tokenizer = load_tokenizer(base_dir / "model")
    smallest = []
    for split in ("train", "val", "test"):
        encoded = tokenizer.encode_all(read_jsonl(out / f"{split}.jsonl"))
        assert numbers[f"data.tokens.{split}"].value == sum(len(t.ids) for t in encoded)
        assert numbers[f"data.supervised_tokens.{split}"].value == sum(t.supervised for t in encoded)
        assert max(len(t.ids) for t in encoded) <= 200
        smallest += [t.supervised for t in encoded]
    gates = {id: m.value for id, m in numbers.items() if m.gate}
    assert gates == {"gate.mask.supervised_fraction": min(smallest), "gate.mask.end_of_turn": 0, "gate.mask.bos": 0}


@pytest.mark.parametrize(
    ("change", "gate"),
    [
        ({"supervised": 0}, "supervised_fraction"),
        ({"supervised_ends": 1}, "end_of_turn"),
        ({"is_bos_right": False}, "bos"),
    ],
)
def test_each_gate_stops_on_one_wrong_conversation(change, gate, tmp_path):
    good = TokenCounts(tokens=9, supervised=4, supervised_ends=2, assistant_turns=2, is_bos_right=True)

    def write(*counts):
        conversation = tiny_conversations(1)[0]
        with PartWriter(tmp_path, 0, SCHEMA, complete) as rows:
            for one in counts:
                rows.add(conversation, {**columns_of(conversation), **asdict(one), "changed": 0})
        splits = {"train": np.array([0, 1]), "val": np.array([2]), "test": np.array([3])}
        write_tokens(tmp_path / "tokens.jsonl", Store(tmp_path), splits)
        record(Recorder(), RULES, Files.of_stage("data", tmp_path), "gate.")

    write(good, good, good, good)
    with pytest.raises(GateError, match=rf"gate\.mask\.{gate}"):
        write(good, good, good, replace(good, **change))


@pytest.mark.parametrize("kind", ["tiny_llama", "tiny_gemma"])
def test_an_added_bos_is_noticed(kind, request):
    tokenizer = load_tokenizer(request.getfixturevalue(kind))
    for conversation in tiny_conversations(4):
        assert fit(conversation, tokenizer, 500).counts.is_bos_right
    if kind == "tiny_llama":

        class AddsBos:
            """The same tokenizer with a beginning-of-sequence token put in front of every text."""

            def __getattr__(self, name):
                return getattr(tokenizer.tokenizer, name)

            @property
            def backend_tokenizer(self):
                return self

            def encode(self, text, **options):
                encoded = tokenizer.tokenizer.backend_tokenizer.encode(text, **options)
                return SimpleNamespace(ids=[self.bos_token_id, *encoded.ids], offsets=[(0, 0), *encoded.offsets])

            def no_padding(self):
                pass

            no_truncation = no_padding

        assert not fit(conversation, replace(tokenizer, tokenizer=AddsBos()), 500).counts.is_bos_right


def test_a_cut_says_how_much_went(tiny_gemma):
    tokenizer = load_tokenizer(tiny_gemma)
    conversation = tiny_conversations(4)[3]
    lengths = [len(tokenizer.encode(replace(conversation, messages=conversation.messages[:n])).ids) for n in (3, 5)]
    limit = lengths[1] - 1
    assert fit(conversation, tokenizer, limit).change == (
        f"cut from {lengths[1]} to {lengths[0]} tokens (data.max_tokens is {limit}): 2 last messages removed"
    )
    with pytest.raises(TooLong, match=rf"^{lengths[0]} tokens, data\.max_tokens is 3$"):
        fit(conversation, tokenizer, 3)


def test_a_tally_keeps_the_first_examples_and_orders_by_kind_and_count():
    def changes(what, reason, *numbers):
        return [Change("a.jsonl", f"line {n}", what, reason, f"{n}") for n in numbers]

    file, early = io.StringIO(), Tally()
    log = ChangeLog(file, early)
    log.add_record([*changes("repaired", "b", 1), *changes("repaired", "a", 1), *changes("flagged", "c", 1)])
    log.add_record(changes("dropped", "é", *range(2, 5)))
    later = ChangeLog(io.StringIO()).tally
    for change in changes("dropped", "é", *range(5, 12)) + changes("repaired", "a", 12):
        later.add(change)
    later.records["dropped"] += 7
    early.merge(later)
    assert early.records == {"repaired": 1, "flagged": 1, "dropped": 8}
    assert [(g["what"], g["reason"], g["count"], [e["detail"] for e in g["examples"]]) for g in early.as_json()] == [
        ("dropped", "é", 10, ["2", "3", "4", "5", "6"]),
        ("repaired", "a", 2, ["1", "12"]),
        ("repaired", "b", 1, ["1"]),
        ("flagged", "c", 1, ["1"]),
    ]
    assert [change.text for change in early.examples("repaired", "flagged")] == ["b: 1", "a: 1", "a: 12", "c: 1"]
    assert Change("a", "line 1", "cut", "r").text == "r" and Change("a", "line 1", "cut", "r").place == "a, line 1"
    assert file.getvalue().splitlines()[-1] == (
        '{"file": "a.jsonl", "position": "line 4", "what": "dropped", "reason": "é", "detail": "4"}'
    )


def test_a_cut_ends_after_the_last_whole_answer_that_fits(tiny_gemma):
    tokenizer = load_tokenizer(tiny_gemma)
    conversation = tiny_conversations(4)[3]
    assert len(conversation.messages) == 5
    whole = len(tokenizer.encode(conversation).ids)
    assert fit(conversation, tokenizer, whole).conversation is conversation
    cut = fit(conversation, tokenizer, whole - 1)
    assert cut.conversation.messages == conversation.messages[:3]
    assert cut.change.startswith(f"cut from {whole} to {cut.counts.tokens} tokens")
    assert cut.counts.assistant_turns == cut.counts.supervised_ends == 1


@pytest.mark.parametrize("kind", ["tiny_llama", "tiny_gemma"])
@pytest.mark.parametrize("system", [True, False])
def test_a_cut_is_the_same_as_by_trying_every_turn(kind, system, request):
    tokenizer = load_tokenizer(request.getfixturevalue(kind))
    turns = [Message(role, f"{role} {n}" + " word" * (n % 5)) for n in range(4) for role in ("user", "assistant")]
    messages = (Message("system", "Be kind."), *turns) if system else tuple(turns)
    conversation = Conversation("c", "c", messages)
    lengths = [
        len(tokenizer.encode(replace(conversation, messages=messages[:end])).ids)
        for end in range(2 + system, len(messages) + 1, 2)
    ]
    for limit in range(lengths[0] - 1, lengths[-1] + 2):
        fitting = [number for number, length in enumerate(lengths) if length <= limit]
        if not fitting:
            with pytest.raises(TooLong, match=f"^{lengths[0]} tokens"):
                fit(conversation, tokenizer, limit)
            continue
        result = fit(conversation, tokenizer, limit)
        assert result.conversation.messages == messages[: 2 + system + 2 * fitting[-1]]
        assert result.counts.tokens == lengths[fitting[-1]]
        assert bool(result.change) is (fitting[-1] + 1 < len(lengths))


def test_a_long_conversation_is_encoded_a_few_times_not_once_for_each_turn(tiny_llama, monkeypatch):
    tokenizer = load_tokenizer(tiny_llama)
    turns = tuple(Message(role, f"{role} {n}") for n in range(200) for role in ("user", "assistant"))
    encoded = []
    encode = ChatTokenizer.encode
    monkeypatch.setattr(ChatTokenizer, "encode", lambda *given: encoded.append(1) or encode(*given))
    assert fit(Conversation("c", "c", turns), tokenizer, 100).counts.tokens <= 100
    assert len(encoded) <= 10


def test_special_tokens_are_judged_the_same_with_and_without_a_base(base_dir, tmp_path):
    path = tmp_path / "d.jsonl"
    texts = ["<pad>", "<unk>", "<filename>", "<repo_name>", "<|endoftext|>", "<end_of_turn>", "<|eot_id|>", "<eos>"]
    texts += sorted(load_tokenizer(base_dir / "model").special_tokens)
    records = [{"q": f"{word} {word[::-1]}?", "a": "Yes."} for word in WORDS]
    records += [{"q": f"{number}?", "a": f"b {text}"} for number, text in enumerate(texts)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    config = DataConfig(path=str(path), max_dropped=0.5)
    out, _, _ = run(config, base_dir, tmp_path)
    dropped = [one for one in read_changes(out / "changes.jsonl") if one.what == "dropped"]
    (group,) = [one for one in check_data(config, seed=0).as_json()["changes"] if one["what"] == "dropped"]
    assert group["count"] == len(dropped)
    assert [one["detail"] for one in group["examples"]] == [one.detail for one in dropped[:5]]
    assert [one.position for one in dropped][:4] == ["line 22", "line 23", "line 24", "line 25"]
    assert dropped[0].text == "the text has a marker of a turn in a chat format: message 2 has '<|endoftext|>'"


def test_two_records_with_one_id_get_ids_of_their_own(base_dir, tmp_path):
    path = tmp_path / "d.jsonl"
    records = [{"id": 1, "q": f"{word} {word[::-1]}?", "a": "Yes."} for word in WORDS]
    records[-1]["id"] = "d.jsonl:line 2"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    out, _, _ = run(DataConfig(path=str(path)), base_dir, tmp_path)
    ids = [c.id for split in ("train", "val", "test") for c in read_jsonl(out / f"{split}.jsonl")]
    assert len(set(ids)) == len(WORDS) and {"1", "d.jsonl:line 3", "d.jsonl:line 2 (2)"} <= set(ids)


def test_steps_that_change_nothing_say_so_and_private_data_is_counted(tmp_path):
    records = [{"q": f"{word} {word[::-1]}?", "a": "Yes."} for word in WORDS]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records[:9]))
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records[9:]))
    report = check_data(DataConfig(path=str(tmp_path)), seed=0).as_json()
    assert [tuple(step.values()) for step in report["steps"]] == [
        ("read", 17, 17, "from 2 files"),
        ("valid", 17, 17, "all usable as they are"),
        ("duplicates", 17, 17, "no copies"),
    ]
    records[0]["a"] = "Write to ann@tea.se or bo@tea.se."
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records[:9]))
    for privacy, after, done in (("warn", 17, "kept"), ("mask", 17, "masked"), ("drop", 16, "left out")):
        report = check_data(DataConfig(path=str(tmp_path), privacy=privacy), seed=0).as_json()
        note = f"personal data or secrets: 2 places in 1 conversation, {done}"
        assert ("privacy", 17, after, note) in [tuple(step.values()) for step in report["steps"]]


def test_too_long_is_an_error_on_request_and_nothing_is_written(base_dir, source, tmp_path):
    (tmp_path / "out").mkdir()
    records = (source / "01_words.jsonl").read_text().splitlines()
    (source / "01_words.jsonl").write_text("\n".join(r for n, r in enumerate(records) if n != 20))
    with pytest.raises(
        DataError, match=r"01_words\.jsonl, line 20: first question .* longer than data.max_tokens: \d+ tokens"
    ):
        run_stage(
            prepare_data, DataConfig(path=str(source), max_tokens=200, drop_invalid=False), base_dir, tmp_path / "out"
        )
    assert list((tmp_path / "out").iterdir()) == []


def test_check_without_a_base_names_the_same_changes(source):
    report = check_data(DataConfig(path=str(source)), seed=0).as_json()
    changes = {(one["what"], one["reason"]): (one["count"], one["examples"]) for one in report["changes"]}
    places = {key: (count, [example["position"] for example in examples]) for key, (count, examples) in changes.items()}
    assert places[("dropped", "a message is empty")] == (1, ["line 21"])
    assert places[("duplicate", "same messages as an earlier conversation")] == (1, ["line 22"])
    assert places[("repaired", "surrounding space removed")] == (1, ["line 18"])
    assert report["splits"] == {"train": 16, "val": 2, "test": 2}
    assert report["lengths"]["unit"] == "characters"
    assert report["unused"] == [{"name": "notes.jpg", "reason": "no data files by their ending", "count": 1}]


def test_histogram_bins_are_round_and_hold_everything():
    bins = histogram(np.array([3, 17, 94, 95, 102]))
    assert sum(bin.count for bin in bins) == 5
    assert [(bin.low, bin.high) for bin in bins][:2] == [(0, 10), (10, 20)] and bins[-1].high == 110
    assert [(bin.low, bin.count) for bin in histogram(np.array([0, 60, 349]))] == [
        (0, 1),
        (50, 1),
        (100, 0),
        (150, 0),
        (200, 0),
        (250, 0),
        (300, 1),
    ]
    assert histogram(np.array([], int)) == () and [(b.low, b.high, b.count) for b in histogram(np.array([5, 5]))] == [
        (5, 6, 2)
    ]


def test_only_files_that_are_read_count_and_a_page_without_questions_is_no_file_of_the_report(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"q": f"Q{n}?", "a": f"A{n}."}) + "\n" for n in range(12)))
    (tmp_path / "about.md").write_text("# About us\n\nWe sell tea.\n")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8 tea")
    (stage,) = (stage for stage in STAGES if stage.name == "data")
    config = RunConfig(data=DataConfig(path=str(tmp_path)))
    before = stage.outside(config, None)
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8 coffee")
    assert stage.outside(config, None) == before
    (tmp_path / "photo2.jpg").write_bytes(b"\xff\xd8 tea")
    assert stage.outside(config, None) != before, "the report names it"
    report = check_data(config.data, seed=0).as_json()
    assert list(report["files"]) == ["a.jsonl"]
    assert {item["name"] for item in report["unused"]} == {"about.md", "photo.jpg", "photo2.jpg"}
    (tmp_path / "a.jsonl").write_text("")
    assert stage.outside(config, None) != before
    assert stage.outside(RunConfig(data=DataConfig(path=str(tmp_path / "none"))), None) == {}


def test_the_worse_answer_of_a_preference_pair_is_left_out_on_purpose(tmp_path):
    pairs = [{"prompt": f"Why {n}?", "chosen": f"Because {n}.", "rejected": f"No {n}."} for n in range(12)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    report = check_data(DataConfig(path=str(tmp_path / "p.jsonl")), seed=0).as_json()
    assert [item["name"] for item in report["unused"]] == ["p.jsonl: rejected"]
    assert not [one for one in advice(report) if "rejected" in one.text]


def test_the_first_advice_on_records_of_an_unknown_shape_is_the_line_to_write(tmp_path):
    records = [{"q": f"Q{n}?", "a": f"A{n}."} for n in range(20)] + [{"ask": "Who?", "reply": "We."}]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    report = check_data(DataConfig(path=str(tmp_path / "p.jsonl")), seed=0).as_json()
    (first,) = (one for one in advice(report) if one.section == "left-out")
    assert 'in [data]: fields = { question = "ask", answer = "reply" }.' in first.action
