"""The data stage on Ray: the same bytes as in this machine's own processes.

The long test needs the extra `ray`: pip install 'tinsmith[ray]'. The others have a stand-in for it.
"""

import json
import os
import shutil
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace

import psutil
import pytest

from stage_runs import run_stage
from tinsmith.core.config import DataConfig
from tinsmith.core.errors import DataError, MissingDependency, UserError
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


class StandInForRay:
    """Ray's functions that are used, in this process; rows come in reverse order."""

    def __init__(self, monkeypatch, init_error=None, row_error=None):
        self.started, self.blocks, self.ended = {}, 0, 0
        self._errors = init_error, row_error
        self.context = SimpleNamespace(enable_progress_bars=True)
        self.RayError = type("RayError", (Exception,), {})
        modules = {name: ModuleType(name) for name in ("ray", "ray.data", "ray.exceptions")}
        modules["ray"].__dict__.update(init=self.init, shutdown=self.shutdown, data=modules["ray.data"])
        modules["ray"].exceptions = modules["ray.exceptions"]
        modules["ray.exceptions"].RayError = self.RayError
        modules["ray.data"].DataContext = SimpleNamespace(get_current=lambda: self.context)
        modules["ray.data"].from_items = self.from_items
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)

    def init(self, **options):
        self.started = options
        if self._errors[0]:
            raise self._errors[0]

    def shutdown(self):
        self.ended += 1

    def from_items(self, rows, override_num_blocks):
        self.blocks = override_num_blocks
        return SimpleNamespace(map=lambda task: SimpleNamespace(iter_rows=lambda: self.rows(task, rows)))

    def rows(self, task, rows):
        for row in reversed(rows):
            yield task(row)
        if self._errors[1]:
            raise self.RayError("a worker died")


def halved(number):
    """Also where it runs, because paths may be relative."""
    if number % 2:
        raise UserError(f"{number} is odd", "Use even numbers.")
    return number // 2, Path.cwd()


def test_outputs_come_with_the_index_of_their_input(tmp_path, monkeypatch):
    ray = StandInForRay(monkeypatch)
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.chdir(tmp_path)
    outputs = ray_engine.on_ray(halved, [8, 4, 6], "10.0.0.5:6379", 2)
    assert not ray.started, "nothing starts before the first row is asked for"
    assert list(outputs) == [(2, (3, tmp_path)), (1, (2, tmp_path)), (0, (4, tmp_path))]
    assert ray.started == {"log_to_driver": False, "configure_logging": False, "address": "10.0.0.5:6379"}
    assert (ray.blocks, ray.ended, ray.context.enable_progress_bars) == (3, 1, False)
    assert os.environ == {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_metrics_collection": "0",
        "RAY_agent_register_timeout_ms": "300000",
    }
    list(ray_engine.on_ray(halved, [2], ray_engine.LOCAL, 7))
    assert ray.started["num_cpus"] == 7 and ray.started["include_dashboard"] is False and "address" not in ray.started
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0", "loopback alone"


def test_what_goes_wrong_on_ray_is_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    ray = StandInForRay(monkeypatch)
    with pytest.raises(UserError) as caught:
        list(ray_engine.on_ray(halved, [1], ray_engine.LOCAL, 1))
    assert (caught.value.message, caught.value.hint, ray.ended) == ("1 is odd", "Use even numbers.", 1)
    ray = StandInForRay(monkeypatch, row_error=True)
    with pytest.raises(DataError) as caught:
        list(ray_engine.on_ray(halved, [2], ray_engine.LOCAL, 1))
    assert (caught.value.message, ray.ended) == ("Ray: a worker died", 1)
    assert caught.value.hint == "Look at its logs, or unset TINSMITH_RAY to use this machine alone."
    ray = StandInForRay(monkeypatch, init_error=ConnectionError("no route"))
    with pytest.raises(DataError) as caught:
        list(ray_engine.on_ray(halved, [2], "10.0.0.5:6379", 1))
    assert (caught.value.message, ray.ended) == ("TINSMITH_RAY=10.0.0.5:6379: Ray cannot be reached: no route", 1)
    assert caught.value.hint == "Use an address, or TINSMITH_RAY=local."


def test_where_ray_runs_is_said_by_the_variable(monkeypatch):
    monkeypatch.delenv("TINSMITH_RAY", raising=False)
    assert ray_engine.ray_address() == ""
    monkeypatch.setenv("TINSMITH_RAY", "local")
    assert ray_engine.ray_address() == ray_engine.LOCAL


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
