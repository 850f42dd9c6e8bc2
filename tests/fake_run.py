"""A run folder as the pipeline would leave it, with known numbers and a package too small to be a model."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fake_answers import write_fake_answers
from fake_measurements import records, sums
from fake_rates import PASSAGES, closed_book_lines, outcomes
from fake_raw import raw_lines, raw_records
from fake_replies import write_reply_files
from stage_runs import run_stage
from tinsmith.card.stage import render_card
from tinsmith.core import measure
from tinsmith.core.config import CardConfig, RunConfig
from tinsmith.core.run_dir import RunDir, combined_sha256, tree_sha256s, write_checksums, write_json, write_text
from tinsmith.derive.files import Files
from tinsmith.derive.inventory import write_inventory
from tinsmith.derive.rules import derive
from tinsmith.derive.table import RULES
from tinsmith.model.answers.rates import write_outcomes
from tinsmith.model.passages import Passage, write_passages
from tinsmith.pipeline.ownership import mark_run

AUTHOR = {
    "title": "Tea Shop",
    "author": "Ada Teapot",
    "email": "ada@tea.example",
    "github": "ada-teapot",
    "url": "https://tea.example/bot",
    "hub_id": "tea/bot",
    "domain": "one tea shop",
    "knowledge_cutoff": "2024-06",
    "intended_uses": ["Answer questions about tea"],
    "out_of_scope_uses": ["Medical advice"],
    "benefits": ["Shorter queues"],
    "risks": ["Wrong prices"],
    "mitigations": ["Prices are on the wall"],
    "examples": [{"question": f"What does cup {i} cost?", "reference": "Rp 32k | *each*"} for i in range(2)],
}
STAMPED = ("base", "data", "knowledge", "train", "merge", "export", "evaluate", "bench", "remote", "review", "judge")


def write_stage(run: RunDir, stage: str) -> None:
    """Write one stage's files, measurements and stamp."""
    folder = run.stage(stage)
    folder.mkdir(parents=True)
    for path, record in (records() | raw_records()).items():
        if path.startswith(f"{stage}/"):
            write_json(run.root / path, record)
    for path, lines in raw_lines().items():
        if path.startswith(f"{stage}/"):
            write_text(run.root / path, "".join(json.dumps(line) + "\n" for line in lines))
    _write_files(stage, folder)
    inputs = {}
    for earlier in STAMPED[: STAMPED.index(stage)]:
        inputs |= {f"{earlier}/{path}": digest for path, digest in tree_sha256s(run.stage(earlier)).items()}
    outputs = tree_sha256s(folder)
    hashes = {"inputs": combined_sha256(inputs), "outputs": combined_sha256(outputs)}
    stamped = [
        replace(m, stage=stage, fingerprint=f"print-{stage}", environment="env1", **hashes)
        for m in derive(RULES.get(stage, ()), Files(run.stage, RunConfig().seed))
    ]
    measure.append(run.measurements, stamped)
    write_json(
        run.stamp(stage),
        {
            "stage": stage,
            "fingerprint": f"print-{stage}",
            "started_at": "2026-11-21T23:00:00+00:00",
            "finished_at": "2026-11-22T10:30:00+00:00",
            "inputs": inputs,
            "outputs": outputs,
            "measurements": len(stamped),
            "environment": "env1",
        },
    )


