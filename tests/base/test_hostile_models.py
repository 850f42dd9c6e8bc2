"""Model files made to do harm: each is refused within 2 s of processor time and 10 times its size in memory."""

import json
import pickle
import re
import struct
import time
import tracemalloc

import pytest
import torch

from stage_runs import run_stage
from tinsmith.base.chat_template import addresses_in, replacement_reason
from tinsmith.base.gguf_file import read_gguf
from tinsmith.base.model_json import check_config, check_tokenizer, read_object
from tinsmith.base.sandbox import _PROCESS, Sandbox
from tinsmith.base.stage import resolve_base
from tinsmith.base.weights import place_weights
from tinsmith.core.config import BaseConfig
from tinsmith.core.errors import BaseModelError
from tinsmith.core.file_kinds import unexpected_files
from tinsmith.model.load import load_model_config
from tinsmith.model.tokens import load_tokenizer

MB = 1 << 20


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(*parts: bytes, tensors: int = 0, entries: int = 1) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, entries) + b"".join(parts)


def texts(items: list[bytes], count: int | None = None) -> bytes:
    return text("a") + struct.pack("<IIQ", 9, 8, len(items) if count is None else count) + b"".join(items)


def tensor(name: str, offset: int) -> bytes:
    return text(name) + struct.pack("<IQIQ", 1, 1, 0, offset)


