"""The process that runs a model's own code: its chat template, and the patterns of its tokenizer.

`sandbox.py` starts this file by itself, with an empty environment; it imports nothing of tinsmith. Requests and replies
are lines of JSON. Once it has imported what it needs, the process can open neither files nor sockets. Each request sets
a limit for processor time, at which the system ends the process, and one for memory.
"""

import json
import resource
import sys
from datetime import datetime
from typing import Any

import jinja2
import jinja2.debug
import jinja2.ext
import jinja2.sandbox
import tokenizers

_MAX_TEXT_CHARACTERS = 1_000_000
"""Longest rendered conversation. The probes have 200 characters."""


def main() -> None:
    """Answer requests until the input ends."""
    _warm_up()
    used_bytes = _address_space_bytes()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))  # input, output and errors
    for line in sys.stdin:
        request = json.loads(line)
        _limit(request["cpu_seconds"], used_bytes + request["memory_bytes"])
        reply = {"render": render, "tokenize": tokenize}[request["action"]](**request["arguments"])
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()
        _limit(request["cpu_seconds"], resource.RLIM_INFINITY)  # reading the next request is not the model's doing


def _warm_up() -> None:
    """Have the libraries read what they read on first use: modules and the time zone."""
    for template in (
        "{{ strftime_now('%Y %B') }}{{ 1 | tojson }}{{ lipsum() | urlize | wordwrap }}",
        "{{ 1 / 0 }}",
        "{{",
    ):
        render(template, [{}], {})
    tokenize("{", [""])


def _address_space_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:  # macOS, which has no limit for memory either
        return 0


def _limit(cpu_seconds: int, memory_bytes: int) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent_seconds = int(usage.ru_utime + usage.ru_stime) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (spent_seconds + cpu_seconds, resource.RLIM_INFINITY))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, resource.RLIM_INFINITY))


def render(template: str, conversations: list[dict[str, Any]], variables: dict[str, Any]) -> list[dict[str, str]]:
    """Render conversations with a chat template as Transformers does.

    Args:
        template: Source of the template.
        conversations: Each with `messages` and `add_generation_prompt`.
        variables: Special tokens by name, such as `bos_token`.

    Returns:
        For each conversation its `text`, or the `error`.
    """
    try:
        compiled = _environment().from_string(template)
    except Exception as error:  # noqa: BLE001 (a template can raise anything)
        return [{"error": _first_line(error)} for _ in conversations]
    return [_rendered(compiled, variables | conversation) for conversation in conversations]


def _rendered(compiled: jinja2.Template, variables: dict[str, Any]) -> dict[str, str]:
    parts, characters = [], 0
    try:
        for part in compiled.generate(variables):
            characters += len(part)
            if characters > _MAX_TEXT_CHARACTERS:
                return {"error": f"it writes more than {_MAX_TEXT_CHARACTERS} characters"}
            parts.append(part)
    except Exception as error:  # noqa: BLE001
        return {"error": _first_line(error)}
    return {"text": "".join(parts)}


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def _environment() -> jinja2.Environment:
    """What Transformers renders templates with."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    functions: dict[str, Any] = {"raise_exception": _raise, "strftime_now": _strftime_now}
    environment.globals.update(functions)
    return environment


class _Generation(jinja2.ext.Extension):
    """The block `generation`, which marks what the assistant says; here only its contents."""

    tags: set[str] = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)  # noqa: DTZ005


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def tokenize(tokenizer: str, texts: list[str]) -> dict[str, Any]:
    """Load a `tokenizer.json` and split `texts` with it, to learn whether that ends.

    Returns:
        The number of tokens of each text as `counts`, or the `error`.
    """
    try:
        loaded = tokenizers.Tokenizer.from_str(tokenizer)
        return {"counts": [len(loaded.encode(text).ids) for text in texts]}
    except BaseException as error:  # noqa: BLE001 (what the library raises where it gives up is not an Exception)
        return {"error": _first_line(error)}


if __name__ == "__main__":
    main()
