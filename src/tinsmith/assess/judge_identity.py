"""Tell whether a judge is the model that it would judge."""

import re
from collections.abc import Sequence

_FORMAT = re.compile(
    r"[-_.](gguf|onnx|safetensors|bf16|f16|fp16|f32|fp32|fp8|int8|int4|awq|gptq|mlx|[48]-?bit|i?q\d(_[a-z0-9]+)*|latest)$"
)
"""Endings of a model's name that name a file format or a number format."""


def is_same_model(judge: str, names: Sequence[str]) -> bool:
    """Whether a judge's name is one of these models' names, or adds to one, as a finetune's name does.

    Owner, case, number format and file format do not count: `org/Tea-1B-Q4_K_M.gguf` is `tea-1b`. A model that is
    served under an unrelated name cannot be told this way.
    """
    judge_name = _plain(judge)
    return any(_begins_with(judge_name, _plain(name)) for name in names if name)


def _begins_with(name: str, start: str) -> bool:
    """Whether `name` is `start`, or goes on with a new part."""
    return name == start or name.startswith(f"{start}-")


def _plain(name: str) -> str:
    plain = re.split(r"[/\\]", name.casefold())[-1].replace(":", "-")
    while (shorter := _FORMAT.sub("", plain)) != plain:
        plain = shorter
    return plain.replace("_", "-").replace(".", "-")