GGUF = {
    "empty texts": (gguf(texts([text("")] * (MB // 4))), ""),
    "short texts": (gguf(texts([text("āb"[index % 2] * 2) for index in range(MB // 5)])), ""),
    "more texts than any vocabulary": (gguf(texts([], MB + 1)), "more than 1048576 texts"),
    "2 to the 60 texts": (gguf(texts([], 1 << 60)), "more than 1048576 texts"),
    "2 to the 60 numbers": (gguf(text("a") + struct.pack("<IIQ", 9, 4, 1 << 60)), "the file ends after"),
    "lists in lists": (gguf(text("a") + struct.pack("<IIQ", 9, 9, 1 << 20)), "unknown type 9 of the items"),
    "a key of 4 MB": (gguf(text("k" * 4 * MB)), "more than 65536"),
    "a text of 4 MB": (gguf(text("a") + struct.pack("<I", 8) + text("x" * 4 * MB)), "more than 1048576"),
    "many entries": (gguf(*(text(f"{n}") + b"\0\0\0\0\1" for n in range(200_000)), entries=200_000), "more than 4096"),
    "as many entries as allowed": (gguf(*(text(f"{n}") + b"\0\0\0\0\1" for n in range(4096)), entries=4096), ""),
    "many tensors": (gguf(*(tensor(f"{n}", 0) for n in range(90_000)), tensors=90_000, entries=0), "more than 4096"),
    "as many tensors as allowed": (
        gguf(*(tensor(f"{n}", 32 * n) for n in range(4096)), bytes(4096 * 33), tensors=4096, entries=0),
        "",
    ),
    "tensors in the same place": (
        gguf(*(tensor(f"{n}", 0) for n in range(4096)), bytes(64), tensors=4096, entries=0),
        "overlapping or unaligned",
    ),
    "a version to come": (b"GGUF" + struct.pack("<IQQ", 4, 0, 0), "format version 4"),
    "nothing": (b"", "the file ends after 0 bytes"),
}


def assert_cheap(action, size_bytes: int) -> None:
    """Run `action` twice: once for its processor time, once for its memory."""
    started = time.process_time()
    action()
    assert time.process_time() - started < 2
    tracemalloc.start()
    try:
        action()
        assert tracemalloc.get_traced_memory()[1] < 10 * size_bytes + MB // 2
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", GGUF)
def test_gguf_files_are_read_or_refused_at_little_cost(name, tmp_path):
    content, problem = GGUF[name]
    path = tmp_path / "victim.gguf"
    path.write_bytes(content)

    def read() -> None:
        if not problem:
            assert read_gguf(path).fields or read_gguf(path).tensors
            return
        with pytest.raises(BaseModelError, match=problem) as refusal:
            read_gguf(path)
        assert "victim.gguf" in refusal.value.message and len(refusal.value.message) < 400

    assert_cheap(read, len(content))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{" + b'"a":' + b"[]," * 300_000 + b"1}", "lists and objects in"),
        (b'{"a":' + b"[" * 5000 + b" " * 100_000 + b"]" * 5000 + b"}", "nested too deeply"),
        (b'{"a":' + b"9" * 900_000 + b"}", "not JSON"),
        (b"{" + b" " * (2 * MB) + b"}", "larger than 1 MB"),
        (b"[]", "not a JSON object"),
        (b"\x80\x04}q\0.", "not JSON"),
        (b'{"a": "\xff"}', "not JSON"),
    ],
)
def test_json_files_are_refused_at_little_cost(content, problem, tmp_path):
    (tmp_path / "config.json").write_bytes(content)

    def read() -> None:
        with pytest.raises(BaseModelError, match=f"victim/config.json: .*{problem}"):
            read_object(tmp_path / "config.json", "victim")

    assert_cheap(read, len(content))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000, expected 1 to 1024"),
        ({"num_hidden_layers": True}, "num_hidden_layers is True"),
        ({"hidden_size": 10**5000 % 10**4000 + 10**3999}, "'hidden_size' is a number of more than 64 bits"),
        ({"rope_parameters": {"factor": {"x": [2**40]}}}, "'x' is 1099511627776"),
        ({"layer_types": ["full_attention"] * 5000}, "'layer_types' has 5000 entries"),
    ],
)
def test_sizes_are_checked_before_transformers_gets_them(change, problem):
    with pytest.raises(BaseModelError, match=problem):
        check_config({"num_hidden_layers": 2} | change, "victim")


GROWING = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ({"normalizer": {"type": "Sequence", "normalizers": [GROWING] * 12}}, "takes more than 1 s|memory"),
        ({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+\\1+b"}}}, "not a tokenizer"),
        ({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}}}, "not a tokenizer"),
        ({"added_tokens": [{"id": 1, "content": ""}]}, "added token"),
        ({"added_tokens": {}}, "added_tokens is not a list"),
        ({"model": {"type": "BPE", "vocab": {"a": -1}}}, "token 'a' has id -1"),
        ({"model": {"type": "BPE", "vocab": {"a" * 2000: 1}}}, "token 'aaaa"),
        ({"model": []}, "no vocabulary"),
    ],
)
def test_a_tokenizer_that_never_ends_or_grows_is_stopped(part, problem, tmp_path, tiny_llama, monkeypatch):
    monkeypatch.setattr("tinsmith.base.model_json._TOKENIZER_CPU_SECONDS", 1)
    tree = json.loads((tiny_llama / "tokenizer.json").read_bytes()) | part
    if "pre_tokenizer" in part:
        tree["pre_tokenizer"] |= {"behavior": "Isolated", "invert": False}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tree))
    with pytest.raises(BaseModelError, match=f"victim/tokenizer.json: .*({problem})"):
        check_tokenizer(tmp_path / "tokenizer.json", "victim")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (pickle.dumps({"a": 1}), r"weights only as model.safetensors \(a pickle by its content\)"),
        (b"PK\x03\x04" + bytes(90), r"\(a pickle by its content\)"),
        (struct.pack("<Q", 1 << 40) + b"{" + bytes(99), "header has 1099511627776 bytes, more than"),
        (b"", "no header"),
        (struct.pack("<Q", 4 * MB) + b"{" + b'"a":{"dtype":"F32"},' * (MB // 5), "not a complete safetensors file"),
    ],
)
def test_weights_of_another_kind_are_refused(content, problem, tmp_path, tiny_llama):
    (tmp_path / "model.safetensors").write_bytes(content)
    config = load_model_config(tiny_llama)

    def place() -> None:
        with pytest.raises(BaseModelError, match=problem):
            place_weights(tmp_path, "victim", config, tmp_path / "out", False)

    assert_cheap(place, len(content))


TEMPLATES = {
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}": "takes more than 1 s",
    "{{ lipsum(n=99999) }}": "takes more than 1 s",
    "{{ 'a' * 10000000000 }}": "MemoryError",
    "{{ [1] * 1000000000 }}": "MemoryError",
    "{{ '%9999999999d' % 1 }}": "MemoryError|too large|OverflowError|precision",
    "{% set n = namespace(s='a') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}": "MemoryError",
    "{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}": "more than 1000000 characters",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}": "recursion|MemoryError",
    "{{ " + "(" * 50_000 + ")" * 50_000 + " }}": "recursion|MemoryError",
    "{{ ''.__class__.__mro__ }}": "unsafe",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}": "unsafe",
    "{{ messages.append(1) }}": "unsafe",
    "{% include '/etc/passwd' %}": "no loader",
    "{% break %}": "outside loop",  # found by fuzzing: a SyntaxError of Python, not of Jinja
}


