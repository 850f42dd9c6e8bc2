"""The data stage on Ray: the same bytes as in this machine's own processes.

Needs the extra `ray`: pip install 'tinsmith[ray]'.
"""

import json
import shutil
import sys
import threading

import psutil
import pytest

from stage_runs import run_stage
from tinsmith.core.config import DataConfig
from tinsmith.core.errors import DataError, MissingDependency
from tinsmith.core.run_dir import tree_sha256s
from tinsmith.data import pieces, ray_engine
from tinsmith.data.stage import prepare_data


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Four files of conversations, some of them unusable, repaired or copies; each file is a part."""
    data = tmp_path / "data"
    data.mkdir()
    for number in range(4):
        records = [
            {"q": f"Question {n} of file {number}?", "a": f"Answer {n} \u200b{'.' * (n % 3)}"} for n in range(20)
        ]
        records += [{"q": "A question without an answer", "a": ""}, {"q": "Question 1 of file 0?", "a": "Answer 1 ."}]
        (data / f"{number}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    monkeypatch.setattr(pieces, "PART_BYTES", 1)
    return data


def run(folder, tiny_llama, out, **config):
    base = out.with_suffix(".base")
    shutil.copytree(tiny_llama, base / "model")
    out.mkdir()
    run_stage(prepare_data, DataConfig(path=str(folder), **config), base, out, seed=0)
    return tree_sha256s(out)


def test_without_ray_the_variable_is_refused_with_what_to_do(folder, tiny_llama, tmp_path, monkeypatch):
    monkeypatch.setenv(ray_engine.VARIABLE, ray_engine.LOCAL)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependency, match="TINSMITH_RAY is set, but Ray is not installed"):
        run(folder, tiny_llama, tmp_path / "out")


@pytest.mark.long
def test_two_workers_write_the_same_bytes_and_listen_on_loopback_alone(folder, tiny_llama, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="needs the extra `ray`: pip install 'tinsmith[ray]'")
    here = run(folder, tiny_llama, tmp_path / "here")
    monkeypatch.setenv(ray_engine.VARIABLE, ray_engine.LOCAL)
    monkeypatch.setattr("tinsmith.data.stage.process_count", lambda parts: 2)
    addresses, ended = set(), threading.Event()
    watcher = threading.Thread(target=watch, args=(addresses, ended))
    watcher.start()
    try:
        assert run(folder, tiny_llama, tmp_path / "there") == here
        with pytest.raises(DataError, match=r"data\.system_prompt is only whitespace"):
            run(folder, tiny_llama, tmp_path / "refused", system_prompt=" ")
    finally:
        ended.set()
        watcher.join()
    assert addresses, "no listening socket was seen, so the test saw nothing"
    assert addresses <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def watch(addresses, ended):
    """Collect the addresses on which this process and its children listen, until `ended`."""
    while not ended.wait(0.2):
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            try:
                addresses |= {
                    one.laddr.ip for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN
                }
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
