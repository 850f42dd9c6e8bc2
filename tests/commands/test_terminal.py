"""What a person sees in the terminal: the table of results, the doctor's findings, a conversation with the package."""

import errno
import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from stage_runs import run_stage
from tinsmith.cli import main
from tinsmith.commands import terminal
from tinsmith.commands.doctor import _demo_data, _runtime, findings
from tinsmith.commands.results_table import results_table
from tinsmith.core.config import ExportConfig, RunConfig
from tinsmith.core.measure import Measurement
from tinsmith.core.run_dir import RunDir, write_json
from tinsmith.export.stage import export_int4
from tinsmith.model.conversations import Message, write_jsonl
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.package_format import FLOAT32
from tinsmith.model.tokens import load_tokenizer
from tinsmith.pipeline.ownership import mark_run
from tiny import build_tiny, tiny_conversations


def test_table_shows_what_was_measured_and_a_dash_for_the_rest():
    measurements = [
        Measurement("evaluate.perplexity.test.int4", 27.476, "perplexity", 50, "conversations", "m"),
        Measurement("export.weights_bytes", 84_368_565, "bytes", 2, "files", "m"),
        Measurement("answers.known.right", 0.593, "fraction", 50, "questions", "m"),
        Measurement("answers.far.refused", 1.0, "fraction", 7, "questions", "m"),
        Measurement("gate.a", 0, "count", 1, "x", "m", gate={"op": "==", "bound": 0}),
    ]
    lines = results_table(measurements).splitlines()
    assert next(line for line in lines if line.startswith("perplexity, test")).split()[-3:] == ["-", "-", "27.48"]
    assert any(line.endswith("84.4 MB") for line in lines) and lines[-1].endswith("1 of 1")
    assert any(line.startswith("page, right passage first") and "59 % of" in line for line in lines)
    assert any(line.endswith("near -, far 100 %") for line in lines)
    assert any(line.startswith("browser, webgpu") and "not measured" in line for line in lines)


@pytest.mark.browser
def test_doctor_names_everything_it_looked_for():
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0
    lines = {line[8:].partition(":")[0]: line for line in result.stdout.splitlines()}
    names = "Python, memory, free disk here, training device, Unsloth, Chromium, browser runtime, demo data".split(", ")
    assert [name for name in lines if name in names] == names
    assert "Chromium 1" in lines["Chromium"] and "onnxruntime-web@" in lines["browser runtime"]


def test_doctor_says_how_to_install_a_missing_browser(monkeypatch):
    monkeypatch.setenv("TINSMITH_BROWSER", "/nowhere/chromium")
    (finding,) = (finding for finding in findings() if finding.what == "Chromium")
    assert not finding.is_ok and "/nowhere/chromium" in finding.state and finding.remedy


def test_doctor_tells_a_runtime_that_can_be_fetched_from_one_that_cannot(monkeypatch, tmp_path):
    monkeypatch.setenv("TINSMITH_CACHE", str(tmp_path))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    finding = _runtime()
    assert not finding.is_ok and "http://127.0.0.1:9 does not answer" in finding.state
    monkeypatch.setattr("tinsmith.browser.download.is_reachable", lambda url: True)
    finding = _runtime()
    assert finding.is_ok and "fetches it from http://127.0.0.1:9" in finding.state
    assert not list(tmp_path.iterdir())


def test_doctor_does_without_the_demos_data(monkeypatch):
    monkeypatch.setattr("tinsmith.commands.doctor.DATA_PACKAGE", "no_such_package")
    finding = _demo_data()
    assert not finding.is_ok and finding.remedy == "pip install 'tinsmith[demo]'"


@pytest.fixture
def packaged(tmp_path):
    """A run folder with just what `tinsmith chat` needs."""
    run = tmp_path / "run"
    build_tiny("llama", run / "merge" / "model")
    (run / "data").mkdir()
    write_jsonl(run / "data" / "train.jsonl", tiny_conversations(8))
    write_jsonl(run / "data" / "val.jsonl", tiny_conversations(4))
    write_json(run / "data" / "report.json", {"system_prompt": "You sell tea."})
    (run / "export").mkdir()
    run_stage(export_int4, ExportConfig(), run / "data", run / "merge", run / "export", seed=1)
    write_json(run / "config.json", RunConfig().model_dump(mode="json"))
    mark_run(RunDir(run), None)
    write_json(run / "stamps" / "export.json", {})
    return run


