"""Licence files of the model are published, and nobody else's."""

import json
import os
import shutil

import pytest
from tiny_gguf import write_tiny_gguf

from stage_runs import run_stage
from tinsmith.base.license import GEMMA_NOTICE
from tinsmith.base.license_files import is_license_name
from tinsmith.base.stage import resolve_base
from tinsmith.core.config import BaseConfig, RunConfig
from tinsmith.core.errors import BaseModelError
from tinsmith.core.run_dir import RunDir
from tinsmith.pipeline.stages import STAGES

STRANGERS_README = "---\nlicense: gpl-3.0\n---\n# Another project\n"


@pytest.fixture
def downloads(tmp_path, tiny_llama):
    """A folder like Downloads: a GGUF file without a stated licence, and other people's files."""
    folder = tmp_path / "Downloads"
    folder.mkdir()
    write_tiny_gguf(tiny_llama, folder / "tiny.gguf", "llama", license="")
    return folder


@pytest.fixture
def model(tmp_path, tiny_llama):
    folder = tmp_path / "my-base"
    shutil.copytree(tiny_llama, folder)
    (folder / "LICENSE").unlink()
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    return folder


def placed(path, tmp_path, **settings):
    """`(licence of the record, names of the texts in the model folder, lines said)`."""
    out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
    out.mkdir()
    run = run_stage(resolve_base, BaseConfig(model=str(path), **settings), out)
    record = json.loads((out / "base.json").read_text())
    others = "config.json generation_config.json model.safetensors tokenizer.json tokenizer_config.json".split()
    names = {entry.name for entry in (out / "model").iterdir()} - {*others, "chat_template.jinja"}
    assert sorted(names) == record["license"]["files"] and names <= record["files"].keys()
    return record["license"], names, run.said


def test_a_gguf_file_takes_nothing_from_strangers_beside_it(downloads, tmp_path):
    (downloads / "holiday.jpg").write_bytes(b"\xff\xd8")
    (downloads / "LICENSE").write_text("a stranger's licence")
    (downloads / "NOTICE.txt").write_text("a stranger's notice")
    (downloads / "README.md").write_text(STRANGERS_README)
    with pytest.raises(BaseModelError, match=r"tiny\.gguf: no licence stated"):
        placed(downloads / "tiny.gguf", tmp_path)
    license, names, said = placed(downloads / "tiny.gguf", tmp_path, license="mit")
    assert (license["id"], license["stated_in"], names) == ("mit", "base.license", set())
    assert said == (
        "licence file left out: LICENSE: its folder holds more than tiny.gguf; if this file belongs to that model, "
        "rename it to tiny.LICENSE",
        "licence file left out: NOTICE.txt: its folder holds more than tiny.gguf; if this file belongs to that model, "
        "rename it to tiny.NOTICE.txt",
        "licence file left out: README.md: its folder holds more than tiny.gguf",
    )


def test_files_named_after_a_gguf_file_are_its_own(downloads, tmp_path):
    (downloads / "other.gguf").write_bytes(b"GGUF")
    for name in ("tiny.LICENSE", "Tiny-notice.md", "COPYING.tiny.txt"):
        (downloads / name).write_text(name)
    for name in ("tiny-q8.LICENSE", "other.LICENSE", "tinyLICENSE", "LICENSE.tiny.key"):
        (downloads / name).write_text("of another")
    _, names, said = placed(downloads / "tiny.gguf", tmp_path, license="mit")
    assert names == {"tiny.LICENSE", "Tiny-notice.md", "COPYING.tiny.txt"}
    assert "licence file tiny.LICENSE: named after tiny.gguf" in said


def test_the_base_stage_is_out_of_date_once_a_file_is_named_after_the_model(downloads):
    (downloads / "holiday.jpg").write_bytes(b"\xff\xd8")
    (downloads / "LICENSE").write_text("the licence")
    config = RunConfig(base=BaseConfig(model=str(downloads / "tiny.gguf")))
    outside = STAGES[0].outside
    before = outside(config, RunDir(downloads))
    (downloads / "holiday.jpg").write_bytes(b"another picture")
    assert outside(config, RunDir(downloads)) == before
    (downloads / "LICENSE").rename(downloads / "tiny.LICENSE")
    renamed = outside(config, RunDir(downloads))
    (downloads / "tiny.LICENSE").write_text("a newer licence")
    assert len({json.dumps(hashes) for hashes in (before, renamed, outside(config, RunDir(downloads)))}) == 3


def test_a_folder_with_nothing_but_the_gguf_file_is_its_own(downloads, tmp_path):
    (downloads / "Licence").write_text("the licence")
    (downloads / "tokenizer.json").write_text("{}")
    (downloads / ".DS_Store").write_bytes(b"\0")
    (downloads / "readme.md").write_text(STRANGERS_README)
    license, names, said = placed(downloads / "tiny.gguf", tmp_path)
    assert (license["id"], license["stated_in"], names) == ("gpl-3.0", "readme.md", {"Licence"})
    assert said == ("licence file Licence: its folder holds nothing but tiny.gguf",)
    (downloads / "recipes").mkdir()
    with pytest.raises(BaseModelError, match="no licence stated"):
        placed(downloads / "tiny.gguf", tmp_path)


def test_licence_files_of_a_model_folder_under_all_their_names(model, tmp_path):
    usual = [
        *("COPYING", "LICENCE.txt", "License.md", "NOTICE", "USE_POLICY.md", "Gemma Terms.html", "THIRD-PARTY-NOTICES"),
        *("LICENSE-APACHE", "LICENSE.MIT", "LICENSE-2.0", "LICENSE.apache-2.0", "COPYING.LESSER", "gemma_terms_of_use"),
    ]
    others = "license.key licensed-fonts.txt license.py noticeboard.md terms.json LICENSE.pem".split()
    for name in (*usual, *others):
        (model / name).write_text("text")
    license, names, _ = placed(model, tmp_path)
    assert names == set(usual) and license["id"] == "apache-2.0"
    assert [name for name in (*usual, *others) if is_license_name(name)] == usual


def test_links_and_what_is_not_a_small_text_stay_out(model, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret")
    (model / "LICENSE").symlink_to(secret)
    (model / "NOTICE").write_bytes(b"\xff\xfe\0")
    (model / "NOTICE.txt").write_bytes(b"a\0b")
    (model / "COPYING").write_text("x" * 1_100_000)
    (model / "TERMS").mkdir()
    os.mkfifo(model / "LICENCE")
    _, names, said = placed(model, tmp_path)
    assert names == set()
    assert {line.removeprefix("licence file left out: ") for line in said} == {
        "COPYING: larger than 1048 kB",
        "LICENCE: not a file",
        "LICENSE: a link, and links are not followed",
        "NOTICE: not UTF-8 text",
        "NOTICE.txt: not text",
        "TERMS: not a file",
    }
    (model / "README.md").unlink()
    (model / "README.md").symlink_to(secret)
    with pytest.raises(BaseModelError, match="my-base: no licence stated"):
        placed(model, tmp_path)


def test_a_notice_of_the_model_stays_beside_gemmas(model, tmp_path):
    (model / "NOTICE.txt").write_text("brewed by acme")
    (model / "README.md").write_text("---\nlicense: gemma\n---\n")
    out = tmp_path / "out"
    out.mkdir()
    run_stage(resolve_base, BaseConfig(model=str(model)), out)
    assert (out / "model/NOTICE.txt").read_text() == "brewed by acme"
    assert (out / "model/GEMMA_NOTICE.txt").read_text() == GEMMA_NOTICE
