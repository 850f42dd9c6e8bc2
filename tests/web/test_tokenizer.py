"""The browser reads merges of tokenizer.json joined or in pairs, and its tokens equal Python's either way."""

import json
import shutil

import pytest

from packages import tiny_run
from tinsmith.browser.chromium import Browser
from tinsmith.browser.runtime import WEB_DIR
from tinsmith.browser.serve import SiteServer
from tinsmith.core.run_dir import file_sha256
from tinsmith.model.conversations import read_jsonl
from tinsmith.model.tokens import load_tokenizer

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("form", ["joined", "pairs"])
def test_tokens_are_pythons(form, runtime, tmp_path, tmp_path_factory):
    run = tiny_run("llama", tmp_path_factory)
    package = tmp_path / "package"
    shutil.copytree(run / "export/package", package)
    path, sums = package / "tokenizer.json", package / "SHA256SUMS"
    content, old = json.loads(path.read_text()), file_sha256(path)
    assert len(content["model"]["merges"]) > 100 and all(isinstance(merge, str) for merge in content["model"]["merges"])
    if form == "pairs":
        content["model"]["merges"] = [merge.split(" ") for merge in content["model"]["merges"]]
        path.write_text(json.dumps(content))
        sums.write_text(sums.read_text().replace(old, file_sha256(path)))
    conversations = read_jsonl(run / "data/test.jsonl")
    with SiteServer({"/": WEB_DIR, "/runtime/": runtime, "/model/": package}) as server, Browser() as browser:
        page = browser.open(f"{server.origin}/bench.html")
        page.wait_for("globalThis.bench")
        page.evaluate('bench.load({modelUrl: "./model/", device: "wasm"})', 60)
        found = page.evaluate(f"bench.tokenize({json.dumps([one.as_dicts() for one in conversations])})", 60)
    tokenizer = load_tokenizer(package)
    assert found == [list(tokens.ids) for tokens in tokenizer.encode_all(conversations)]
    assert sum(map(len, found)) < sum(
        len(message.content) for one in conversations for message in one.messages
    )  # something was merged
