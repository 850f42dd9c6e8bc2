"""What replaces a browser and pictures, or whole stages, in a process that runs a command."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

from tinsmith.core.measure import Measurement
from tinsmith.core.run_dir import copy_file, link_or_copy, write_json, write_text
from tinsmith.core.stage_context import StageContext, Summary
from tinsmith.core.stopping import finishing_step
from tinsmith.pipeline import runner
from tinsmith.pipeline.stages import STAGES

_MINUTES = 300


def replace_browsers() -> None:
    """Let the two stages that need Chromium write what they always write, after a browser that answers at once.

    Pictures are not drawn: that takes long and touches no file.
    """
    from tinsmith.bench import stage as bench
    from tinsmith.card import stage as card
    from tinsmith.commands import run as run_command
    from tinsmith.core import pictures

    run_command.require_browser = lambda *arguments: None
    bench.bench_browser = _measured
    card.run_snippets = _answered
    pictures.Picture.png = lambda picture: b"\x89PNG\r\n\x1a\n in place of a picture"


def _measured(config: object, data_dir: Path, export_dir: Path, out_dir: Path, context: StageContext) -> Summary:
    from fake_measurements import records
    from fake_raw import raw_records
    from tinsmith.derive.bench import BENCH_RULES, GATE_RULES
    from tinsmith.derive.files import Files
    from tinsmith.derive.rules import record

    for path, content in (records() | raw_records()).items():
        if path.startswith("bench/"):
            write_json(out_dir / Path(path).name, content)
    for rules in (GATE_RULES, BENCH_RULES):
        record(context.recorder, rules, Files.of_stage("bench", out_dir))
    return ("measured",)


def _answered(printed: list, package: Path, answers: Path) -> list:
    from tinsmith.card.snippet_run import SnippetRun

    return [SnippetRun(s.form, s.code, "Rp 32k", "wasm" * (s.form != "answers"), "Chromium 156", 2.5) for s in printed]


def replace_stages() -> None:
    """Let every stage write a few small files instead, in each of the ways in which stages write."""
    from tinsmith.commands import run as run_command
    from tinsmith.core import provenance
    from tinsmith.data import stage as data

    run_command.require_browser = lambda *arguments: None
    data.check_data = lambda config, seed: None
    provenance.hardware = lambda: {"cpu": "none that needs torch to be described"}
    runner.STAGES = tuple(
        replace(stage, run=_write, module="tinsmith.core.errors", outside=lambda config, run: None) for stage in STAGES
    )


def replace_stages_by_slow_ones() -> None:
    """The same, and the second stage goes on for minutes."""
    replace_stages()
    first, second, *others = runner.STAGES
    runner.STAGES = (first, replace(second, run=_wait), *others)


def replace_stages_by_steady_ones() -> None:
    """The same, and the second stage finishes its step before it stops: it never does."""
    replace_stages()
    first, second, *others = runner.STAGES
    runner.STAGES = (first, replace(second, run=_work_steadily), *others)


def replace_browsers_and_know_no_space() -> None:
    """Do without Chromium, and find out that a disk is full by writing to it."""
    replace_browsers()
    _know_no_space()


def replace_stages_and_know_no_space() -> None:
    """Let every stage write a few small files, and find out that a disk is full by writing to it."""
    replace_stages()
    _know_no_space()


def _know_no_space() -> None:
    runner.require_space = lambda *arguments: None


def _wait(config: object, run: object, out_dir: Path, context: StageContext) -> Summary:
    write_json(out_dir / "half.json", {})
    context.say("working")
    time.sleep(_MINUTES)
    return ()


def _work_steadily(config: object, run: object, out_dir: Path, context: StageContext) -> Summary:
    with finishing_step():
        return _wait(config, run, out_dir, context)


def _write(config: object, run: object, out_dir: Path, context: StageContext) -> Summary:
    write_json(out_dir / "record.json", {"seed": context.seed})
    write_text(out_dir / "texts/long.txt", "a line of text\n" * 1000)
    with (out_dir / "plain.txt").open("w") as file:
        for number in range(3):
            file.write(f"{number}\n" * 5000)
    copy_file(out_dir / "plain.txt", out_dir / "copies/first.txt")
    shutil.copyfile(out_dir / "plain.txt", out_dir / "copies/second.txt")
    link_or_copy(out_dir / "plain.txt", out_dir / "copies/third.txt")
    (out_dir / "temporary").mkdir()
    (out_dir / "temporary/file").write_bytes(b"not kept")
    shutil.rmtree(out_dir / "temporary")
    context.recorder.take(Measurement(f"{out_dir.name.split('-')[0]}.n", 1, "count", 1, "calls", "test"))
    return ("done",)
