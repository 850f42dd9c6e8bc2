"""Results depend on the data alone, not on processes, the sizes of pieces and parts, or the order of files."""

import json
import os
import random
import shutil
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pytest

from stage_runs import run_stage
from tinsmith.core.config import DataConfig
from tinsmith.core.errors import DataError
from tinsmith.data import pieces, stage, store
from tinsmith.data.fit import TokenCounts
from tinsmith.data.pieces import SCHEMA, columns_of, complete
from tinsmith.data.read import find
from tinsmith.data.read.record import Piece
from tinsmith.data.stage import check_data, prepare_data
from tinsmith.data.statements import WIDTH, statements
from tinsmith.data.store import PartWriter, Store
from tinsmith.data.workers import in_background, in_processes
from tinsmith.model.conversations import Conversation, Message, read_jsonl
from tiny import tiny_conversations

OUTPUTS = {"train.jsonl", "val.jsonl", "test.jsonl", "tokens.jsonl", "changes.jsonl", "report.json"}


def written_data(folder, seed, count=120):
    """A folder with several files: near-duplicates, copies, repairs, cuts, one id twice, and unusable records."""
    chance = random.Random(seed)
    words = ["".join(chance.choices("abcdefghijklmnop", k=6)) for _ in range(400)]
    records = []
    for number in range(count):
        question = " ".join(chance.choices(words, k=9))
        record = {"q": question, "a": f"Yes, {number}.", "category": f"c{number % 7}", "extra": 1}
        records.append(record)
        if number % 9 == 0:
            records.append({**record, "q": question.replace(" ", "  ") + "?", "a": "Near."})
        if number % 11 == 0:
            records.append(record)
        if number % 17 == 0:
            turns = [{"role": role, "content": question + " long" * 8} for role in ("user", "assistant")]
            records += [{"id": 7, "category": "long", "messages": turns * 4}, {"q": "", "a": "Nothing."}]
    chance.shuffle(records)
    folder.mkdir(parents=True)
    for number in range(3):
        lines = [json.dumps(record) + "\n" for record in records[number::3]]
        (folder / f"{chance.choice('abc')}{number}.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture
def base_dir(tiny_llama, tmp_path):
    (tmp_path / "base").mkdir()
    shutil.copytree(tiny_llama, tmp_path / "base" / "model")
    return tmp_path / "base"


def outputs(source, base_dir, out):
    out.mkdir()
    run_stage(prepare_data, DataConfig(path=str(source), max_tokens=300), base_dir, out, seed=3)
    written = {file.name: file.read_bytes() for file in out.iterdir()}
    assert written.keys() >= OUTPUTS
    return written


def test_the_bytes_do_not_depend_on_parts_and_pieces(base_dir, tmp_path, monkeypatch):
    source = written_data(tmp_path / "in", seed=1)
    whole = outputs(source, base_dir, tmp_path / "whole")
    counts = json.loads(whole["report.json"])["records"]
    assert all(counts[what] for what in ("dropped", "duplicate", "cut", "repaired"))
    for piece_bytes, part_bytes in ((200, 1), (2000, 3000)):
        monkeypatch.setattr(find, "PIECE_BYTES", piece_bytes)
        monkeypatch.setattr(pieces, "PART_BYTES", part_bytes)
        assert outputs(source, base_dir, tmp_path / f"{piece_bytes}-{part_bytes}") == whole


@pytest.mark.long
def test_the_bytes_do_not_depend_on_processes(base_dir, tmp_path, monkeypatch):
    source = written_data(tmp_path / "in", seed=2)
    whole = outputs(source, base_dir, tmp_path / "one process")
    monkeypatch.setattr(pieces, "PART_BYTES", 1)
    monkeypatch.setattr(stage, "_SMALL_BYTES", 0)
    monkeypatch.setattr(stage, "process_count", lambda inputs: 2)
    assert outputs(source, base_dir, tmp_path / "two processes") == whole


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 20))])
def test_no_question_of_another_split_is_close_whatever_the_files(seed, base_dir, tmp_path):
    def texts(folder):
        outputs(folder, base_dir, folder.with_suffix(".out"))
        splits = {name: read_jsonl(folder.with_suffix(".out") / f"{name}.jsonl") for name in ("train", "val", "test")}
        return {name: [one.messages for one in split] for name, split in splits.items()}

    source = written_data(tmp_path / "one", seed)
    splits = texts(source)
    shingled = {name: [shingles(messages[0].content) for messages in split] for name, split in splits.items()}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        closest = max(len(a & b) / len(a | b) for a in shingled[one] for b in shingled[other])
        assert closest < 0.7, (one, other)
    lines = [line for file in sorted(source.iterdir()) for line in file.read_text().splitlines(keepends=True)]
    random.Random(seed).shuffle(lines)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "only.jsonl").write_text("".join(lines))
    assert texts(tmp_path / "two") == splits


