"""The benchmark of growing data: its made-up conversations, what it measures of other processes, and its arithmetic."""

import json
import shutil
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from tinsmith.core.run_dir import read_json

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def bench(monkeypatch, tmp_path):
    """The benchmark as a module that writes its results to the test's folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import data_scale
    import harness

    monkeypatch.setattr(harness, "HERE", tmp_path)
    yield data_scale
    for name in ("data_scale", "harness", "scale_conversations"):
        sys.modules.pop(name, None)


def digest(folder):
    return sha256(b"".join(path.read_bytes() for path in sorted(folder.iterdir()))).hexdigest()


@pytest.mark.parametrize("kind", ["templated", "random"])
def test_the_same_arguments_give_the_same_conversations(bench, tmp_path, kind):
    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        bench.write_conversations(tmp_path / name, 400, kind, seed)
    assert digest(tmp_path / "one") == digest(tmp_path / "same") != digest(tmp_path / "other")
    files = [path.read_text(encoding="utf-8") for path in sorted((tmp_path / "one").iterdir())]
    records = [json.loads(line) for text in files for line in text.split("\n")[:-1]]
    assert len(records) == 400
    turns = [record.get("messages") or record["conversations"] for record in records]
    texts = [json.dumps([list(turn.values()) for turn in of_record]) for of_record in turns]
    assert 2500 < sum(map(len, texts)) / 400 < 4000
    assert 2 <= 400 - len(set(texts)) <= 20  # copies
    assert any("\\u200b" in text for text in texts) and any("<|im_end|>" in text for text in texts)
    assert any(len(of_record) == 2 for of_record in turns)  # nobody answers


def test_memory_and_time_of_all_processes_count(bench, tmp_path):
    grandchild = "import time; text = bytearray(150_000_000); sum(range(6_000_000)); time.sleep(1)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}], check=True)"
    point = bench.run_sampled([sys.executable, "-c", child], tmp_path / "log")
    assert 150e6 < point["peak_rss_bytes"] < 300e6
    assert 150e6 < point["peak_pss_bytes"] <= point["peak_rss_bytes"]
    assert point["wall_seconds"] > 1 and point["cpu_seconds"] > 0.02


def test_a_failed_command_stops_the_benchmark_with_its_output(bench, tmp_path):
    with pytest.raises(SystemExit, match="no such data"):
        bench.run_sampled([sys.executable, "-c", "import sys; sys.exit('no such data')"], tmp_path / "log")


def test_exponents_are_those_of_known_growth(bench):
    points = [
        {"kind": kind, "conversations": n, "wall_seconds": n**power, "cpu_seconds": 2.0 * n, "peak_rss_bytes": 5}
        for kind, power in (("random", 2), ("templated", 1.5))
        for n in (1000, 10_000, 40_000)
    ]
    steps = bench.exponents(points)
    assert [(step["kind"], step["from"], step["to"]) for step in steps] == [
        (kind, *sizes) for kind in ("random", "templated") for sizes in ((1000, 10_000), (10_000, 40_000))
    ]
    assert [step["wall"] for step in steps] == [2, 2, 1.5, 1.5]
    assert {step["cpu"] for step in steps} == {1} and {step["peak_rss"] for step in steps} == {0}


@pytest.mark.long
def test_a_point_of_each_kind_is_measured_and_drawn(bench, tiny_llama, monkeypatch, tmp_path):
    model = shutil.copytree(tiny_llama, tmp_path / "base")
    (model / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    arguments = ["--sizes", "60", "--model", str(model), "--max-tokens", "4096", "--work", str(tmp_path / "work")]
    monkeypatch.setattr(sys, "argv", ["data_scale.py", *arguments, "--image", str(tmp_path / "plot.svg")])
    bench.main()
    report = read_json(tmp_path / "results" / "data_scale.json")
    assert [point["kind"] for point in report["points"]] == ["random", "templated"]
    assert [point["conversations"] for point in report["points"]] == [60, 60]
    for point in report["points"]:
        assert 0 < point["floor_cpu_seconds"] < point["cpu_seconds"]
        assert point["check"]["wall_seconds"] > 0
    assert (tmp_path / "plot.svg").read_text().startswith("<?xml")
