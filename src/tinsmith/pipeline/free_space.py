"""Estimate what a stage will write, and stop before it starts if the disk has no room for it."""

import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from tinsmith.core.config import RunConfig
from tinsmith.core.errors import UserError
from tinsmith.core.run_dir import RunDir, read_json

_MARGIN = 1.5
"""Room to ask for, in estimates: they are rough, and other programs write too."""
_SMALL_BYTES = 20_000_000
"""What any stage may write besides: records, pictures, measurements."""
_RUNTIME_BYTES = 50_000_000
"""The browser runtime on a page."""
_BROWSER_BYTES = 100_000_000
"""Chromium's own files, in the folder for temporary files."""
_BF16_PER_GGUF = 4
"""Bytes of bf16 weights for one byte of a GGUF file with 4 bits for a weight."""
_BYTES_PER_TRAINED_WEIGHT = 4 * 5
"""Adapter, its best state so far, and the optimizer's float32 weights and two moments."""
_CHECKPOINTS = 3
"""Two are kept while a third is written."""
_TRAINED = tuple(f"{name}_proj.weight" for name in ("q", "k", "v", "o", "gate", "up", "down"))

Estimate = Callable[[RunConfig, RunDir], int]


def require_space(config: RunConfig, run: RunDir, stage: str) -> None:
    """Stop unless there is room for what `stage` will write.

    Raises:
        UserError: the disk of the run folder, or that of temporary files, has less than the stage needs.
    """
    needs = [(run.root, _IN_RUN.get(stage, _nothing))]
    if stage in _TEMPORARY:
        needs.append((Path(tempfile.gettempdir()), _TEMPORARY[stage]))
    for folder, estimate in needs:
        needed_bytes = int(_MARGIN * (_SMALL_BYTES + estimate(config, run)))
        free_bytes = shutil.disk_usage(folder).free
        if free_bytes < needed_bytes:
            elsewhere = "with --runs" if folder == run.root else "by setting TMPDIR"
            raise UserError(
                f"{folder}: the stage {stage!r} needs about {_megabytes(needed_bytes)} of disk space, and "
                f"{_megabytes(free_bytes)} are free",
                f"Free some disk space, or choose another disk {elsewhere}, then run the same command again: finished "
                "stages are kept.",
            )


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f} MB"


def _nothing(config: RunConfig, run: RunDir) -> int:
    return 0


def _base(config: RunConfig, run: RunDir) -> int:
    """Weights as bf16. A model on the Hub is not counted: its size is unknown before it is fetched."""
    from tinsmith.base.catalog import ALIASES

    if config.base.model in ALIASES:
        return _BF16_PER_GGUF * ALIASES[config.base.model].download_bytes
    path = Path(config.base.model)
    if path.is_dir():
        return _sizes(path.glob("*"))
    return _BF16_PER_GGUF * _sizes([path])


def _data(config: RunConfig, run: RunDir) -> int:
    """The splits, as large as the input, once more while they are made, and a record for each conversation."""
    return 3 * _size_of(Path(config.data.path))


def _knowledge(config: RunConfig, run: RunDir) -> int:
    """Passages and vectors for them, and the encoder."""
    texts = sum(_size_of(Path(name)) for name in (config.data.documents, config.answers.wordings) if name)
    encoder = _size_of(Path(config.answers.encoder)) if config.answers.encoder else 0
    return 3 * (_size_of(run.stage("data")) + texts) + encoder


def _train(config: RunConfig, run: RunDir) -> int:
    """Checkpoints. A matrix of m rows and n columns has an adapter of rank * (m + n) weights."""
    inventory = run.stage("base") / "inventory.json"
    shapes = read_json(inventory)["tensors"] if inventory.is_file() else {}
    weights = config.train.lora_rank * sum(sum(shape) for name, shape in shapes.items() if name.endswith(_TRAINED))
    return _CHECKPOINTS * _BYTES_PER_TRAINED_WEIGHT * weights


def _merge(config: RunConfig, run: RunDir) -> int:
    return _size_of(run.stage("base"))


def _export(config: RunConfig, run: RunDir) -> int:
    """A float32 graph that is compared and removed, then the smaller package; and the GGUF file."""
    merged = _size_of(run.stage("merge"))
    return 2 * merged + (merged if config.export.gguf else 0)


def _evaluate(config: RunConfig, run: RunDir) -> int:
    """Losses and replies of three models, and what the page shows."""
    return 10 * _size_of(run.stage("data"))


def _app(config: RunConfig, run: RunDir) -> int:
    return _package(config, run) + _size_of(run.stage("knowledge")) + _RUNTIME_BYTES


def _package(config: RunConfig, run: RunDir) -> int:
    return _size_of(run.stage("export"))


def _in_browser(config: RunConfig, run: RunDir) -> int:
    """What Chromium keeps of a page with the model."""
    return 2 * _package(config, run) + _RUNTIME_BYTES + _BROWSER_BYTES


_IN_RUN: dict[str, Estimate] = {
    "base": _base,
    "data": _data,
    "knowledge": _knowledge,
    "train": _train,
    "merge": _merge,
    "export": _export,
    "evaluate": _evaluate,
    "app": _app,
}
_TEMPORARY: dict[str, Estimate] = {"bench": _in_browser, "card": _in_browser}


def _size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; 0 if there is neither."""
    return _sizes([path] if path.is_file() else path.rglob("*"))


def _sizes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())
