"""Coverage-guided fuzzing of the readers of files from strangers, with Atheris: `make fuzz SECONDS=600 TARGET=gguf`.

Seconds are of processor time, so that a busy machine tries no fewer inputs. An input that ends in anything but a result
or an error with file and place, takes more than 2 s, or brings the process to 1 GB of memory stops the run, and is kept
in `benchmarks/.work/fuzz/<target>/`. The corpus there is used again. The run ends with a line of JSON: inputs, seconds,
and the slowest input. `--replay` runs the corpus once and prints the longest time of an input, the most memory, and the
most memory beyond ten times the size of its file.

Workbooks, Parquet, Arrow, DOCX and PDF files are not fuzzed: compiled libraries, which Atheris does not see into, read
them in a process with limits. `tests/data/test_fuzz_readers.py` damages such files.
"""

import argparse
import json
import os
import re
import shutil
import signal
import struct
import sys
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from unittest import mock

import atheris

INSTRUMENTED = ["tinsmith", "jinja2", "markdown_it", "html.parser", "_markupbase"]
with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
    from tinsmith.base import gguf_file, gguf_tokenizer, model_json, sandbox_process
    from tinsmith.core.errors import UserError
    from tinsmith.core.field_map import FieldMap
    from tinsmith.data.read import pages
    from tinsmith.data.read.find import find_pieces
    from tinsmith.data.read.piece import READERS, read_piece
    from tinsmith.data.read.record import Problem, Record, Unusable
    from tinsmith.data.repair import repair
    from tinsmith.documents import reader
    from tinsmith.model.private.find import find_private

WORK = Path(__file__).parent / ".work/fuzz"
MAX_BYTES, SECONDS_PER_INPUT, MEMORY_MB = 1 << 16, 2, 1024
CLOCK_SECONDS_PER_INPUT = 300
"""Limit for an input that never ends, by the clock: a busy machine may give this process a hundredth of its time."""
FIELDS = FieldMap(question="frage", answer="antwort.de", messages="log", assistant="Shop")


class TooLong(Exception):
    """A template that the sandbox's limit for processor time would end."""


class TooSlow(Exception):
    """An input that took more processor time than promised."""


class ReaderInThisProcess:
    """Stands in for the process that reads documents, so that coverage is seen."""

    def __enter__(self) -> "ReaderInThisProcess":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, path: Path, ending: str) -> reader.Document:
        return reader.read_document(path, ending)


mock.patch.object(pages, "DocumentReader", ReaderInThisProcess).start()
mock.patch.dict(READERS, dict.fromkeys(("workbook", "parquet", "arrow"), lambda piece, fields: iter(()))).start()


