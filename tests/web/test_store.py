"""Broken downloads, damaged files, new versions, no network and no room, with a real server and browser."""

import json
import shutil
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from packages import tiny_run
from tinsmith.browser.chromium import Browser
from tinsmith.browser.page import BrowserError
from tinsmith.browser.runtime import WEB_DIR
from tinsmith.browser.serve import ISOLATION_HEADERS
from tinsmith.core.run_dir import file_sha256

pytestmark = pytest.mark.browser

WEIGHTS = "onnx/model_q4.onnx_data"
TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".html": "text/html",
    ".json": "application/json",
}


class Host:
    """A host of the page and a package that can be made to fail."""

    def __init__(self, runtime: Path, package: Path):
        self.folders = {"/model/": package, "/runtime/": runtime, "/": WEB_DIR}
        self.package = package
        self.requests: list[tuple[str, str]] = []
        """Requests for the package: file and range, in order."""
        self.breaks_after: list[int] = []
        """For the next requests for the weights: bytes after which the connection breaks."""
        self.is_down = False
        self.is_busy_for = 0
        """For as many requests for the package the host answers 503."""
        self.stalls = 0
        """So many requests for the weights get half of them and then nothing, without an end."""
        self.damages = 0
        """So many requests for the weights get other bytes."""
        self.takes_ranges = True
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                host.answer(self)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.origin = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, handler):
        path = handler.path.partition("?")[0]
        prefix = next(prefix for prefix in self.folders if path.startswith(prefix))
        file = self.folders[prefix] / path[len(prefix) :]
        name, wanted = path[len(prefix) :], handler.headers.get("Range", "")
        if prefix == "/model/":
            self.requests.append((name, wanted))
            if self.is_down:
                return self.hang_up(handler)
            if self.is_busy_for:
                self.is_busy_for -= 1
                return handler.send_error(503)
        if not file.is_file():
            return handler.send_error(404)
        data, start = file.read_bytes(), 0
        if wanted and self.takes_ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(data) > 0:
            return handler.send_error(416)
        handler.send_response(206 if start else 200)
        headers = {
            **ISOLATION_HEADERS,
            "Content-Type": TYPES.get(file.suffix, "application/octet-stream"),
            "Content-Length": str(len(data) - start),
        }
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        for key, value in headers.items():
            handler.send_header(key, value)
        handler.end_headers()
        if name == WEIGHTS and self.damages:
            self.damages -= 1
            data = bytes(byte ^ 0x5A for byte in data)
            handler.wfile.write(data[: len(data) // 2])
            time.sleep(1)  # for the browser to make something of them
            return handler.wfile.write(data[len(data) // 2 :])
        if name == WEIGHTS and self.breaks_after:
            handler.wfile.write(data[start : start + self.breaks_after.pop(0)])
            return self.hang_up(handler)
        if name == WEIGHTS and self.stalls:
            self.stalls -= 1
            handler.wfile.write(data[start : start + (len(data) - start) // 2])
            time.sleep(4)
            return self.hang_up(handler)
        handler.wfile.write(data[start:])

    def hang_up(self, handler):
        handler.wfile.flush()
        time.sleep(0.3)  # for the browser to hand on what it got
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)

    def ranges_of(self, name):
        return [wanted for file, wanted in self.requests if file == name]


@pytest.fixture
def visit(runtime, tmp_path, tmp_path_factory):
    """(host, open a page on it) with an empty browser."""
    shutil.copytree(tiny_run("llama", tmp_path_factory) / "export/package", tmp_path / "package")
    host = Host(runtime, tmp_path / "package")
    with Browser(webgpu="none") as browser:

        def page():
            opened = browser.open(f"{host.origin}/bench.html")
            opened.wait_for("!!globalThis.bench")
            return opened

        yield host, page
    host.server.shutdown()
    host.server.server_close()


def load(page):
    return page.evaluate(f"bench.load({json.dumps({'modelUrl': './model/', 'device': 'wasm'})})", 60)


def test_a_broken_download_resumes_where_it_stopped(visit):
    host, page = visit
    size = (host.package / WEIGHTS).stat().st_size
    host.breaks_after = [1000, 20_000]
    assert load(page())["isKept"] is True
    first, second, third = host.ranges_of(WEIGHTS)
    assert first == "" and second.startswith("bytes=") and third.startswith("bytes=")
    at = [int(wanted.removeprefix("bytes=").removesuffix("-")) for wanted in (second, third)]
    assert 0 < at[0] <= 1000 < at[1] <= 21_000 < size


def test_a_host_without_ranges_starts_again(visit):
    host, page = visit
    host.takes_ranges = False
    host.breaks_after = [5000]
    load(page())
    assert len(host.ranges_of(WEIGHTS)) == 2


def test_a_later_visit_resumes_where_an_earlier_one_gave_up(visit):
    host, page = visit
    host.breaks_after = [3000, 0, 0, 0, 0, 0]
    with pytest.raises(
        BrowserError, match=r"onnx_data: the connection broke 5 times .* resume the download where it stopped"
    ):
        load(page())
    host.breaks_after = []
    host.requests.clear()
    load(page())
    (wanted,) = host.ranges_of(WEIGHTS)
    assert 0 < int(wanted.removeprefix("bytes=").removesuffix("-")) <= 3000
    assert host.ranges_of("tokenizer.json") == []  # that one was whole


def test_a_second_visit_only_checks_for_a_new_version(visit):
    host, page = visit
    load(page())
    host.requests.clear()
    ready = load(page())
    assert [name for name, _ in host.requests] == ["SHA256SUMS"]
    assert {WEIGHTS, "config.json", "tokenizer.json"} <= set(ready["files"])


def test_cached_files_are_verified_before_they_are_used(visit):
    host, page = visit
    opened = page()
    load(opened)
    part = json.dumps(f"{host.origin}/model/{WEIGHTS}?part0")
    opened.evaluate(
        f"""(async () => {{
      const cache = await caches.open((await caches.keys())[0]);
      const bytes = new Uint8Array(await (await cache.match({part})).arrayBuffer());
      bytes[1000] ^= 1;
      await cache.put({part}, new Response(bytes));
    }})()""",
        30,
    )
    host.requests.clear()
    load(opened)
    assert host.ranges_of(WEIGHTS) == [""]  # anew, from the start
    host.requests.clear()
    load(opened)
    assert host.ranges_of(WEIGHTS) == []


def test_a_file_that_another_page_is_caching_is_not_cached_twice(visit):
    host, page = visit
    other, opened = page(), page()
    kept = """caches.keys().then((names) => caches.open(names[0])).then((cache) => cache.keys())
      .then((requests) => requests.map((request) => request.url))"""
    name = json.dumps(f"tinsmith {host.origin}/model/{WEIGHTS}")
    other.evaluate(
        f"void navigator.locks.request({name}, () => new Promise((resolve) => (globalThis.release = resolve)))"
    )
    other.wait_for("!!globalThis.release")
    assert load(opened)["device"] == "wasm"
    urls = opened.evaluate(kept, 30)
    assert not any(WEIGHTS in url for url in urls) and any("tokenizer.json" in url for url in urls)
    other.evaluate("release()")
    load(opened)
    assert any(url.endswith(f"{WEIGHTS}?whole") for url in opened.evaluate(kept, 30))


def test_a_busy_host_is_retried_and_a_cached_version_used_meanwhile(visit):
    host, page = visit
    opened = page()
    host.is_busy_for = 1
    with pytest.raises(BrowserError, match=r"SHA256SUMS answered 503"):
        load(opened)
    opened.evaluate(
        """(async () => {
      const { Store } = await import("./store.js");
      globalThis.store = await Store.open(new URL("./model/", location.href));
    })()""",
        30,
    )
    host.is_busy_for = 2
    assert opened.evaluate("store.json('config.json').then((config) => config.model_type)", 30) == "llama"
    assert len(host.ranges_of("config.json")) == 3
    load(opened)
    host.is_busy_for = 1
    assert WEIGHTS in load(opened)["files"]


def test_a_stalled_download_is_requested_again(visit):
    host, page = visit
    host.stalls = 1
    size = page().evaluate(
        f"""(async () => {{
      const {{ Store }} = await import("./store.js");
      const store = await Store.open(new URL("./model/", location.href));
      store.stallTimeoutMs = 1500;
      return (await store.file({json.dumps(WEIGHTS)})).size;
    }})()""",
        30,
    )
    assert size == (host.package / WEIGHTS).stat().st_size
    first, second = host.ranges_of(WEIGHTS)
    assert first == "" and 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= size // 2


def publish_new_version(host):
    """Put a new version of the package on the host: other settings, the same weights."""
    settings, sums = host.package / "generation_config.json", host.package / "SHA256SUMS"
    before = file_sha256(settings)
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "version": time.time()}))
    sums.write_text(sums.read_text().replace(before, file_sha256(settings)))


def kept_versions(page):
    return page.evaluate("caches.keys()")


def test_a_new_version_replaces_the_old_one(visit):
    host, page = visit
    load(page())
    publish_new_version(host)
    host.requests.clear()
    opened = page()
    load(opened)
    assert host.ranges_of(WEIGHTS) == [""]
    assert len(kept_versions(opened)) == 1
    host.is_down = True
    assert WEIGHTS in load(opened)["files"]


def test_the_old_version_stays_until_the_new_one_has_arrived(visit):
    host, page = visit
    load(page())
    publish_new_version(host)
    host.breaks_after = [3000, 0, 0, 0, 0, 0]
    with pytest.raises(BrowserError, match="the connection broke 5 times"):
        load(page())
    host.breaks_after = []
    opened = page()
    assert len(kept_versions(opened)) == 2
    host.is_down = True
    host.requests.clear()
    assert WEIGHTS in load(opened)["files"]  # the old version, whole
    assert host.ranges_of(WEIGHTS) == []
    host.is_down = False
    load(opened)
    (wanted,) = host.ranges_of(WEIGHTS)
    assert wanted.startswith("bytes=")  # the new version's download goes on where it stopped
    assert len(kept_versions(opened)) == 1


def test_the_old_version_stays_where_the_new_one_is_damaged(visit):
    host, page = visit
    load(page())
    publish_new_version(host)
    weights = host.package / WEIGHTS
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BrowserError, match="is damaged or belongs to another version"):
        load(page())
    host.is_down = True
    assert WEIGHTS in load(page())["files"]


def test_a_version_that_never_arrived_is_removed_for_a_newer_one(visit):
    host, page = visit
    host.breaks_after = [3000, 0, 0, 0, 0, 0]
    with pytest.raises(BrowserError, match="the connection broke 5 times"):
        load(page())
    host.breaks_after = [3000, 0, 0, 0, 0, 0]
    publish_new_version(host)
    opened = page()
    with pytest.raises(BrowserError, match="the connection broke 5 times"):
        load(opened)
    assert len(kept_versions(opened)) == 1


def test_without_room_for_two_versions_the_old_one_goes_first_and_says_why(visit):
    host, page = visit
    opened = page()
    load(opened)
    (old,) = kept_versions(opened)
    publish_new_version(host)
    used = opened.evaluate("navigator.storage.estimate().then(({ usage }) => usage)")
    opened._browser.call(
        "Storage.overrideQuotaForOrigin", {"origin": host.origin, "quotaSize": int(used * 1.5)}, opened._session
    )
    assert load(opened)["isKept"] is True
    (new,) = kept_versions(opened)
    assert new != old
    reasons = [text for kind, text in opened.console if kind == "info"]
    assert reasons and all("no room for two versions of the model (QuotaExceeded" in reason for reason in reasons)
    host.is_down = True
    assert WEIGHTS in load(opened)["files"]


def test_what_was_made_of_damaged_bytes_is_not_used(visit):
    """Weights are unpacked while they arrive, before they are proved."""
    host, page = visit
    host.damages = 1
    answers = []
    for downloads in (2, 0):
        host.requests.clear()
        opened = page()
        load(opened)
        assert len(host.ranges_of(WEIGHTS)) == downloads
        answer = "bench.generate({messages: [{role: 'user', content: 'Tea?'}], maxNewTokens: 24, minNewTokens: 24})"
        answers.append(opened.evaluate(answer, 60)["tokenIds"])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("change", [lambda data: data + b"more", lambda data: data[:-64]])
def test_a_file_of_another_size_is_refused(visit, change):
    host, page = visit
    weights = host.package / WEIGHTS
    weights.write_bytes(change(weights.read_bytes()))
    with pytest.raises(BrowserError, match="is damaged or belongs to another version"):
        load(page())


@pytest.mark.parametrize("more", [64, -64])
def test_a_plan_for_another_file_is_refused(visit, more):
    host, page = visit
    plan, sums = host.package / "onnx/model_int8.json", host.package / "SHA256SUMS"
    content, old = json.loads(plan.read_text()), file_sha256(plan)
    content["files"][WEIGHTS.rpartition("/")[2]] += more
    plan.write_text(json.dumps(content))
    sums.write_text(sums.read_text().replace(old, file_sha256(plan)))
    with pytest.raises(
        BrowserError,
        match=r"onnx_data has [0-9]+ bytes, but the package plans for [0-9]+|is shorter than its plan says",
    ):
        load(page())


def test_a_damaged_file_is_named_and_not_cached(visit):
    host, page = visit
    weights = host.package / WEIGHTS
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(
        BrowserError,
        match=r"onnx_data is damaged or belongs to another version: its SHA-256 is [0-9a-f]{64}, SHA256SUMS says",
    ):
        load(page())
    weights.write_bytes(whole)
    host.requests.clear()
    load(page())
    assert host.ranges_of(WEIGHTS) == [""]


def test_without_a_network_the_cached_version_is_used(visit):
    host, page = visit
    host.is_down = True
    with pytest.raises(BrowserError, match=r"SHA256SUMS cannot be reached"):
        load(page())
    host.is_down = False
    load(page())
    host.is_down = True
    assert WEIGHTS in load(page())["files"]


def test_without_room_the_model_runs_from_memory(visit):
    host, page = visit
    opened = page()
    opened._browser.call(
        "Storage.overrideQuotaForOrigin", {"origin": host.origin, "quotaSize": 50_000}, opened._session
    )
    assert load(opened)["isKept"] is False
    done = opened.evaluate("bench.generate({messages: [{role: 'user', content: 'Tea?'}], maxNewTokens: 3})", 60)
    assert 1 <= len(done["tokenIds"]) <= 3


def test_a_browser_that_may_store_nothing_runs_from_memory(visit):
    _, page = visit
    state = page().evaluate(
        """(async () => {
      const refuse = async () => { throw new DOMException("blocked", "SecurityError"); };
      Object.defineProperty(globalThis, "caches", { value: { keys: refuse, open: refuse } });
      const { Store } = await import("./store.js");
      const store = await Store.open(new URL("./model/", location.href));
      return [store.version, (await store.json("config.json")).model_type];
    })()""",
        30,
    )
    assert state == [None, "llama"]


def test_a_folder_without_a_package_is_refused(visit):
    host, page = visit
    (host.package / "SHA256SUMS").write_text("<!doctype html><title>home</title>")
    with pytest.raises(BrowserError, match=r"SHA256SUMS is not a list of checksums; it begins with: <!doctype html>"):
        load(page())
    (host.package / "SHA256SUMS").unlink()
    with pytest.raises(BrowserError, match=r"SHA256SUMS answered 404"):
        load(page())
