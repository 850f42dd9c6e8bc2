"""Coverage-guided fuzzing of the readers of files from strangers, with Atheris: `make fuzz SECONDS=600 TARGET=gguf`.

An input that ends in anything but a result or a `UserError`, takes more than 2 s of processor time, or takes more than
1 GB of memory stops the run, and is kept in `benchmarks/.work/fuzz/<target>/`. The corpus there is used again.
"""

import argparse
import os
import signal
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["tinsmith", "jinja2"], enable_loader_override=False):
    from tinsmith.base import gguf_file, gguf_tokenizer, model_json, sandbox_process
    from tinsmith.core.errors import UserError

WORK = Path(__file__).parent / ".work/fuzz"
MAX_BYTES, SECONDS_PER_INPUT, MEMORY_MB = 1 << 16, 2, 1024


class TooLong(Exception):
    """A template that the sandbox's limit for processor time would end."""


def gguf(content: bytes, path: Path) -> None:
    """The header, the tensor table, and the conversion of the tokenizer."""
    path.write_bytes(content)
    file = gguf_file.read_gguf(path)
    for key in file.fields:
        for get in (file.text, file.texts, file.integers, file.positive):
            attempt(get, key)
    attempt(gguf_tokenizer.write_tokenizer, file, None, 512, path.parent)


def template(content: bytes, path: Path) -> None:
    """What runs in the sandbox: parsing and rendering. Templates that never end are the sandbox's business."""
    messages = [{"role": "user", "content": "What does tea cost?"}, {"role": "assistant", "content": "Rp 20k."}]
    signal.setitimer(signal.ITIMER_PROF, 0.5)
    try:
        results = sandbox_process.render(
            content.decode("utf-8", errors="replace"),
            [{"messages": messages, "add_generation_prompt": True}],
            {"bos_token": "<s>"},
        )
        assert results[0].keys() in ({"text"}, {"error"})
    except TooLong:
        pass
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def model_file(content: bytes, path: Path) -> None:
    """JSON of a model: sizes in `config.json`, the form of `tokenizer.json`."""
    path = path.with_name("config.json")
    path.write_bytes(content)
    tree = model_json.read_object(path, "fuzz")
    attempt(model_json.check_config, tree, "fuzz")
    model_json._tokenizer_problem(tree)


def attempt(action: Callable, *arguments: object) -> None:
    with suppress(UserError):
        action(*arguments)


def gguf_seed() -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    def texts(*items: str) -> bytes:
        return struct.pack("<IIQ", 9, 8, len(items)) + b"".join(map(text, items))

    tokens = ("<|im_start|>", "a", "b", "ab")
    entries = {
        "general.architecture": struct.pack("<I", 8) + text("llama"),
        "general.alignment": struct.pack("<II", 4, 32),
        "tokenizer.ggml.model": struct.pack("<I", 8) + text("gpt2"),
        "tokenizer.ggml.pre": struct.pack("<I", 8) + text("smollm"),
        "tokenizer.ggml.tokens": texts(*tokens),
        "tokenizer.ggml.merges": texts("a b"),
        "tokenizer.ggml.token_type": struct.pack("<IIQ4i", 9, 5, 4, 3, 1, 1, 1),
        "tokenizer.ggml.bos_token_id": struct.pack("<II", 4, 0),
        "tokenizer.chat_template": struct.pack("<I", 8) + text("{{ messages }}"),
        "llama.rope.freq_base": struct.pack("<If", 6, 10000.0),
    }
    tensors = text("token_embd.weight") + struct.pack("<IQQIQ", 2, 32, 4, 8, 0)
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, len(entries))
    header += b"".join(text(key) + value for key, value in entries.items()) + tensors
    return header + bytes(-len(header) % 32) + bytes(34 * 4)


TEMPLATE_SEEDS = [
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] }}{% endfor %}",
    "{% set ns = namespace(found=false) %}{%- if messages[0].role == 'system' -%}{{ ns.found | tojson }}{% endif %}",
    "{% macro f(x) %}{% generation %}{{ x | trim }}{% endgeneration %}{% endmacro %}{{ f(bos_token) }}",
    "{{ raise_exception('no') if loop is defined else strftime_now('%d %b %Y') }}{% break %}",
]
TARGETS = {
    "gguf": (gguf, [gguf_seed()]),
    "template": (template, [seed.encode() for seed in TEMPLATE_SEEDS]),
    "model-json": (
        model_file,
        [
            b'{"model_type": "llama", "num_hidden_layers": 2, "rope_parameters": {"rope_type": "default"}}',
            b'{"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 1, "content": "b"}]}',
        ],
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=600)
    arguments = parser.parse_args()
    check, seeds = TARGETS[arguments.target]
    work = WORK / arguments.target
    (work / "corpus").mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (work / f"corpus/seed-{number}").write_bytes(seed)
    path = Path("/dev/shm" if Path("/dev/shm").is_dir() else work) / f"tinsmith-fuzz-{os.getpid()}/fuzz.gguf"
    path.parent.mkdir()

    def stop(*_: object) -> None:
        raise TooLong

    signal.signal(signal.SIGPROF, stop)

    def one(content: bytes) -> None:
        attempt(check, content, path)

    options = [f"-max_total_time={arguments.seconds}", f"-max_len={MAX_BYTES}", f"-timeout={SECONDS_PER_INPUT * 5}"]
    options += [f"-rss_limit_mb={MEMORY_MB}", f"-artifact_prefix={work}/", "-print_final_stats=1", str(work / "corpus")]
    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
