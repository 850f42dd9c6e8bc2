"""Conversations and tokens that are read one by one from a file."""

import copy
import dataclasses
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tinsmith.model import conversations as module
from tinsmith.model.conversations import read_jsonl, write_jsonl
from tinsmith.model.token_file import TokenFile
from tinsmith.model.tokens import Tokens
from tiny import tiny_conversations

WRITTEN = tiny_conversations(30)
ODD = "line\u2028separator, \x85, \r and\nnew line, \U0001f375"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "train.jsonl"
    odd = dataclasses.replace(WRITTEN[4], messages=(*WRITTEN[4].messages[:-1], module.Message("assistant", ODD)))
    write_jsonl(path, [*WRITTEN[:4], odd, *WRITTEN[5:]])
    return path


def test_they_are_what_was_written(path):
    read = read_jsonl(path)
    assert len(read) == 30
    assert read[4].messages[-1].content == ODD
    assert [*read[:4], *read[5:]] == [*WRITTEN[:4], *WRITTEN[5:]]
    assert read[-1] == WRITTEN[-1]
    assert WRITTEN[7] in read
    assert list(read[3:20:5][1:]) == WRITTEN[8:20:5]
    with pytest.raises(IndexError):
        read[30]


@pytest.mark.parametrize("chunk_bytes", [1, 7, 1000])
def test_lines_are_found_across_chunks(path, monkeypatch, chunk_bytes):
    whole = list(read_jsonl(path))
    monkeypatch.setattr(module, "_CHUNK_BYTES", chunk_bytes)
    assert list(read_jsonl(path)) == whole


def test_an_empty_file_has_none(tmp_path):
    write_jsonl(tmp_path / "val.jsonl", [])
    assert not read_jsonl(tmp_path / "val.jsonl")
    assert list(read_jsonl(tmp_path / "val.jsonl")[:3]) == []


def test_an_unfinished_last_line_is_not_read(path):
    path.write_bytes(path.read_bytes()[:-1])
    assert len(read_jsonl(path)) == 29


def ids_of(conversations):
    return [conversation.id for conversation in conversations]


def test_forked_processes_read_side_by_side(path):
    """They share the open file, so a position in it would be shared, too."""
    read = read_jsonl(path)
    parts = [read[start::4] for start in range(4)] * 8
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        assert list(pool.map(ids_of, parts)) == [ids_of(WRITTEN[start::4]) for start in range(4)] * 8


def test_a_copy_for_another_process_opens_the_file_there(path):
    part = read_jsonl(path)[5::2]
    assert ids_of(copy.copy(part)) == ids_of(part) == ids_of(WRITTEN[5::2])


def test_memory_holds_one_conversation_at_a_time(tmp_path):
    """60 MB of conversations take less than 10 MB."""
    answer = module.Message("assistant", "tea " * 25_000)
    write_jsonl(tmp_path / "train.jsonl", [dataclasses.replace(WRITTEN[0], messages=(answer,))] * 600)
    code = (
        "import resource, sys; from pathlib import Path; from tinsmith.model.conversations import read_jsonl\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "total = sum(len(one.messages[-1].content) for one in read_jsonl(Path(sys.argv[1])))\n"
        "print(total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "train.jsonl")]
    total, grown = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert total == 600 * 100_000
    assert grown * (1 if sys.platform == "darwin" else 1024) < 10e6


def tokens(number):
    ids = tuple(range(number, number + number % 5 + 1))
    return Tokens(f"c{number}", ids, tuple(bool(id % 2) for id in ids))


def test_tokens_come_back_from_their_file(tmp_path):
    every = [*map(tokens, range(20)), Tokens("large", (2**32 - 1, 0), (True, False))]
    kept = TokenFile(tmp_path, iter(every))
    assert list(kept) == every
    assert kept[-1] == every[-1] and kept[3:7] == every[3:7]
    assert kept.longest == 5
    assert list(tmp_path.iterdir()) == []  # the file has no name
    assert list(TokenFile(tmp_path, [])) == [] and TokenFile(tmp_path, []).longest == 0


def test_only_the_needed_tokens_are_in_the_file(tmp_path):
    rows = [2, 3, 11, 19]
    kept = TokenFile(tmp_path, map(tokens, rows), rows, 20)
    assert len(kept) == 20
    assert [kept[row] for row in rows] == list(map(tokens, rows))
    for missing in (0, 4, 18):
        with pytest.raises(IndexError, match=f"conversation {missing} of 20 was not tokenized"):
            kept[missing]
