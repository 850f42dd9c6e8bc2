"""The whole line through the command, on tiny models, in a real browser: results, tamper evidence, rerun, resume."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from e2e.conftest import OFFLINE, TRACE, can_be_offline, tinsmith, without_pickles
from signed_results import CODE, result, signed
from tinsmith.bench.remote_result import store
from tinsmith.core.run_dir import file_sha256, tree_sha256s
from tinsmith.pipeline.stages import STAGES

pytestmark = pytest.mark.browser


def test_prints_table_next_command_and_json(finished):
    _, run, done = finished
    lines = done.stdout.strip().splitlines()
    assert any(line.startswith("perplexity, test") for line in lines)
    document = json.loads(lines[-1])
    ids = {m["id"]: m for m in document["measurements"]}
    assert {
        "evaluate.perplexity.test.base",
        "evaluate.perplexity.test.tuned",
        "evaluate.perplexity.test.int4",
        "bench.wasm.decode_tokens_per_second",
        "gate.tokens.python_vs_javascript",
    } <= set(ids)
    assert ids["gate.logits.wasm_vs_onnxruntime"]["value"] < 0.25
    assert f"Next: tinsmith serve runs/{run.name}" in done.stderr


def test_a_run_reads_no_pickles(finished):
    config, _, _ = finished
    assert not (config.parent / "pickles.txt").exists()


READERS = """
lambda: pickle.load(open(path, 'rb'))
lambda: pickle.Unpickler(open(path, 'rb')).load()
lambda: torch.load(path)
lambda: torch.load(path, weights_only=False)
lambda: numpy.load(path, allow_pickle=True)
""".split("\n")[1:-1]


def test_reading_a_pickle_would_be_noticed(tmp_path):
    (tmp_path / "data").write_bytes(pickle.dumps({}))
    script = f"import numpy, pickle, torch\npath = {str(tmp_path / 'data')!r}\nfor read in ({', '.join(READERS)}):"
    script += "\n    try:\n        read()\n    except AssertionError as error:\n        print(error)"
    environment = os.environ | without_pickles(tmp_path / "log")
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.stdout == "a pickle was read\n" * len(READERS), done.stderr
    assert (tmp_path / "log").read_text().count('"<string>", line 3') == len(READERS)


def test_a_run_needs_no_network_and_looks_for_none(finished):
    """The browser runtime is in the cache; see `make demo-offline` for the demo."""
    if not can_be_offline():
        pytest.skip("this system allows no network namespace")
    report = json.loads(finished[2].stderr.strip().splitlines()[-1])
    assert report["interfaces"] == ["lo"] and report.get("addresses_tried", []) == []


def test_looking_for_a_network_would_be_noticed(tmp_path):
    if not (can_be_offline() and TRACE):
        pytest.skip("this system allows no network namespace, or has no strace")
    script = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect_ex(('192.0.2.1', 9))"
    command = [sys.executable, OFFLINE, "--trace", "--", sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and json.loads(done.stderr)["addresses_tried"] == ["192.0.2.1 port 9 (python)"]


def test_card_check_passes_and_finds_one_byte_and_one_digit(finished, tmp_path):
    _, run, _ = finished
    copy = tmp_path / run.name
    shutil.copytree(run, copy)
    assert tinsmith("card", copy, "--check", cwd=tmp_path).returncode == 0
    weights = copy / "export/package/onnx/model_q4.onnx_data"
    original = weights.read_bytes()
    weights.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    done = tinsmith("card", copy, "--check", cwd=tmp_path)
    assert done.returncode == 2 and "model_q4.onnx_data" in done.stderr
    weights.write_bytes(original)
    card = copy / "card/README.md"
    text = card.read_text()
    at = next(i for i, c in enumerate(text) if c.isdigit() and i > text.index("Perplexity (Base)"))
    card.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
    done = tinsmith("card", copy, "--check", cwd=tmp_path)
    assert done.returncode == 2 and "README.md" in done.stderr


def test_what_is_published_is_the_site(finished, tmp_path):
    _, run, _ = finished
    done = tinsmith("publish", run, "--to", "public", "--yes", cwd=tmp_path)
    assert done.returncode == 0 and "GitHub" not in done.stderr, done.stderr
    (tmp_path / "public/tinsmith-published.json").unlink()
    assert tree_sha256s(tmp_path / "public") == tree_sha256s(run / "app")


def test_another_devices_result_gets_onto_a_card_that_checks(finished, tmp_path):
    config, run, _ = finished
    shutil.copytree(config.parent, tmp_path / "copy")
    copy = tmp_path / "copy/runs" / run.name
    package = file_sha256(copy / "export/package/SHA256SUMS")
    store(copy / "received", CODE, *signed(result(package=package, name="Kitchen tablet")))
    done = tinsmith("run", "tinsmith.toml", "--from", "remote", cwd=tmp_path / "copy")
    assert done.returncode == 0, done.stderr[-2000:]
    for name in ("README.md", "EVIDENCE.md"):
        assert "| Kitchen tablet, 4 threads, Chrome 150, Android | WASM | 10" in (copy / "card" / name).read_text()
    assert tinsmith("card", copy, "--check", cwd=tmp_path).returncode == 0
    received = next((copy / "received").iterdir())
    received.write_text(received.read_text().replace("Kitchen", "Kitschn"))
    done = tinsmith("run", "tinsmith.toml", "--from", "remote", cwd=tmp_path / "copy")
    assert done.returncode == 2 and "not what the device signed" in done.stderr


def test_rerun_skips_and_a_changed_setting_reruns_what_follows(finished, tmp_path):
    config, _, _ = finished
    done = tinsmith("run", config, cwd=config.parent)
    assert done.stderr.count("up to date") == len(STAGES)
    shutil.copytree(config.parent, tmp_path / "copy")
    again = tinsmith("run", "tinsmith.toml", "--to", "merge", "--set", "train.epochs=1", cwd=tmp_path / "copy")
    assert again.returncode == 0, again.stderr[-2000:]
    lines = [line for line in again.stderr.splitlines() if line.startswith("[")]
    assert ["up to date" in line for line in lines] == [True, True, True, False, False]


def test_nothing_written_names_this_machine(finished):
    config, run, _ = finished
    home, here = os.path.expanduser("~"), str(config.parent)
    texts = [p for p in run.rglob("*") if p.suffix in {".json", ".jsonl", ".md", ".toml", ".txt"}]
    assert len(texts) > 20
    for path in texts:
        text = path.read_text(encoding="utf-8")
        assert here not in text and f"{home}/" not in text and os.uname().nodename not in text.split(), path


def test_no_text_of_a_conversation_is_published_outside_the_answers(finished):
    """The owner of this run agreed to answers and questions, which are in one folder."""
    _, run, _ = finished
    paths = [run / "data" / f"{split}.jsonl" for split in ("train", "val", "test")]
    records = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    texts = {message["content"] for record in records for message in record["messages"]}
    secrets = [text.encode() for text in texts if "on day" in text or "costs Rp" in text]
    assert len(secrets) > 60
    files = [
        path for folder in ("app", "card", "export/package") for path in (run / folder).rglob("*") if path.is_file()
    ]
    assert len(files) > 30
    holders = {path.relative_to(run) for path in files if any(text in path.read_bytes() for text in secrets)}
    assert holders == {Path("app/model/answers/passages.json")}


def test_killed_while_training_continues(finished, tmp_path):
    config, finished_run, _ = finished
    shutil.copytree(config.parent, tmp_path / "copy")
    run = tmp_path / "copy/runs" / finished_run.name
    arguments = ["tinsmith.toml", "--to", "train", "--set", "train.epochs=15"]
    command = [sys.executable, "-m", "tinsmith", "run", *arguments]
    process = subprocess.Popen(command, cwd=tmp_path / "copy", stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(run.glob(".work/train-*/checkpoints/step-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert json.loads((run / "config.json").read_text())["train"]["epochs"] == 15
    assert list(run.glob(".work/train-*/checkpoints/step-*"))
    done = subprocess.run(command, cwd=tmp_path / "copy", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((run / "train/train.json").read_text())["resumed"] == 1