def data(ending: str) -> Callable[[bytes, Path], None]:
    """The whole way of a data file with this ending: its format, its records, and the repair and privacy of each."""

    def check(content: bytes, path: Path) -> None:
        path = path.with_name(f"a{ending}")
        path.write_bytes(content)
        fields = FIELDS if len(content) % 2 else None
        found = find_pieces(str(path), fields)
        items = [item for piece in found.pieces for item in read_piece(piece, fields)]
        for item in [*found.problems, *items]:
            if isinstance(item, Problem):
                assert item.file == path.name and item.text and item.line >= 0 and item.column >= 0
            elif isinstance(item, Record):
                assert item.file == path.name and item.position
                with suppress(Unusable):
                    for message in repair(item, fields).conversation.messages:
                        find_private(message.content)

    return check


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
CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Mail me: a@b.se, +46 8 123 456 78"}]
NODE = {"parent": None, "message": {"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["Hi"]}}}
RECORDS = [
    {"messages": CHAT, "system_prompt": "Be kind."},
    {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello", "weight": 0}]},
    {"instruction": "Hi", "input": "x", "output": "Hello", "history": [["a", "b"]], "category": "c"},
    {"question": "Hi", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "A"},
    {"question": "Hi", "context": "c", "answers": {"text": ["a"], "answer_start": [1]}},
    {"prompt": "Hi", "chosen": CHAT, "rejected": CHAT},
    {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": ""},
    {"input": {"messages": CHAT[:1]}, "preferred_output": CHAT[1:]},
    {"mapping": {"a": NODE}, "current_node": "a", "id": "1"},
    {"frage": "Hi", "antwort": {"de": "Hello"}, "log": None},
    {"data": [{"title": "T", "paragraphs": [{"context": "c", "qas": [{"question": "q", "answers": ["a"]}]}]}]},
]
DOCUMENTS = [*RECORDS, RECORDS, {"category": "c", "count": 2, "records": RECORDS[:2]}]
TABLES = [
    'question,answer,category\r\n"Hi, ""you""",Hello,c\r\n',
    "sep=;\nfrage;antwort.de\na;b\n",
    "q\ta\nx\ty\n",
]
CHATS = [
    "31.12.23, 22:15 - Shop: Hello\n31.12.23, 22:16 - Ann: Hi\nmore\n",
    "[1/2/24, 9:00:00 AM] Ann: Hi\n[1/2/24, 9:00:05 PM] Shop: \u200eimage omitted\n",
    "2024-01-02 10:00 - Messages are encrypted.\n2024-01-02 10:00 - Shop: x\n",
]
MARKDOWN = [
    "# Tea\n## How hot?\n70 \u00b0C, *never* [more](x).\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
    "Q: How hot?\nA: 70\n\n- one\n  1. two\n\n```\ncode\n```\n<details><summary>Why?</summary>So</details>\n",
]
HTML = [
    '<!doctype html><meta charset="utf-8"><title>T</title><h2>How hot?</h2><p>70<ul><li>a<li>b</ul>'
    "<table><tr><th colspan=2>x<td rowspan=2>1</table><dl><dt>Why?<dd>So</dl>"
    "<details><summary>Q?</summary>A</details>",
    '<script type="application/ld+json">{"@type": "FAQPage", "mainEntity": [{"@type": "Question", "name": "Q?",'
    ' "acceptedAnswer": {"@type": "Answer", "text": "<p>A"}}]}</script><nav>x</nav><!-- c --><a href=x>y</a>&amp;&#65;',
]
TARGETS = {
    "lines": (data(".jsonl"), [json.dumps(record).encode() for record in DOCUMENTS]),
    "document": (data(".json"), [json.dumps(record, indent=1).encode() for record in DOCUMENTS]),
    "table": (data(".csv"), [text.encode() for text in TABLES]),
    "chat": (data(".txt"), [text.encode() for text in CHATS]),
    "markdown": (data(".md"), [text.encode() for text in MARKDOWN]),
    "html": (data(".html"), [text.encode() for text in HTML]),
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=600, help="processor time to spend")
    parser.add_argument("--replay", action="store_true", help="only measure the inputs that the corpus holds")
    arguments = parser.parse_args()
    check, seeds = TARGETS[arguments.target]
    work = WORK / arguments.target
    (work / "corpus").mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (work / f"corpus/seed-{number}").write_bytes(seed)
    path = Path("/dev/shm" if Path("/dev/shm").is_dir() else work) / f"tinsmith-fuzz-{os.getpid()}/fuzz.gguf"
    path.parent.mkdir()
    signal.signal(signal.SIGPROF, stop)
    if arguments.replay:
        print(json.dumps(replay(check, work / "corpus", path)))
        return

    words = work / "words"
    words.write_text("".join(f"{json.dumps(word)}\n" for word in dictionary(seeds)))
    options = [f"-max_len={MAX_BYTES}", f"-timeout={CLOCK_SECONDS_PER_INPUT}", f"-rss_limit_mb={MEMORY_MB}"]
    options += [f"-artifact_prefix={work}/", f"-dict={words}", "-len_control=20"]
    one = Limited(check, path, arguments.seconds)
    atheris.Setup([sys.argv[0], *options, str(work / "corpus")], one)
    atheris.Fuzz()


class Limited:
    """Tries inputs, each within its limit, until the processor time is spent."""

    def __init__(self, check: Callable[[bytes, Path], None], path: Path, seconds: float) -> None:
        self._check, self._path, self._seconds = check, path, seconds
        self._inputs, self._slowest = 0, 0.0
        self._start = time.process_time()

    def __call__(self, content: bytes) -> None:
        start = time.process_time()
        attempt(self._check, content, self._path)
        now = time.process_time()
        self._inputs += 1
        self._slowest = max(self._slowest, now - start)
        if now - start > SECONDS_PER_INPUT:
            raise TooSlow(f"{now - start:.1f} s of processor time for {len(content)} bytes")
        if now - self._start > self._seconds:
            spent = round(now - self._start, 1)
            print(json.dumps({"inputs": self._inputs, "seconds": spent, "slowest_s": round(self._slowest, 3)}))
            sys.stdout.flush()
            shutil.rmtree(self._path.parent)
            os._exit(0)  # libFuzzer's own limit is of the clock, and it catches SystemExit


def stop(*_: object) -> None:
    raise TooLong


def dictionary(seeds: list[bytes]) -> list[str]:
    """Words of the seeds, which libFuzzer puts into its inputs."""
    texts = [seed.decode("utf-8", "ignore") for seed in seeds]
    words = {word for text in texts for word in re.findall(r"[A-Za-z_.=@/+-]{2,30}|[^\w\s]{1,4}", text)}
    return sorted(word for word in words if word.isascii() and word.isprintable())


def replay(check: Callable, corpus: Path, path: Path) -> dict[str, float]:
    """The most processor time and Python memory that inputs of the corpus take."""
    result: dict[str, float] = {"inputs": 0, "longest_s": 0.0, "most_bytes": 0, "most_bytes_beyond_ten_times": 0}
    for file in sorted(corpus.iterdir()):
        content = file.read_bytes()
        start = time.process_time()
        attempt(check, content, path)
        seconds = time.process_time() - start
        tracemalloc.start()
        attempt(check, content, path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        result["inputs"] += 1
        result["longest_s"] = max(result["longest_s"], seconds)
        result["most_bytes"] = max(result["most_bytes"], peak)
        beyond = peak - 10 * len(content)
        result["most_bytes_beyond_ten_times"] = max(result["most_bytes_beyond_ten_times"], beyond)
    return result


if __name__ == "__main__":
    main()
