"""loader.js and worker.js: any address, clear refusals, and WebGPU answers equal to Python's."""

import json
import shutil

import pytest

from packages import tiny_run
from tinsmith.bench.gates import first_prompt
from tinsmith.browser.chromium import Browser
from tinsmith.browser.page import BrowserError
from tinsmith.browser.runtime import WEB_DIR
from tinsmith.browser.serve import SiteServer
from tinsmith.core.run_dir import file_sha256, read_json, write_json
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.reference import reference_answer
from tinsmith.model.tokens import load_tokenizer
from tiny import tiny_conversations

pytestmark = pytest.mark.browser


@pytest.fixture
def opened(runtime, tmp_path_factory):
    package = tiny_run("llama", tmp_path_factory) / "export/package"
    mounts = {"/": WEB_DIR, "/runtime/": runtime, "/deep/er/model/": package}
    with SiteServer(mounts) as server, Browser(webgpu="none") as browser:
        page = browser.open(f"{server.origin}/bench.html")
        page.wait_for("!!globalThis.bench")
        yield page, server


def load(page, url, device="wasm", **more):
    request = json.dumps({"modelUrl": url, "device": device, **more})
    return page.evaluate(f"bench.load({request})", 400)


def greedy_ids(page, prompt, new_tokens):
    request = {
        "messages": [{"role": m.role, "content": m.content} for m in prompt],
        "maxNewTokens": new_tokens,
        "minNewTokens": new_tokens,
    }
    return page.evaluate(f"bench.generate({json.dumps(request)})", 120)["tokenIds"]


def test_a_nested_address_and_one_without_the_last_slash(opened):
    page, server = opened
    for url in (f"{server.origin}/deep/er/model/", "./deep/er/model"):
        assert "onnx/model_q4.onnx_data" in load(page, url)["files"]


def test_a_second_visit_takes_the_weights_from_the_cache(opened):
    page, _ = opened
    load(page, "./deep/er/model/")
    before = len(page.requests)
    load(page, "./deep/er/model/")
    again = [r.url.rpartition("/")[2] for r in page.requests[before:] if "/model/" in r.url]
    assert again == ["SHA256SUMS"]


def test_refusals_name_the_address_and_the_answer(opened):
    page, _ = opened
    with pytest.raises(BrowserError, match=r"/nowhere/SHA256SUMS answered 404"):
        load(page, "./nowhere/")


def test_a_host_that_answers_with_a_page_is_refused_before_anything_is_cached(opened, tmp_path):
    page, _ = opened
    (tmp_path / "SHA256SUMS").write_text("<!doctype html><title>home</title>")
    page.serve({"https://fallback.example/": tmp_path})
    with pytest.raises(BrowserError, match=r"is not a list of checksums; it begins with: <!doctype html>"):
        load(page, "https://fallback.example/")


def test_without_an_adapter_webgpu_falls_back_and_says_why(opened):
    page, _ = opened
    ready = load(page, "./deep/er/model/", "webgpu")
    assert ready["device"] == "wasm" and "no WebGPU adapter was found" in ready["notice"]


def test_the_float16_graph_takes_its_weights_from_the_same_file(opened, tmp_path_factory):
    page, _ = opened
    ready = load(page, "./deep/er/model/", graph="float16")
    assert ready["graph"] == "float16"
    assert {"onnx/model_q4f16.onnx", "onnx/model_q4.onnx_data"} <= set(
        ready["files"]
    ) and "onnx/model_q4.onnx" not in ready["files"]
    package = tiny_run("llama", tmp_path_factory) / "export/package"
    tokenizer, session = load_tokenizer(package), load_onnx(package / "onnx/model_q4f16.onnx")
    prompt = first_prompt(tiny_conversations(1)[0])
    expected = reference_answer(session, tokenizer.encode_prompt(prompt), tokenizer.end_ids, 12)
    assert greedy_ids(page, prompt, 12) == expected["token_ids"]


@pytest.mark.parametrize("kind", ["llama", pytest.param("gemma3", marks=pytest.mark.long)])
def test_webgpu_on_a_software_adapter_answers_like_onnxruntime(kind, runtime, tmp_path_factory):
    package = tiny_run(kind, tmp_path_factory) / "export/package"
    tokenizer, session = load_tokenizer(package), load_onnx(package / "onnx/model_q4.onnx")
    with (
        SiteServer({"/": WEB_DIR, "/runtime/": runtime, "/model/": package}) as server,
        Browser(webgpu="software") as browser,
    ):
        page = browser.open(f"{server.origin}/bench.html")
        page.wait_for("!!globalThis.bench")
        ready = load(page, "./model/", "webgpu")
        assert (ready["device"], ready["adapter"]["software"]) == ("webgpu", True)
        assert ready["graph"] == "float32"  # the software adapter has no shader-f16
        for conversation in tiny_conversations(2):
            prompt = first_prompt(conversation)
            expected = reference_answer(session, tokenizer.encode_prompt(prompt), tokenizer.end_ids, 6)
            assert greedy_ids(page, prompt, 6) == expected["token_ids"]


@pytest.mark.parametrize(
    ("broken", "why", "has_weights"),
    [
        ("largest_tensor_bytes", "the model's largest tensor exceeds this GPU's limit", False),
        ("reference", "this GPU computes wrong results", True),
    ],
)
def test_a_gpu_that_cannot_or_computes_otherwise_is_not_used(
    broken, why, has_weights, runtime, tmp_path, tmp_path_factory
):
    package = tmp_path / "model"
    shutil.copytree(tiny_run("llama", tmp_path_factory) / "export/package", package)
    facts = read_json(package / "browser.json")
    if broken == "largest_tensor_bytes":
        facts["largest_tensor_bytes"] = 2**40
    else:  # as if the GPU mixed up the first two tokens it was given
        facts["reference"]["prompt_ids"][-2:] = reversed(facts["reference"]["prompt_ids"][-2:])
    before = file_sha256(package / "browser.json")
    write_json(package / "browser.json", facts)
    sums = package / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(before, file_sha256(package / "browser.json")))
    with (
        SiteServer({"/": WEB_DIR, "/runtime/": runtime, "/model/": package}) as server,
        Browser(webgpu="software") as browser,
    ):
        page = browser.open(f"{server.origin}/bench.html")
        page.wait_for("!!globalThis.bench")
        ready = load(page, "./model/", "webgpu")
        assert (ready["device"], ready["graph"]) == ("wasm", "int8_page")
        assert ready["notice"] == f"Running on the processor: {why}"
        fetched = [request.url.rpartition("/model/")[2] for request in page.requests if "/model/" in request.url]
        assert ("onnx/model_q4.onnx" in fetched) == has_weights
        assert fetched.count("onnx/model_q4.onnx_data") == 1  # never twice
        assert greedy_ids(page, first_prompt(tiny_conversations(1)[0]), 3)
