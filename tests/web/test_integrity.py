"""A file of the site that someone changed is not run: by tags for the page, by the loader for the runtime."""

import re
import shutil

import pytest

from packages import tiny_run, write_site
from tinsmith.browser.chromium import Browser
from tinsmith.browser.runtime import integrity_of
from tinsmith.browser.serve import SiteServer

READY = "!!document.querySelector('#questions button:enabled')"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    run, folder = tiny_run("llama", tmp_path_factory), tmp_path_factory.mktemp("site")
    write_site(run, folder)
    return folder


@pytest.fixture(scope="module")
def browser():
    with Browser(webgpu="none") as browser:
        yield browser


def test_every_script_and_style_of_the_page_has_its_digest(site):
    page = (site / "index.html").read_text()
    tags = dict(re.findall(r'(?:src|href)="\./([\w.]+\.(?:js|css))" integrity="([^"]+)"', page))
    assert tags == {name: integrity_of((site / name).read_bytes()) for name in tags}
    assert {"page.css", "chat.css", "chat.js", "client.js", "turns.js"} <= tags.keys()
    assert "worker.js" not in tags, "browsers take no digest for a worker"
    scripts = "\n".join((site / name).read_text() for name in tags if name.endswith(".js"))
    assert set(re.findall(r'^(?:import|}).* from "\./(\w+\.js)";$', scripts, re.MULTILINE)) <= tags.keys()
    assert page.index("modulepreload") < page.index("<script")


@pytest.mark.browser
@pytest.mark.parametrize("name", ["chat.js", "turns.js", "page.css"])
def test_a_changed_file_of_the_page_is_refused(name, site, browser, tmp_path):
    shutil.copytree(site, tmp_path / "site")
    with (tmp_path / "site" / name).open("a") as file:
        file.write("\n;" if name.endswith("js") else "\nbody { display: none }\n")
    with SiteServer({"/": tmp_path / "site"}) as server:
        page = browser.open(f"{server.origin}/")
        if name == "page.css":
            page.wait_for(READY, 60)
            assert page.evaluate("getComputedStyle(document.body).display") != "none"
        else:
            page.wait_for("document.readyState === 'complete'", 60)
            assert page.evaluate("document.getElementById('title').textContent") == "Chat", "no script ran"
        assert any("integrity" in text and name in text for _, text in page.console)


@pytest.mark.browser
@pytest.mark.parametrize("name", ["transformers.wasm.js", "ort.wasm.bundle.min.mjs"])
def test_a_changed_file_of_the_runtime_is_refused(name, site, browser, tmp_path):
    shutil.copytree(site, tmp_path / "site")
    with (tmp_path / "site/runtime" / name).open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(b" " if last != b" " else b"\n")
    with SiteServer({"/": tmp_path / "site"}) as server:
        page = browser.open(f"{server.origin}/")
        page.wait_for("document.getElementById('notice').classList.contains('failed')", 60)
        notice = page.evaluate("document.getElementById('notice').textContent")
        assert page.evaluate(READY) is False
    assert f"runtime/{name}" in notice and "is not the file that this page was made with" in notice
