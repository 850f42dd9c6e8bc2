"""Another browser measures the package and sends its result back; nothing else gets in."""

import http.client
import json
import shutil
import signal
import ssl
import subprocess
import sys
import urllib.parse

import pytest

from packages import tiny_run
from signed_results import CODE, result, signed
from stage_runs import run_stage
from tinsmith.bench.plan import plan
from tinsmith.bench.remote_result import accept, read_results, signature_of, store
from tinsmith.bench.remote_server import RemoteBench
from tinsmith.bench.remote_stage import browser_and_system, record_results
from tinsmith.browser.chromium import Browser
from tinsmith.core.config import BenchConfig
from tinsmith.core.errors import ArtifactError, UserError
from tinsmith.core.run_dir import RunDir, file_sha256, read_json, write_json
from tinsmith.model.conversations import read_jsonl
from tinsmith.pipeline.ownership import mark_run

CONFIG = BenchConfig(new_tokens=4, runs=5, prompt_tokens=(120,), prompt_new_tokens=2, prompt_runs=1, warmup_runs=1)


def test_a_signed_result_is_stored_as_it_was_signed(tmp_path):
    body, signature = signed(result())
    path = store(tmp_path, CODE, body, signature)
    ((_, received),) = read_results(tmp_path)
    assert (received.name, received.backends[0].measured.ready.threads) == ("Pixel 9", 4)
    write_json(path, read_json(path) | {"body": body.decode().replace("3.5", "2.5")})
    with pytest.raises(ArtifactError, match="not what the device signed"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 61}, "name"),
        ({"package": "../.."}, "package"),
        ({"cores": -1}, "cores"),
        ({"backends": []}, "backends"),
        ({"userAgent": 5}, "userAgent"),
    ],
)
def test_what_is_no_result_is_refused(change, problem):
    with pytest.raises(UserError, match=f"not a result: {problem}"):
        accept(CODE, *signed(result(**change)))


@pytest.mark.parametrize(
    "times", [[900.0, 1600.0, 1700.0], [1500.0, 1400.0, 1700.0], [1500.0, 1500.0, 1500.0], [1500.0, 1600.0]]
)
def test_times_that_cannot_be_are_refused(times):
    wrong = result()
    wrong["backends"][0]["measured"]["prompts"][0]["runs"] = [{"askedAt": 1000.0, "times": times}]
    with pytest.raises(UserError, match="not a result"):
        accept(CODE, *signed(wrong))


def test_another_code_or_another_body_is_refused():
    body, signature = signed(result())
    for attempt in (
        (CODE[::-1], body, signature),
        (CODE, body + b" ", signature),
        (CODE, body, ""),
        (CODE, b"[" * 100_000, signature),
    ):
        with pytest.raises(UserError, match="not signed"):
            accept(*attempt)
    deep = b"[" * 100_000
    with pytest.raises(UserError, match="not a result"):
        accept(CODE, deep, signature_of(CODE, deep))


def test_results_become_numbers_if_they_are_of_this_package(tmp_path):
    sums = tmp_path / "export/package/SHA256SUMS"
    sums.parent.mkdir(parents=True)
    sums.write_text("0  config.json\n")
    received, out = tmp_path / "received", tmp_path / "out"
    fallen_back = result()
    fallen_back["backends"][0]["asked"] = "webgpu"
    fallen_back["backends"][0]["measured"]["ready"]["notice"] = "Running on the processor: no WebGPU adapter was found"
    assert run_stage(record_results, tmp_path / "export", received, out).summary == (
        "no other device has sent results",
    )
    for one in (
        result(package=file_sha256(sums)),
        result(),
        fallen_back | {"package": file_sha256(sums), "name": "Tab"},
    ):
        store(received, CODE, *signed(one))
    taken = run_stage(record_results, tmp_path / "export", received, out)
    values = {m.id: m for m in taken.measurements}
    assert values["remote.1.wasm.decode_tokens_per_second"].value == pytest.approx(10)
    assert values["remote.1.wasm.first_token_seconds.256"].value == pytest.approx(0.5)
    assert values["remote.1.wasm.prefill_tokens_per_second"].value == pytest.approx(40)
    assert (values["remote.1.wasm.warm_load_seconds"].value, values["remote.1.wasm.threads"].value) == (1.25, 4)
    assert not any(id.startswith("remote.2.") for id in values)
    assert read_json(out / "2.json")["backends"]["webgpu"]["not_measured"].startswith("Running on the processor")
    assert read_json(out / "1.json")["browser"] == "Chrome 150" and read_json(out / "1.json")["os"] == "Android"
    assert taken.summary[-1].startswith("1 results were measured with another package")


def test_browsers_are_named_by_what_they_say():
    apple = (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/19.0 Mobile/15E148 Safari/604.1"
    )
    edge = (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/150.0.0.0 Safari/537.36 Edg/150.0.0.0"
    )
    assert browser_and_system(apple) == ("Safari 19", "iOS")
    assert browser_and_system(edge) == ("Edge 150", "Windows")
    assert browser_and_system("curl/8") == ("", "")


@pytest.fixture
def served(tmp_path, tmp_path_factory):
    """`(address) -> RemoteBench` of a tiny package, its results below tmp_path."""
    run = tiny_run("llama", tmp_path_factory)
    package = run / "export/package"
    device_plan = plan(CONFIG, package, read_jsonl(run / "data/test.jsonl"), "auto")
    return lambda **options: RemoteBench(device_plan, package, tmp_path / "received", **options)