def _write_files(stage: str, folder: Path) -> None:
    if stage == "data":
        messages = [
            {"role": "system", "content": "You sell tea."},
            {"role": "user", "content": 'What\'s a "latte"?'},
            {"role": "assistant", "content": "Rp 32k."},
        ]
        lines = [json.dumps({"id": f"c{i}", "category": "cat_00", "messages": messages}) + "\n" for i in range(6)]
        write_text(folder / "test.jsonl", "".join(lines))
    if stage == "knowledge":
        write_outcomes(folder / "answers_questions.jsonl", outcomes())
        write_fake_answers(folder / "answers", PASSAGES)
        write_inventory(folder / "answers", folder)
        (folder / "answers_curve.png").write_bytes(b"\x89PNG\r\n\x1a\n a picture either")
    if stage == "train":
        (folder / "loss.png").write_bytes(b"\x89PNG\r\n\x1a\n a picture")
    if stage == "export":
        write_text(folder / "package" / "config.json", "{}\n")
        (folder / "package" / "onnx").mkdir()
        (folder / "package" / "onnx" / "model_q4.onnx_data").write_bytes(bytes(86_000))
        (folder / "package" / "onnx" / "model_q4.onnx").write_bytes(b"\x08\x0a" + bytes(498))
        for name in ("generation_config.json", "tokenizer.json", "tokenizer_config.json"):
            (folder / "package" / name).write_bytes(b"{}" + b" " * 815)
        (folder / "package" / "onnx" / "model_quantized.onnx").write_bytes(b"\x08\x0agraph")
        (folder / "package" / "onnx" / "model_int8.onnx").write_bytes(b"\x08\x0aother")
        write_checksums(folder / "package")
        write_inventory(folder / "package", folder)
    if stage == "evaluate":
        for split in ("train", "val", "test"):
            for model, lines in sums(split).items():
                write_text(
                    folder / "nll" / f"{split}.{model}.jsonl", "".join(json.dumps(line) + "\n" for line in lines)
                )
        write_reply_files(folder)
        write_text(folder / "closed_book.jsonl", "".join(json.dumps(line) + "\n" for line in closed_book_lines()))


def write_run(root: Path, stages: tuple[str, ...] = STAMPED, author: dict | None = None) -> RunDir:
    """A run folder with these stages finished and no card."""
    run = RunDir(root)
    config = {"name": "tea-bot", "evaluate": {"max_new_tokens": 48}, "card": author or {}}
    write_json(run.config, {**config, "data": {"system_prompt": "You sell tea."}, "answers": {"publish": True}})
    write_json(
        run.environments / "env1.json",
        {
            "cpu": "Testor 9000",
            "cores": 2,
            "memory_bytes": 8_000_000_000,
            "gpu": None,
            "os": "Linux 6.1",
            "python": "3.11.7",
            "packages": {"torch": "2.13.0"},
        },
    )
    for stage in stages:
        write_stage(run, stage)
    mark_run(run, None)
    return run


def write_run_with_passages(root: Path, passages: Sequence[Passage]) -> RunDir:
    """The same, with a finished knowledge stage that found these passages."""
    run = write_run(root)
    run.stage("knowledge").mkdir(exist_ok=True)
    write_passages(run.stage("knowledge") / "passages.jsonl", passages)
    write_json(run.stamp("knowledge"), {})
    return run


def write_card(run: RunDir, monkeypatch, author: dict | None = None) -> Path:
    """Render the card of `run` into it as the pipeline does, with a browser that answers at once."""
    from tinsmith.card import stage
    from tinsmith.card.snippet_run import SnippetRun

    def answered(printed, package, answers):
        assert (package / "config.json").is_file()
        answer, browser = "Rp 32k, with ``` marks", "Chromium 156.0.1"
        return [SnippetRun(s.form, s.code, answer, "wasm" * (s.form != "answers"), browser, 2.5) for s in printed]

    monkeypatch.setattr(stage, "run_snippets", answered)
    out_dir = run.stage("card")
    out_dir.mkdir()
    result = run_stage(render_card, CardConfig(**(author or {})), run, "tea-bot", out_dir)
    outputs, inputs = tree_sha256s(out_dir), {}
    hashes = {"inputs": combined_sha256(inputs), "outputs": combined_sha256(outputs)}
    stamped = [replace(m, stage="card", fingerprint="print-card", **hashes) for m in result.measurements]
    measure.append(run.measurements, stamped)
    stamp = {
        "stage": "card",
        "fingerprint": "print-card",
        "inputs": inputs,
        "outputs": outputs,
        "measurements": len(stamped),
        "finished_at": "2026-11-23T00:00:00+00:00",
    }
    write_json(run.stamp("card"), stamp)
    return out_dir
