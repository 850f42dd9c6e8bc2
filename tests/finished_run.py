"""A finished run with a card that holds and a small site, to publish."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fake_run import AUTHOR, write_card, write_run
from shared import build_once
from tinsmith.browser.card_page import card_pages, is_on_site
from tinsmith.core import measure
from tinsmith.core.run_dir import (
    RunDir,
    combined_sha256,
    tree_sha256s,
    write_bytes,
    write_checksums,
    write_json,
    write_text,
)
from tinsmith.derive.files import Files
from tinsmith.derive.rules import derive
from tinsmith.derive.site import APP_RULES

READ_BY_APP = ("data", "knowledge", "export", "card")


def copy_of_finished_run(factory: pytest.TempPathFactory, root: Path) -> RunDir:
    """A run at `root` with every stage finished; built once a session, copied for each call."""
    shutil.copytree(build_once(factory, "finished-run", _build), root)
    return RunDir(root)


def _build(root: Path) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        run = write_run(root, author=AUTHOR)
        write_card(run, monkeypatch, AUTHOR)
    app, card = run.stage("app"), run.stage("card")
    shutil.copytree(run.stage("export") / "package", app / "model")
    shutil.copytree(card, app / "model", dirs_exist_ok=True)
    for path in card.iterdir():
        if is_on_site(path.name):
            shutil.copy(path, app / path.name)
    write_json(app / "app.json", {"title": "Tea Shop"})
    for name, page in card_pages(card, "Tea Shop").items():
        write_text(app / name, page)
    for name in ("index.html", "chat.js", "HOSTING.md", "_headers"):
        write_text(app / name, f"this is {name}\n")
    write_bytes(app / ".nojekyll", b"")
    write_bytes(app / "runtime/ort.wasm", bytes(range(256)) * 100)
    write_json(app / "model/answers/answers.json", {"passages": "passages.json"})
    stamp_site(run)


def stamp_site(run: RunDir) -> None:
    """Write the app stage's checksums, numbers and stamp for what its folder holds now."""
    write_checksums(run.stage("app"))
    inputs = {
        f"{stage}/{path}": digest for stage in READ_BY_APP for path, digest in tree_sha256s(run.stage(stage)).items()
    }
    outputs = tree_sha256s(run.stage("app"))
    hashes = {"inputs": combined_sha256(inputs), "outputs": combined_sha256(outputs)}
    measured = [
        replace(m, stage="app", fingerprint="print-app", **hashes) for m in derive(APP_RULES, Files(run.stage, 0))
    ]
    measure.append(run.measurements, measured)
    stamp = {"fingerprint": "print-app", "inputs": inputs, "outputs": outputs, "measurements": len(measured)}
    write_json(run.stamp("app"), stamp)


def change_site(run: RunDir, contents: dict[str, bytes | None]) -> None:
    """Let the app stage write these files, and no longer those with None."""
    for path, content in contents.items():
        if content is None:
            (run.stage("app") / path).unlink()
        else:
            write_bytes(run.stage("app") / path, content)
    stamp_site(run)


def contents_of(folder: Path) -> dict[str, bytes]:
    """Relative path -> content of every file below `folder`."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def mark_of(content: bytes) -> dict[str, list[str]]:
    """What a mark lists."""
    mark = json.loads(content)
    assert mark.keys() == {"made_by", "files"}
    return mark["files"]