def request(server, method, path, body=None, headers=None, host=None):
    address = urllib.parse.urlsplit(server.url)
    if address.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", address.port, context=context, timeout=10)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=10)
    connection.request(method, path, body, {"Host": host or f"127.0.0.1:{address.port}", **(headers or {})})
    return connection.getresponse().status


def test_nothing_is_served_without_the_code(served):
    with served() as server:
        path = urllib.parse.urlsplit(server.url).path
        code = path.split("/")[1]
        assert len(code) == 16 and request(server, "GET", path) == 200
        assert request(server, "GET", f"/{code}/model/config.json") == 200
        for other in (
            "/",
            "/remote.html",
            "/model/config.json",
            f"/{code[:-1]}/remote.html",
            f"/{code}/node_modules/x",
            f"/{code}/bench.html",
            f"/{code}/../{code[::-1]}/plan.json",
        ):
            assert request(server, "GET", other) == 404, other
        assert request(server, "GET", path, host="elsewhere.example") == 421


def test_a_code_takes_one_result_and_only_a_signed_one(served, tmp_path):
    received = []
    with served(on_result=received.append) as server:
        code = urllib.parse.urlsplit(server.url).path.split("/")[1]
        body = json.dumps(result()).encode()
        right = {"X-Signature": signature_of(code, body)}
        assert request(server, "POST", f"/{code}/result", body, {"X-Signature": "0" * 64}) == 400
        assert request(server, "POST", f"/{code}/result", b"", right | {"Content-Length": str((1 << 20) + 1)}) == 413
        assert request(server, "POST", f"/{code}/result", b"", right | {"Content-Length": "9" * 5000}) == 413
        assert request(server, "POST", "/result", body, right) == 404
        assert request(server, "POST", f"/{code}/result", body, right, host="elsewhere.example") == 421
        assert not (tmp_path / "received").exists()
        assert request(server, "POST", f"/{code}/result", body, right) == 204
        assert [one.name for one in received] == ["Pixel 9"] and len(list((tmp_path / "received").iterdir())) == 1
        assert code not in server.url
        assert request(server, "POST", f"/{code}/result", body, right) == 404
        assert request(server, "GET", f"/{code}/remote.html") == 404


@pytest.mark.browser
def test_a_browser_measures_over_https_and_its_result_arrives(served, tmp_path, tmp_path_factory, monkeypatch):
    # Open as to the network, with a certificate, but on this machine's own address only.
    monkeypatch.setattr("tinsmith.bench.remote_server._EVERYWHERE", "127.0.0.1")
    monkeypatch.setattr("tinsmith.bench.remote_server.local_address", lambda: "127.0.0.1")
    with served(is_open=True) as server, Browser(webgpu="none", flags=("--ignore-certificate-errors",)) as browser:
        assert server.url.startswith("https://")
        page = browser.open(server.url)
        page.evaluate("document.getElementById('name').value = '<b>Küche</b> | 1'")
        page.evaluate("document.getElementById('start').click()")
        page.wait_for("/Done|Nothing/.test(document.getElementById('state').textContent)", 120)
        assert page.evaluate("document.getElementById('state').textContent").startswith("Done: the result was sent")
        assert not page.exceptions and not [text for kind, text in page.console if kind == "error"]
        assert page.evaluate("caches.keys().then((keys) => keys.length)") == 0
    out = tmp_path / "out"
    taken = run_stage(record_results, tiny_run("llama", tmp_path_factory) / "export", tmp_path / "received", out)
    values = {m.id: m.value for m in taken.measurements}
    assert values["remote.1.wasm.decode_tokens_per_second"] > 0 and values["remote.1.wasm.prompt_tokens.120"] <= 120
    device = read_json(out / "1.json")
    assert device["name"] == "<b>Küche</b> | 1" and device["backends"]["wasm"]["placement"]["CPUExecutionProvider"] > 10


def test_the_command_prints_an_address_and_puts_the_device_on_the_card(tmp_path, tmp_path_factory):
    """The command itself, from its first address to the end of its time; the card's part is in tests/card."""
    run = tmp_path / "run"
    shutil.copytree(tiny_run("llama", tmp_path_factory), run)
    write_json(run / "config.json", {"data": {"path": "x"}})
    mark_run(RunDir(run), None)
    command = [sys.executable, "-m", "tinsmith", "bench", str(run), "--remote"]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2 and "there is no benchmark yet" in refused.stderr
    write_json(run / "stamps/bench.json", {})
    (run / "bench").mkdir()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A shell has its background jobs ignore interrupts, and so would what they start.
    with subprocess.Popen(command, **pipes, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as process:
        try:
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:") and url.endswith("/remote.html")
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert "serves the model" in stderr and "no text from your conversations" in stderr
    assert "this machine only" in stderr and "nothing was changed" in stderr and process.returncode == 0


def test_options_of_the_page_need_it(tmp_path):
    write_json(tmp_path / "config.json", {"data": {"path": "x"}})
    mark_run(RunDir(tmp_path), None)
    done = subprocess.run(
        [sys.executable, "-m", "tinsmith", "bench", str(tmp_path), "--lan"], capture_output=True, text=True
    )
    assert done.returncode == 2 and "--lan and --port go with --remote" in done.stderr