def shingles(text):
    plain = " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())
    return {plain[start : start + 5] for start in range(max(1, len(plain) - 4))}


STORED = pa.schema(
    [
        pa.field("number", pa.int64()),
        pa.field("truth", pa.bool_()),
        pa.field("hash", pa.binary(3)),
        pa.field("table", pa.binary()),
        pa.field("text", pa.string()),
    ]
)


def written(folder, number, rows, fails=False):
    """A part whose row n has n in every column, and a table of n lines."""

    def complete(rows):
        batches.append(len(rows))
        for row in rows:
            row["text"] = f"t{row['number']}"

    batches = []
    with PartWriter(folder, number, STORED, complete) as writer:
        for n in rows:
            table = np.arange(2 * n, dtype="<u4").tobytes()
            columns = {"number": n, "truth": n % 2 == 0, "hash": bytes([n, 1, n]), "table": table}
            writer.add(Conversation(f"é{n}", "c", (Message("user", "Q" * n),), {"file": "f"}), columns)
        if fails:
            raise ValueError("no")
    return batches


def test_rows_come_back_from_several_parts_and_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_ROWS_AT_ONCE", 2)
    assert written(tmp_path, 1, [3, 0, 4, 1, 5]) == [2, 2, 1]
    assert written(tmp_path, 0, [2, 6]) == [2]
    assert written(tmp_path, 2, []) == []
    assert written(tmp_path, 10, [9]) == [1]
    rows = [2, 6, 3, 0, 4, 1, 5, 9]
    stored = Store(tmp_path)
    assert len(stored) == len(rows)
    assert stored.numbers("number").tolist() == rows
    assert stored.numbers("truth").tolist() == [n % 2 == 0 for n in rows]
    assert stored.hashes("hash").tolist() == [[n, 1, n] for n in rows]
    assert stored.texts("text").to_pylist() == [f"t{n}" for n in rows]
    table, owners = stored.tables("table", 2)
    assert table.dtype == np.uint32 and table.tolist() == [[2 * i, 2 * i + 1] for n in rows for i in range(n)]
    assert owners.tolist() == [index for index, n in enumerate(rows) for _ in range(n)]
    lines = [
        f'{{"id": "é{n}", "category": "c", "messages": [{{"role": "user", "content": "{"Q" * n}"}}], '
        '"source": {"file": "f"}}\n'
        for n in rows
    ]
    order = [7, 0, 3, 1, 6, 2, 5, 4, 4]
    assert [stored.line(row).decode() for row in order] == [lines[row] for row in order]
    assert stored.numbers("size").tolist() == [len(line.encode()) for line in lines]
    first = stored.conversation(1)
    assert first == Conversation("é6", "c", (Message("user", "QQQQQQ"),), {"file": "f"})


def test_a_part_that_fails_writes_no_unfinished_batch(tmp_path):
    with pytest.raises(ValueError, match="no"):
        written(tmp_path, 0, [1, 2], fails=True)
    assert len(Store(tmp_path)) == 0