@pytest.mark.parametrize("template", TEMPLATES, ids=range(len(TEMPLATES)))
def test_templates_that_do_harm_are_stopped(template, tiny_llama):
    reason = replacement_reason(load_tokenizer(tiny_llama), template, "victim")
    assert reason.startswith("the base's own template ") and len(reason) < 400
    assert re.search(TEMPLATES[template], reason), reason


def test_the_sandbox_has_no_files_no_network_and_no_environment(monkeypatch, tmp_path):
    """As if a template had escaped from Jinja's sandbox, run Python itself in the process."""
    monkeypatch.setenv("HF_TOKEN", "secret")
    script = tmp_path / "process.py"
    source = _PROCESS.read_text()
    attempts = """
def render(template, conversations, variables):
    import os, socket
    results = []
    for attempt in (lambda: open("/etc/passwd"), lambda: socket.socket(), lambda: os.environ["HF_TOKEN"], os.pipe):
        try:
            attempt()
            results.append("done")
        except Exception as error:
            results.append(type(error).__name__)
    return results

import socket
"""
    script.write_text(source.replace('if __name__ == "__main__":', attempts + '\nif __name__ == "__main__":'))
    monkeypatch.setattr("tinsmith.base.sandbox._PROCESS", script)
    sandbox = Sandbox()
    arguments = {"template": "", "conversations": [], "variables": {}}
    result = sandbox.run("render", "x", cpu_seconds=1, memory_bytes=256 * MB, **arguments)
    sandbox.close()
    assert result == ["OSError", "OSError", "KeyError", "OSError"]


def test_addresses_in_a_template_are_named_and_the_template_is_not_used(tiny_llama, tmp_path):
    template = "{{ messages[0].content }}{% if 'price' in messages[0].content %} See https://evil.example/a{% endif %}"
    assert addresses_in(template * 2 + " data:text/html,x") == ["https://evil.example/a", "data:text/html,x"]
    assert addresses_in(None) == [] and len(addresses_in("".join(f" http://{n}.example" for n in range(99)))) == 5
    folder = tmp_path / "base"
    folder.mkdir()
    for path in tiny_llama.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "chat_template.jinja").write_text(template)
    (tmp_path / "out").mkdir()
    run = run_stage(resolve_base, BaseConfig(model=str(folder), license="mit"), tmp_path / "out")
    assert "warning: the base's own chat template, which is not used, names https://evil.example/a" in run.summary
    record = json.loads((tmp_path / "out/base.json").read_text())["chat_template"]
    assert record["replaced"] and record["addresses"] == ["https://evil.example/a"]
    assert not any(b"evil" in path.read_bytes() for path in (tmp_path / "out/model").iterdir())


def test_only_known_kinds_of_files_are_published(tmp_path):
    torch.save({"a": 1}, tmp_path / "training_args.bin")
    torch.save({"a": 1}, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    (tmp_path / "state.json").write_bytes(pickle.dumps({"a": 1}))
    (tmp_path / "two.json").write_bytes(pickle.dumps([1], protocol=2))
    (tmp_path / "model.onnx").write_bytes(b"\x7fELF")
    (tmp_path / "run.py").write_text("print()")
    (tmp_path / "README.md").write_bytes(b"\0text")
    (tmp_path / "link.txt").symlink_to("/etc/passwd")
    problems = unexpected_files(tmp_path)
    assert problems == [
        "README.md: not UTF-8 text",
        "link.txt: a link",
        "model.onnx: its content is not that of a .onnx file",
        "old.bin: a pickle or archive, which can run code when it is opened",
        "run.py: unexpected kind of file (.py)",
        "state.json: a pickle or archive, which can run code when it is opened",
        "training_args.bin: a pickle or archive, which can run code when it is opened",
        "two.json: a pickle or archive, which can run code when it is opened",
    ]