def test_chat_prints_the_greedy_answer_of_each_turn(packaged, monkeypatch):
    monkeypatch.setattr("tinsmith.commands.chat._MAX_NEW_TOKENS", 6)
    package = packaged / "export" / "package"
    tokenizer, decoder = load_tokenizer(package), load_onnx(package / FLOAT32.file)

    def greedy(question):
        ids = tokenizer.encode_prompt([Message("system", "You sell tea."), Message("user", question)])
        answer = []
        while len(answer) < 6:
            token = int(decoder.start().feed(ids + answer, keep=1)[-1].argmax())
            if token in tokenizer.end_ids:
                break
            answer.append(token)
        return tokenizer.tokenizer.decode(answer, skip_special_tokens=True).rstrip("\ufffd")

    # A model of random weights ends some answers at once; which ones depends on the processor it was quantized on.
    questions = [
        f"What does the {name} cost?" for name in ("latte", "mocha", "tea", "cake", "cup", "pot", "spoon", "bowl")
    ]
    question, expected = next((one, answer) for one in questions if (answer := greedy(one)).strip())
    done = CliRunner().invoke(main, ["chat", str(packaged)], input=f"{question}\nAnd tea?\n")
    assert done.exit_code == 0, done.output
    assert expected in done.stdout


def test_chat_without_a_package_says_what_to_do(packaged):
    shutil.rmtree(packaged / "stamps")
    done = CliRunner().invoke(main, ["chat", str(packaged)])
    assert done.exit_code == 2 and "no package yet" in done.stderr and "tinsmith run" in done.stderr


def test_init_writes_a_configuration_that_loads_and_refuses_to_overwrite(tmp_path):
    assert CliRunner().invoke(main, ["init", str(tmp_path / "new")]).exit_code == 0
    text = (tmp_path / "new" / "tinsmith.toml").read_text()
    assert "[train]" in text and json.dumps("smollm2-135m-instruct") in text
    again = CliRunner().invoke(main, ["init", str(tmp_path / "new")])
    assert again.exit_code == 2 and "already there" in again.stderr


ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\r"


@pytest.mark.parametrize("bad", ["\x1b[2J", "\x07", "\x9b31m", "\r", "\x7f", "\u202e", "\udce9"])
def test_what_steers_a_terminal_is_shown_as_an_escape(bad, capfd):
    terminal.show(f"a{bad}b")
    terminal.say(f"a{bad}b")
    for text in capfd.readouterr():
        assert text.startswith("a\\") and text.endswith("b\n") and bad[0] not in text


def test_ordinary_text_is_shown_as_it_is(capfd):
    text = "tab\tline\nأهلا 茶 \u200f e\u0301 👩‍🚀"
    terminal.show(text)
    assert capfd.readouterr().out == text + "\n"


@pytest.mark.parametrize(
    ("name", "exit_code", "shown"),
    [("chats", 0, "1]0;owned[2J31mgnp.exe (2)"), (f"chats{ESCAPES}", 2, "chats\\x1b]0;owned")],
    ids=["in records", "in a file name"],
)
def test_escape_sequences_in_data_do_not_reach_the_terminal(
    tmp_path, tmp_path_factory, monkeypatch, name, exit_code, shown
):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    records = [
        {"messages": c.as_dicts(), "category": f"{int(i < 2)}{ESCAPES}", "id": f"{i}{ESCAPES}"}
        for i, c in enumerate(tiny_conversations(40))
    ]
    records[3]["messages"] = records[3]["messages"][:1]
    (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    (tmp_path / "tinsmith.toml").write_text('[data]\npath = "."\n')
    done = CliRunner().invoke(main, ["check", str(tmp_path / "tinsmith.toml")])
    assert done.exit_code == exit_code, done.output
    assert shown in done.output
    without_bar = re.sub(r"\rdata: reading[^\r\n]*", "", done.output)
    assert not set(without_bar) & set(ESCAPES) - set("]0;owned[2J31mgnp.exe")


def test_escape_sequences_in_an_error_do_not_reach_the_terminal(tmp_path):
    done = CliRunner().invoke(main, ["run", f"{tmp_path}/\x1b[2J.toml"])
    assert done.exit_code == 2 and "\x1b" not in done.stderr and "\\x1b[2J.toml: no such" in done.stderr


def test_commands_print_in_one_place():
    folder = Path(terminal.__file__).parent
    for path in sorted(folder.glob("*.py")):
        if path.name != "terminal.py":
            assert "click.echo" not in path.read_text() and "print(" not in path.read_text(), path


def test_a_file_that_may_not_be_read_is_a_message(tmp_path, monkeypatch):
    path = tmp_path / "tinsmith.toml"
    path.write_text("")

    def refuse(self, *arguments, **named):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_text", refuse)
    done = CliRunner().invoke(main, ["check", str(path)])
    assert done.exit_code == 2 and f"error: {path}: Permission denied" in done.stderr and "  -> " in done.stderr
