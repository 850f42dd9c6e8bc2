"""Trains with Unsloth where it works, and explains why where it does not.

Unsloth replaces parts of Transformers on import, and it can fail on import or in its first step. A trial step in a
separate process shows whether it works before this process imports it.
"""

import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tinsmith.core.config import TrainConfig
from tinsmith.core.device import Device
from tinsmith.core.errors import MissingDependency

_PROBE_SECONDS = 900
"""The first import compiles kernels, which takes minutes."""

_URL_OR_PATH = re.compile(
    r"""(?P<url>https?://\S+)
    | (?<=')(?P<quoted>(?:~|[A-Za-z]:)?[/\\][^']*(?='))
    | (?<![\w./\\])(?P<path>(?:file://|~|[A-Za-z]:)?[/\\][^\s'"<>|:;,()\[\]]+)""",
    re.VERBOSE,
)


def choose_backend(config: TrainConfig, compute: Device, model_dir: Path) -> tuple[str, str]:
    """`("peft" | "unsloth", reason)` for the configured backend.

    Raises:
        MissingDependency: the configuration requires Unsloth, and it does not work here.
    """
    if config.backend == "peft":
        return "peft", "train.backend is peft"
    problem = unsloth_problem(compute, model_dir)
    if problem is None:
        return "unsloth", "Unsloth passed a trial step here"
    if config.backend == "unsloth":
        raise MissingDependency(
            f"train.backend is 'unsloth', but {problem}",
            'Set train.backend = "peft" (or "auto"), or install Unsloth on a machine with a CUDA device.',
        )
    return "peft", problem


def unsloth_problem(compute: Device, model_dir: Path) -> str | None:
    """Why Unsloth cannot train the model in `model_dir` here, or None if a trial step in a separate process passed."""
    if compute.device.type != "cuda":
        return "Unsloth needs a CUDA device and there is none"
    if importlib.util.find_spec("unsloth") is None:
        return "Unsloth is not installed"
    try:
        trial = subprocess.run(
            [sys.executable, "-m", __name__, str(model_dir)],
            check=False,
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"Unsloth's trial step did not finish within {_PROBE_SECONDS} s"
    if trial.returncode != 0:
        lines = trial.stderr.strip().splitlines() or ["no message"]
        # The last line names the error. It is printed on the card, which must not reveal this machine's paths.
        return f"Unsloth's trial step failed: {_without_paths(lines[-1].replace(str(model_dir), 'MODEL'))}"
    return None


def _without_paths(text: str) -> str:
    """`text` with each absolute path shortened to its last part. URLs stay."""
    for folder in (Path.home(), Path.cwd(), Path(sys.prefix)):
        if folder != Path(folder.anchor):
            text = text.replace(str(folder), "/")  # these may contain spaces, which end an unquoted path below
    return _URL_OR_PATH.sub(
        lambda match: match["url"] or re.split(r"[/\\]", match["quoted"] or match["path"])[-1], text
    )


def load_unsloth(model_dir: Path, config: TrainConfig, compute: Device, seed: int, max_tokens: int) -> Any:
    """Load the base in `model_dir` with Unsloth's kernels and fresh adapters, as a `Trainable`.

    Args:
        max_tokens: Length of the longest conversation. Unsloth sizes its position tables for it.
    """
    from unsloth import FastLanguageModel  # isort: skip  (must come before Transformers and PEFT to patch them)

    import bitsandbytes
    import peft
    import transformers
    import unsloth

    from tinsmith.train.qlora import TARGET_MODULES, Trainable

    is_4bit = config.quantization == "nf4"
    model, _ = FastLanguageModel.from_pretrained(
        str(model_dir), max_seq_length=max_tokens, dtype=compute.dtype, load_in_4bit=is_4bit, local_files_only=True
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=0,
        bias="none",
        target_modules=list(TARGET_MODULES),
        use_gradient_checkpointing="unsloth",
        random_state=seed,
        max_seq_length=max_tokens,
    )
    framework = f"Unsloth {unsloth.__version__} + Transformers {transformers.__version__} + PEFT {peft.__version__}"
    dtype_name = str(compute.dtype).removeprefix("torch.")
    if not is_4bit:
        return Trainable(model, "unsloth", "LoRA", f"none; the frozen base is kept in {dtype_name}", framework)
    sentence = f"NF4 with double quantization (bitsandbytes), packed in memory, computed in {dtype_name}"
    return Trainable(model, "unsloth", "QLoRA", sentence, f"{framework} + bitsandbytes {bitsandbytes.__version__}")


def try_one_step(model_dir: Path) -> None:
    """Load the model and take one optimizer step on arbitrary ids.

    Raises:
        RuntimeError: the step did not change the adapters. Unsloth itself raises many other kinds of errors.
    """
    importlib.import_module("unsloth")  # first, so that it can patch later imports

    from tinsmith.core.device import choose_device

    config = TrainConfig(backend="unsloth", learning_rate=1e-3)
    compute = choose_device()
    trainable = load_unsloth(model_dir, config, compute, seed=0, max_tokens=64)

    import torch

    from tinsmith.train.engine import batch_loss_sum
    from tinsmith.train.optimizer import MasterAdamW

    parameters = {name: p for name, p in trainable.model.named_parameters() if p.requires_grad}
    optimizer = MasterAdamW(parameters, compute.dtype, config)
    before = optimizer.weights()
    ids = torch.arange(5, 37, device=compute.device)[None]  # (1, T)
    batch_loss_sum(trainable.model, ids, torch.ones_like(ids, dtype=torch.bool)).backward()
    optimizer.accumulate()
    optimizer.step(1e-3)
    if all(torch.equal(before[name], after) for name, after in optimizer.weights().items()):
        raise RuntimeError("the adapters did not change in a training step")


if __name__ == "__main__":
    try_one_step(Path(sys.argv[1]))
