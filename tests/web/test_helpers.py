"""Several workers in shared memory unpack the same weights as one thread, and the page works without them."""

import json
import subprocess

import pytest

from packages import tiny_run
from tinsmith.browser.chromium import Browser
from tinsmith.browser.runtime import WEB_DIR
from tinsmith.browser.serve import SiteServer

pytestmark = pytest.mark.browser

SCRIPT = """(async () => {
  const { Unpackers, unpack } = await import("./unpack.js");
  const { FileBuffer } = await import("./files.js");
  const plan = await (await fetch("./model/onnx/model_int8.json")).json();
  const bytes = new Uint8Array(await (await fetch("./model/onnx/model_q4.onnx_data")).arrayBuffer());
  // The same bytes as two files, of which products read one or the other.
  plan.products.forEach((product, index) => product.parts.forEach((part) => (part.file = index % 2 ? "odd" : "even")));
  const digest = async (data) => [...new Uint8Array(await crypto.subtle.digest("SHA-256", data.slice()))]
    .map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const results = { alone: await digest(unpack(plan, new Map([["odd", bytes], ["even", bytes]]))), taken: [] };
  for (const count of [1, 3]) {
    const arrived = new Int32Array(new SharedArrayBuffer(12));
    const room = () => new Uint8Array(new SharedArrayBuffer(bytes.length));
    const [odd, even] = [0, 1].map((file) => new FileBuffer(room(), (received) => {
      Atomics.store(arrived, file, received);
      Atomics.add(arrived, 2, 1);
      Atomics.notify(arrived, 2);
    }));
    const workers = new Unpackers(count);
    await workers.begin(plan, new Map([["odd", odd.bytes], ["even", even.bytes]]), arrived);
    const taken = () => Atomics.load(workers.work.next, 0) + Atomics.load(workers.work.next, 1);
    const within = async (seconds, is) => {
      const end = Date.now() + 1000 * seconds;
      while (!is() && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 5));
    };
    const half = bytes.length >> 1;
    even.append(bytes.subarray(0, half)); // the other file has not begun
    await within(10, () => taken() > 0);
    results.taken.push(taken());
    odd.append(bytes);
    even.append(bytes.subarray(half));
    results[count] = await digest(await workers.finish());
    workers.end();
  }
  return results;
})()"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return tiny_run("llama", tmp_path_factory) / "export/package"


def test_any_number_of_workers_makes_the_same_while_bytes_come(package, tmp_path):
    (tmp_path / "plain.html").write_text("<!doctype html><title>no policy of its own</title>")
    with (
        SiteServer({"/": WEB_DIR, "/model/": package, "/plain.html": tmp_path / "plain.html"}) as server,
        Browser() as browser,
    ):
        results = browser.open(f"{server.origin}/plain.html").evaluate(SCRIPT, 60)
    taken = results.pop("taken")
    assert min(taken) >= 1  # while nothing had come of one file, and half of the other
    assert set(results.values()) == {json.loads((package / "onnx/model_int8.json").read_text())["sha256"]}


BROKEN = "throw new Error('no helper');"
FAILS_AT_WORK = "onmessage = () => { throw new Error('no work'); }; postMessage('ready');"


@pytest.mark.parametrize("helper", ["", BROKEN, FAILS_AT_WORK])
def test_the_page_loads_with_workers_and_without(package, runtime, helper, tmp_path):
    mounts = {"/": WEB_DIR, "/runtime/": runtime, "/model/": package}
    if helper:
        (tmp_path / "broken.js").write_text(helper)
        mounts["/unpack_worker.js"] = tmp_path / "broken.js"
    with SiteServer(mounts) as server, Browser() as browser:
        page = browser.open(f"{server.origin}/bench.html")
        page.wait_for("globalThis.bench")
        ready = page.evaluate('bench.load({modelUrl: "./model/", device: "wasm"})', 60)
        done = page.evaluate(
            'bench.generate({messages: [{role: "user", content: "tea"}], maxNewTokens: 2, minNewTokens: 2})', 60
        )
        fetched = [one.url.rpartition("/")[2] for one in page.requests]
    assert ready["graph"] == "int8_page" and len(done["tokenIds"]) == 2
    assert "unpack_worker.js" in fetched


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("unpack.js", "const data = new Uint8Array(plan.bytes);", "const data = new Uint8Array(2 ** 53);"),
        ("unpack.js", "new SharedArrayBuffer(plan.bytes)", "new SharedArrayBuffer(2 ** 53)"),
        ("files.js", "buffer.bytes.slice()", "(() => { throw new RangeError('Array buffer allocation failed'); })()"),
    ],
)
def test_without_memory_the_4_bit_graph_runs(package, runtime, file, old, new, tmp_path):
    """Or the page unpacks by itself, where only the workers' result finds no room."""
    text = (WEB_DIR / file).read_text()
    assert text.count(old) == 1
    (tmp_path / file).write_text(text.replace(old, new))
    (tmp_path / "unpack_worker.js").write_text("postMessage('ready');" if "Shared" in new else BROKEN)
    mounts = {
        "/": WEB_DIR,
        "/runtime/": runtime,
        "/model/": package,
        f"/{file}": tmp_path / file,
        "/unpack_worker.js": tmp_path / "unpack_worker.js",
    }
    with SiteServer(mounts) as server, Browser() as browser:
        page = browser.open(f"{server.origin}/bench.html")
        page.wait_for("globalThis.bench")
        ready = page.evaluate('bench.load({modelUrl: "./model/", device: "wasm"})', 60)
        done = page.evaluate(
            'bench.generate({messages: [{role: "user", content: "tea"}], maxNewTokens: 2, minNewTokens: 2})', 60
        )
    assert ready["graph"] == ("int8_page" if "Shared" in new else "float32") and len(done["tokenIds"]) == 2


@pytest.mark.parametrize(
    ("device", "largest"),
    [
        ('{deviceMemory: 8, userAgent: "Chrome"}', "gemma-3-1b"),
        ('{deviceMemory: 4, userAgent: "Chrome Android"}', "gemma-3-270m"),
        ('{deviceMemory: 0.5, userAgent: "Chrome Android"}', None),
        ('{userAgent: "Macintosh Safari"}', "gemma-3-1b"),
        ('{userAgent: "iPhone Mobile Safari"}', "gemma-3-270m"),
    ],
)
def test_small_devices_are_spared(device, largest):
    """Where the unpacked weights would not fit, the 4-bit graph runs; a phone ends a tab that takes too much."""
    code = f"""import {{ hasRoom }} from '{WEB_DIR}/loader.js';
        console.log(JSON.stringify([268e6, 1003e6].map((bytes) => hasRoom(bytes, {device}))));"""
    fits = json.loads(
        subprocess.run(["node", "--input-type=module", "-e", code], capture_output=True, text=True, check=True).stdout
    )
    assert fits == [largest is not None, largest == "gemma-3-1b"]
