"""The whole stage in a real Chromium, on both devices, and the ways it must stop."""

import json
import shutil

import pytest

from packages import tiny_run
from stage_runs import run_stage
from tinsmith.bench import stage
from tinsmith.bench.plan import plan
from tinsmith.bench.stage import _site, bench_browser
from tinsmith.browser.chromium import Browser
from tinsmith.browser.page import BrowserError
from tinsmith.core.config import BenchConfig
from tinsmith.core.errors import GateError
from tinsmith.core.run_dir import file_sha256, read_json, write_json
from tinsmith.model.conversations import read_jsonl

pytestmark = pytest.mark.browser

CONFIG = BenchConfig(new_tokens=6, software_new_tokens=2, prompt_tokens=(120, 200), prompt_new_tokens=3)


@pytest.fixture(scope="module")
def benched(tmp_path_factory):
    run, out_dir = tiny_run("gemma3", tmp_path_factory), tmp_path_factory.mktemp("bench")
    result = run_stage(bench_browser, CONFIG, run / "data", run / "export", out_dir)
    return {m.id: m for m in result.measurements}, out_dir


@pytest.mark.parametrize("device", ["wasm", "webgpu"])
def test_every_number_follows_from_the_raw_times(benched, device):
    measurements, out_dir = benched
    record = read_json(out_dir / f"{device}.json")
    tokens = CONFIG.software_new_tokens if record["software"] else CONFIG.new_tokens
    runs = record["prompts"][0]["runs"]
    count = 1 if record["software"] else 5
    assert len(runs) == count and all(len(run["token_ms"]) == tokens for run in runs)
    times = [run["token_ms"] for run in runs]
    firsts = sorted(t[0] / 1000 for t in times)
    speeds = sorted((tokens - 1) * 1000 / (t[-1] - t[0]) for t in times)
    first, speed = (
        measurements[f"bench.{device}.{name}"] for name in ("first_token_seconds", "decode_tokens_per_second")
    )
    spread = {} if count == 1 else {"min": pytest.approx(firsts[0]), "max": pytest.approx(firsts[-1])}
    assert (first.value, first.spread) == (pytest.approx(firsts[count // 2]), spread)
    assert (speed.value, speed.count) == (pytest.approx(speeds[count // 2]), count)
    assert measurements[f"bench.{device}.new_tokens"].value == tokens
    warm = f"bench.{device}.warm_load_seconds"
    assert (warm in measurements) == (not record["software"])
    assert record["engine"] == {"wasm": "onnxruntime", "webgpu": "own"}[device]
    assert bool(record["placement"]) == (record["engine"] == "onnxruntime")
    for name in ("load_seconds", "peak_memory_bytes", "fetched_bytes"):
        assert measurements[f"bench.{device}.{name}"].value > 0


def test_longer_prompts_are_timed_on_the_processor(benched):
    measurements, out_dir = benched
    wasm, webgpu = (read_json(out_dir / f"{device}.json") for device in ("wasm", "webgpu"))
    assert [prompt["name"] for prompt in wasm["prompts"]] == ["question", "120", "200"]
    assert len(webgpu["prompts"]) == (1 if webgpu["software"] else 3)
    for prompt in wasm["prompts"][1:]:
        tokens = prompt["prompt_tokens"]
        assert int(prompt["name"]) - 12 < tokens <= int(prompt["name"]) and len(prompt["runs"]) == 3
        first, reading = (
            measurements[f"bench.wasm.{key}.{prompt['name']}"].value
            for key in ("first_token_seconds", "prefill_tokens_per_second")
        )
        assert reading == pytest.approx(tokens / first)
        assert measurements[f"bench.wasm.prompt_tokens.{prompt['name']}"].value == tokens


def test_a_prompt_that_would_take_too_long_is_left_out(tmp_path_factory, tmp_path):
    run = tiny_run("llama", tmp_path_factory)
    config = BenchConfig(
        devices=("wasm",), new_tokens=2, prompt_tokens=(120, 400), prompt_new_tokens=2, prompt_seconds=30
    )
    device_plan = plan(config, run / "export/package", read_jsonl(run / "data/test.jsonl"), "wasm")
    with _site(run / "export/package") as server, Browser(webgpu="none") as browser:
        page = browser.open(f"{server.origin}/bench.html")
        page.wait_for("globalThis.bench")
        page.evaluate("""
            const { generate } = bench;
            bench.generate = async (options) => {
              const done = await generate.call(bench, options);
              // A clock of its own: a tenth of a second for a token of the prompt, a thousandth for one of the answer.
              return { ...done, askedAt: -100 * done.promptTokens, times: done.times.map((_, index) => index) };
            };
            1
        """)
        measured = page.evaluate(f"bench.measure({json.dumps(device_plan)})", 60)
    assert [len(prompt["runs"]) for prompt in measured["prompts"]] == [5, 3, 0]
    seconds = measured["prompts"][2]["promptTokens"] / 10
    assert f"about {seconds:.0f} s" in measured["prompts"][2]["notMeasured"]


def test_records_say_what_ran(benched):
    _, out_dir = benched
    wasm, webgpu = (read_json(out_dir / f"{device}.json") for device in ("wasm", "webgpu"))
    assert (wasm["backend"], wasm["adapter"], wasm["software"], wasm["cross_origin_isolated"]) == (
        "wasm",
        None,
        False,
        True,
    )
    assert webgpu["backend"] == "webgpu" and webgpu["adapter"]["vendor"]
    assert "Chromium" in wasm["browser"] and wasm["threads"] >= 1
    assert (wasm["graph"], webgpu["graph"]) == ("int8_page", "float32")
    for record, program in ((wasm, "model_int8.onnx"), (webgpu, "decoder_plan.json")):
        sizes = {file["path"]: file["bytes"] for file in record["files"]}
        assert sizes[f"model/onnx/{program}"] > 1000
        assert not any("://" in path for path in sizes)
        builds = [path for path in sizes if path.endswith(".wasm")]
        assert builds == (["runtime/ort-wasm-simd-threaded.wasm"] if record is wasm else [])
    assert wasm["placement"].keys() == {"CPUExecutionProvider"}


def test_browser_and_python_agree(benched):
    measurements, out_dir = benched
    tokens, logits = (
        measurements[f"gate.{name}"] for name in ("tokens.python_vs_javascript", "logits.wasm_vs_onnxruntime")
    )
    assert (tokens.value, tokens.count, logits.count) == (0, 12, 5) and logits.value < logits.gate["bound"] == 0.25
    assert all(len(one["token_ids"]) == 32 for one in read_json(out_dir / "gates.json")["logits"])


def test_another_model_in_the_browser_stops_the_run(tmp_path_factory, tmp_path, monkeypatch):
    """Python holds it against the package's own graph with two tokens of every prompt exchanged."""
    run = tiny_run("llama", tmp_path_factory)
    right = stage.reference_answer

    def wrong(decoder, prompt_ids, *rest):
        reference = right(decoder, [*prompt_ids[:-2], prompt_ids[-1], prompt_ids[-2]], *rest)
        return reference | {"prompt_ids": list(prompt_ids)}

    monkeypatch.setattr(stage, "reference_answer", wrong)
    with pytest.raises(GateError, match=r"gate\.logits\.wasm_vs_onnxruntime"):
        run_stage(
            bench_browser,
            BenchConfig(devices=("wasm",), new_tokens=2, prompt_tokens=()),
            run / "data",
            run / "export",
            tmp_path,
        )


def test_another_chat_template_in_the_package_stops_the_run(tmp_path, tmp_path_factory):
    run = tiny_run("llama", tmp_path_factory)
    shutil.copytree(run / "export", tmp_path / "export")
    path = tmp_path / "export/package/tokenizer_config.json"
    settings = read_json(path)
    settings["chat_template"] = settings["chat_template"].replace("<|im_end|>", "<|im_end|> ")
    old = file_sha256(path)
    write_json(path, settings)
    sums = tmp_path / "export/package/SHA256SUMS"
    sums.write_text(sums.read_text().replace(old, file_sha256(path)))
    (tmp_path / "out").mkdir()
    with pytest.raises(GateError, match=r"gate\.tokens\.python_vs_javascript: measured 12"):
        run_stage(
            bench_browser,
            BenchConfig(devices=("wasm",), new_tokens=2),
            run / "data",
            tmp_path / "export",
            tmp_path / "out",
        )
    assert len(json.loads((tmp_path / "out/gates.json").read_text())["token_differences"]) == 12


def test_a_package_without_its_weights_is_a_clear_error(tmp_path, tmp_path_factory):
    run = tiny_run("llama", tmp_path_factory)
    shutil.copytree(run / "export", tmp_path / "export")
    (tmp_path / "export/package/onnx/model_q4.onnx_data").unlink()
    (tmp_path / "out").mkdir()
    with pytest.raises(BrowserError, match=r"model_q4\.onnx_data"):
        run_stage(
            bench_browser,
            BenchConfig(devices=("wasm",), new_tokens=2),
            run / "data",
            tmp_path / "export",
            tmp_path / "out",
        )