def test_parts_are_neighbouring_pieces_of_some_size(tmp_path, monkeypatch):
    def sizes(*bytes_of):
        whole = [Piece(f"{n}", tmp_path, "lines", size) for n, size in enumerate(bytes_of)]
        parts = pieces.divide(whole, tmp_path, "settings")
        assert [part.number for part in parts] == list(range(len(parts)))
        assert [piece for part in parts for piece in part.pieces] == whole
        assert {(part.folder, part.settings) for part in parts} <= {(tmp_path, "settings")}
        assert [part.size for part in parts] == [sum(piece.size for piece in part.pieces) for part in parts]
        return [part.size for part in parts]

    monkeypatch.setattr(pieces, "PART_BYTES", 10)
    assert sizes() == [] and sizes(3) == [3]
    assert sizes(9, 1, 9, 2, 30, 5) == [10, 11, 30, 5]
    monkeypatch.setattr(pieces, "MAX_PARTS", 2)
    assert sizes(*[10] * 5) == [30, 20], "fewer, larger ones"
    assert pieces.changes_path(tmp_path, 7) == tmp_path / "part-00007.changes.jsonl"


def test_too_many_unusable_records_stop_a_run_with_counts_by_reason(tmp_path):
    good = [{"q": f"{number} {number * 7919}?", "a": "Yes."} for number in range(90)]
    bad = [{"q": "Why?", "a": ""}] * 7 + [{"text": "a"}] * 3
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in good + bad))
    assert check_data(DataConfig(path=str(path)), seed=0).changes.records["dropped"] == 10
    path.write_text("".join(json.dumps(record) + "\n" for record in good[1:] + bad))
    with pytest.raises(DataError) as caught:
        check_data(DataConfig(path=str(path)), seed=0)
    assert "10 of 99 records cannot be used, more than data.max_dropped = 0.1 allows" in caught.value.message
    lines = caught.value.message.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["7", "3"]
    assert f"{path}, line 90" in lines[0] and f"{path}, line 97" in lines[1]
    assert "data.max_dropped" in caught.value.hint
    assert check_data(DataConfig(path=str(path), max_dropped=0.2), seed=0).splits["train"] > 0


def _double_or_die(number):
    if number < 0:
        os.kill(os.getpid(), 9)
    if number == 13:
        raise DataError("unlucky", "Take another number.")
    return 2 * number


def test_work_in_processes_gives_results_and_errors_and_notices_a_killed_process():
    assert sorted(in_processes(_double_or_die, [3, 1], 2)) == [(0, 6), (1, 2)]
    with pytest.raises(DataError, match="unlucky") as caught:
        list(in_processes(_double_or_die, [13], 2))
    assert caught.value.hint == "Take another number."
    with pytest.raises(DataError, match="a process that reads the data was killed"):
        list(in_processes(_double_or_die, [-1], 2))


@pytest.mark.parametrize("processes", [1, 2])
def test_work_in_the_background_gives_results_in_order_and_errors(processes):
    with in_background(_double_or_die, [3, 1, 2], processes) as results:
        assert list(results) == [6, 2, 4]
    with pytest.raises(DataError, match="unlucky"), in_background(_double_or_die, [1, 13], processes) as results:
        list(results)


def test_a_killed_process_in_the_background_is_noticed():
    with pytest.raises(DataError, match="was killed"), in_background(_double_or_die, [-1], 2) as results:
        list(results)


def test_a_column_in_memory_keeps_no_other_column(tmp_path):
    conversations, counts = tiny_conversations(40), asdict(TokenCounts(9, 4, 2, 1, True))
    for part in range(2):
        with PartWriter(tmp_path, part, SCHEMA, complete) as rows:
            for conversation in conversations:
                rows.add(conversation, {**columns_of(conversation), **counts, "changed": 0})
    store = Store(tmp_path)
    before = pa.total_allocated_bytes()
    column = store.texts("position")
    assert column.to_pylist() == 2 * [conversation.source["position"] for conversation in conversations]
    # A signature alone has 512 bytes.
    assert pa.total_allocated_bytes() - before < 100 * len(store)
    expected = [statements(conversation) for conversation in conversations]
    tables, owners = store.tables("statements", WIDTH)
    assert np.array_equal(tables, np.concatenate(2 * expected))
    assert owners.tolist() == [row for row, table in enumerate(2 * expected) for _ in table]
    assert len(tables) > 0
