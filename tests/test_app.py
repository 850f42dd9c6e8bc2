"""The static folder is complete, shows the card safely, and sends the headers threads need on every known host."""

import tomllib
from html.parser import HTMLParser

import pytest
import yaml

from packages import QUESTIONS, tiny_run, write_site
from tinsmith.app import HOST_HEADERS
from tinsmith.browser.card_page import fill_card_page, without_front_matter
from tinsmith.browser.runtime import WEB_DIR, runtime_folders
from tinsmith.core.config import AnswersConfig
from tinsmith.core.errors import ArtifactError
from tinsmith.core.run_dir import file_sha256, read_json
from tinsmith.model.answers.small_talk import SMALL_TALK, SMALL_TALK_FILE
from tinsmith.model.package_format import weights_files

PAGE = "<title>Model card</title><b><!-- title --></b><main><!-- card --></main>"


@pytest.fixture
def app(tmp_path, tmp_path_factory):
    run = tiny_run("llama", tmp_path_factory)
    return run, tmp_path, write_site(run, tmp_path, title="Tea & <co>")


def test_the_package_is_served_unchanged_with_its_card(app):
    run, out_dir, _ = app
    for line in (out_dir / "model/SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert file_sha256(out_dir / "model" / name) == digest
    assert (out_dir / "model/README.md").read_bytes() == (run / "card/README.md").read_bytes()
    assert (out_dir / "loss.svg").is_file() and (out_dir / "model/loss.svg").is_file()


def test_changing_a_site_changes_no_installed_file(app):
    _, out_dir, _ = app
    installed = {path.stat().st_ino for folder in (WEB_DIR, *runtime_folders().values()) for path in folder.rglob("*")}
    assert len(installed) > 20
    assert not {path.name for path in out_dir.rglob("*") if path.is_file() and path.stat().st_ino in installed}


def test_every_file_the_pages_name_exists(app):
    _, out_dir, result = app
    for name in (
        "index.html",
        "chat.js",
        "chat.css",
        "page.css",
        "client.js",
        "worker.js",
        "loader.js",
        "card.html",
        "evidence.html",
        "runtime/transformers.wasm.js",
        "runtime/transformers.webgpu.js",
        "HOSTING.md",
    ):
        assert (out_dir / name).stat().st_size > 0
    for backend in ("wasm", "webgpu"):
        text = (out_dir / f"runtime/transformers.{backend}.js").read_text()
        assert 'from"onnxruntime' not in text and f'from"./ort.{backend}.bundle.min.mjs"' in text
        assert (out_dir / f"runtime/ort.{backend}.bundle.min.mjs").is_file()
    files = [p for p in out_dir.rglob("*") if p.is_file()]
    measured = {m.id: m.value for m in result.measurements}
    assert measured == {"app.files": len(files), "app.files_bytes": sum(p.stat().st_size for p in files)}


def test_settings_of_the_page(app):
    _, out_dir, _ = app
    settings = read_json(out_dir / "app.json")
    assert (settings["title"], settings["system_prompt"], settings["model"]) == (
        "Tea & <co>",
        "You sell tea.",
        "./model/",
    )
    assert settings["questions"] == list(QUESTIONS)
    assert settings["small_talk"]["thanks"] == AnswersConfig().thanks and set(settings["small_talk"]) == set(SMALL_TALK)
    assert (out_dir / "small_talk.json").read_bytes() == SMALL_TALK_FILE.read_bytes()


def test_the_page_knows_the_size_of_the_models_download(app):
    run, out_dir, _ = app
    package = run / "export/package"
    loaded = [*package.glob("*.json"), package / "onnx/model_int8.onnx", package / "onnx/model_int8.json"]
    sizes = [path.stat().st_size for path in (*loaded, *weights_files(package / "onnx"))]
    assert read_json(out_dir / "app.json")["model_bytes"] == sum(sizes)


@pytest.mark.parametrize(
    "name", ["_headers", "vercel.json", "netlify.toml", ".htaccess", "nginx.conf", "README.md", "HOSTING.md"]
)
def test_host_files_isolate_the_page(app, name):
    text = (app[1] / name).read_text().lower()
    for word in ("cross-origin-opener-policy", "same-origin", "cross-origin-embedder-policy", "require-corp"):
        assert word in text


def test_host_files_are_what_their_hosts_parse(app):
    _, out_dir, _ = app
    wanted = dict(HOST_HEADERS)
    (rule,) = tomllib.loads((out_dir / "netlify.toml").read_text())["headers"]
    assert (rule["for"], rule["values"]) == ("/*", wanted)
    (rule,) = read_json(out_dir / "vercel.json")["headers"]
    assert {pair["key"]: pair["value"] for pair in rule["headers"]} == wanted
    front = yaml.safe_load((out_dir / "README.md").read_text().split("---\n")[1])
    assert front["sdk"] == "static" and front["title"] == "Tea & <co>"
    assert front["custom_headers"] == {
        name.lower(): value for name, value in wanted.items() if name.startswith("Cross")
    }


def tags_of(page: str) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """Every start tag with its attributes."""
    tags = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, attributes))
    parser.feed(page)
    return tags


def test_the_card_cannot_carry_markup_or_scripts():
    markdown = (
        "---\na: 1\n---\n# T\n\n<script>x()</script> <img src=x onerror=y()>\n\n"
        "[a](javascript:x()) [b](https://b.example)\n\n|a|b|\n|-|-|\n|1|2|\n"
    )
    filled = fill_card_page(PAGE, "A <b>", markdown)
    assert "<script" not in filled and "<img" not in filled and 'href="javascript' not in filled
    (link,) = [dict(attributes) for tag, attributes in tags_of(filled) if ("href", "https://b.example") in attributes]
    assert {"noopener", "noreferrer", "nofollow"} <= set(link["rel"].split())
    assert "td" in [tag for tag, _ in tags_of(filled)] and "a: 1" not in filled and "A &lt;b&gt;" in filled


def test_links_of_the_card_lead_to_the_sites_own_pages():
    markdown = "## The Author's Words\n\n[a](EVIDENCE.md#sources) [b](README.md) [c](card.json) [d](#x) [e](https://e.example/a)\n"
    tags = [(tag, dict(attributes)) for tag, attributes in tags_of(fill_card_page(PAGE, "Tea", markdown))]
    addresses = [attributes["href"] for tag, attributes in tags if tag == "a"]
    assert addresses == ["evidence.html#sources", "card.html", "model/card.json", "#x", "https://e.example/a"]
    assert ("h2", {"id": "the-authors-words"}) in tags


def test_only_a_leading_block_is_front_matter():
    assert without_front_matter("---\na: 1\n---\ntext") == "text"
    assert without_front_matter("text\n---\nmore") == "text\n---\nmore"
    assert without_front_matter("---\nnever closed") == "---\nnever closed"


def test_a_missing_card_is_a_clear_error(tmp_path, tmp_path_factory):
    run = tiny_run("llama", tmp_path_factory)
    (tmp_path / "card").mkdir()
    with pytest.raises(ArtifactError, match=r"README\.md: missing"):
        write_site(run, tmp_path / "out", card=tmp_path / "card")
