"""A finished run with a card that holds and a small site, to publish."""

import json
import shutil
from pathlib import Path

import pytest

from fake_run import AUTHOR, write_card, write_run
from shared import build_once
from tinsmith.core.run_dir import RunDir, tree_sha256s, write_bytes, write_json, write_text

READ_BY_APP = ("data", "knowledge", "export", "card")


def copy_of_finished_run(factory: pytest.TempPathFactory, root: Path) -> RunDir:
    """A run at `root` with every stage finished; built once a session, copied for each call."""
    shutil.copytree(build_once(factory, "finished-run", _build), root)
    return RunDir(root)


def _build(root: Path) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        run = write_run(root, author=AUTHOR)
        write_card(run, monkeypatch, AUTHOR)
    app = run.stage("app")
    shutil.copytree(run.stage("export") / "package", app / "model")
    for name in ("README.md", "EVIDENCE.md", "loss.png"):
        shutil.copy(run.stage("card") / name, app / "model" / name)
    for name in ("index.html", "card.html", "chat.js", "HOSTING.md", "_headers"):
        write_text(app / name, f"this is {name}\n")
    write_bytes(app / ".nojekyll", b"")
    write_bytes(app / "runtime/ort.wasm", bytes(range(256)) * 100)
    write_json(app / "model/answers/answers.json", {"passages": "passages.json"})
    stamp_site(run)


def stamp_site(run: RunDir) -> None:
    """Write the app stage's stamp for what its folder holds now."""
    inputs = {
        f"{stage}/{path}": digest for stage in READ_BY_APP for path, digest in tree_sha256s(run.stage(stage)).items()
    }
    outputs = tree_sha256s(run.stage("app"))
    write_json(run.stamp("app"), {"fingerprint": "print-app", "inputs": inputs, "outputs": outputs, "measurements": 0})


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
