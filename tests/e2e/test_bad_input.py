"""Wrong input gives one clear message, exit code 2, and leaves what was there as it was."""

import json

import pytest

from e2e.conftest import tinsmith, write_project
from tiny import tiny_conversations


def _messages(count=12):
    return [json.dumps({"messages": c.as_dicts()}) for c in tiny_conversations(count)]


def _missing(folder):
    (folder / "chats.jsonl").unlink()


def _broken_json(folder):
    lines = _messages()
    lines[4] = '{"messages": [{"role": "user", '
    (folder / "chats.jsonl").write_text("\n".join(lines))


def _wrong_roles(folder):
    bad = {"messages": [{"role": "assistant", "content": "hi"}, {"role": "user", "content": "yo"}]}
    (folder / "chats.jsonl").write_text("\n".join([json.dumps(bad)] * 12))


def _empty_folder(folder):
    (folder / "chats.jsonl").unlink()
    (folder / "chats.jsonl").mkdir()


def _unknown_key(folder):
    path = folder / "tinsmith.toml"
    path.write_text(path.read_text().replace("epochs = 2", "epoch = 2"))


def _unknown_base(folder):
    path = folder / "tinsmith.toml"
    path.write_text(path.read_text().replace('"base-model"', '"smollm2-135m-instrct"'))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_missing, ["chats.jsonl", "does not exist"]),
        (_broken_json, ["chats.jsonl:5"]),
        (_wrong_roles, ["chats.jsonl", "line 1", "assistant"]),
        (_empty_folder, ["chats.jsonl"]),
        (_unknown_key, ["train.epoch: unknown key, did you mean 'epochs'?"]),
        (_unknown_base, ["smollm2-135m-instrct", "smollm2-135m-instruct"]),
    ],
)
def test_one_message_and_exit_code_2(tmp_path, damage, words):
    config = write_project(tmp_path, "llama")
    damage(tmp_path)
    done = tinsmith("run", config, "--to", "data", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("error: ") == 1 and "  -> " in done.stderr
    assert not (tmp_path / "runs/llama/base").exists()  # said before anything is fetched
    for word in words:
        assert word.lower() in done.stderr.lower(), done.stderr


def test_earlier_results_stay_after_bad_input(tmp_path):
    config = write_project(tmp_path, "llama")
    assert tinsmith("run", config, "--to", "data", cwd=tmp_path).returncode == 0
    run = tmp_path / "runs/llama"
    before = {p: p.read_bytes() for p in sorted(run.rglob("*")) if p.is_file() and p.suffix != ".lock"}
    _broken_json(tmp_path)
    assert tinsmith("run", config, "--to", "data", cwd=tmp_path).returncode == 2
    assert {p: p.read_bytes() for p in before} == before
