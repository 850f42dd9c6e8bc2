"""Time look-ups among many passages, in headless Chromium through the page's own worker.

The passages are a finished run's, repeated with noise in their vectors until there are `--passages` of them. What the
search finds means nothing; only its time counts. The run's own answers get the same questions. Both take turns, ten
questions at a time, so that other work on the machine slows both alike. The last line is one JSON object, `{passages:
{query_ms, slowest_ms}}`: the median and maximum time from a request to the worker's reply, over all rounds.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np
from answers import DEMO_QUESTIONS, PATIENCE_SECONDS
from harness import SEED

from tinsmith.browser.chromium import Browser
from tinsmith.browser.serve import HOST_HEADERS, SiteServer
from tinsmith.core.run_dir import read_json, write_checksums, write_json
from tinsmith.model.answers.q4 import pack_rows, row_bytes, unpack_rows
from tinsmith.model.answers.questions import read_questions

NOISE = 0.02
"""Standard deviation of the noise. The numbers of a vector have one of 0.05."""
TURN = 10
"""Questions in a row for each of the two."""
_START = """(async () => {
  const { ModelClient } = await import("/client.js");
  const open = async (path) => {
    const client = new ModelClient();
    const url = new URL(path, location.href).href;
    const { passages } = await client.ask({ type: "open_answers", url, device: "wasm" });
    return { client, passages };
  };
  globalThis.opened = [await open("/model/answers/"), await open("/many/")];
  globalThis.milliseconds = async (index, question) => {
    const startedAt = performance.now();
    await opened[index].client.ask({ type: "look_up", question, previous: [] });
    return performance.now() - startedAt;
  };
  return { passages: opened.map(({ passages }) => passages), threads: navigator.hardwareConcurrency };
})()"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--run", type=Path, default=Path("runs/demo"), help="a finished run whose answers are published"
    )
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--questions", type=int, default=40, help="look-ups of each folder in a round")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    site = arguments.run / "app"
    asked = [question.question for question in read_questions(DEMO_QUESTIONS) if not question.previous]
    questions = [asked[number * len(asked) // arguments.questions] for number in range(arguments.questions)]
    with tempfile.TemporaryDirectory(prefix="tinsmith-many-") as folder:
        many = Path(folder)
        repeat_answers(site / "model/answers", many, arguments.passages)
        mounts = {"/": site, "/many/": many}
        with SiteServer(mounts, headers=HOST_HEADERS) as server, Browser(webgpu="none") as browser:
            page = browser.open(f"{server.origin}/404.html")
            started = page.evaluate(_START, PATIENCE_SECONDS)
            times: list[list[float]] = [[], []]
            for start in [*range(0, len(questions), TURN)] * arguments.rounds:
                for index in (0, 1):
                    for question in questions[start : start + TURN]:
                        call = f"milliseconds({index}, {json.dumps(question)})"
                        times[index].append(page.evaluate(call, PATIENCE_SECONDS))
    print(f"{len(times[0])} look-ups of each folder, {started['threads']} cores")
    counts = zip(started["passages"], times, strict=True)
    print(json.dumps({n: {"query_ms": statistics.median(ms), "slowest_ms": max(ms)} for n, ms in counts}))


def repeat_answers(source: Path, target: Path, count: int) -> None:
    """Write the answers of `source` to `target`, repeated to `count` passages whose vectors are all different."""
    settings = read_json(source / "answers.json")
    passages = json.loads((source / settings["passages"]).read_text(encoding="utf-8"))
    records = [passages[index % len(passages)] for index in range(count)]
    repeated = [record | {"id": f"{record['id']} {number}"} for number, record in enumerate(records)]
    write_json(target / settings["passages"], repeated)
    generator = np.random.default_rng(SEED)
    for encoder in settings["encoders"]:
        for name in ("graph", "weights", "layout", "tokenizer"):
            shutil.copyfile(source / encoder[name], target / encoder[name])
        packed = np.fromfile(source / encoder["index"], np.uint8).reshape(-1, row_bytes(settings["dimension"]))
        rows = unpack_rows(packed)
        every = np.concatenate([rows] * (count // len(passages) + 1))[: sum(record["rows"] for record in repeated)]
        every += generator.normal(0, NOISE, every.shape).astype(np.float32)
        every /= np.linalg.norm(every, axis=1, keepdims=True)
        (target / encoder["index"]).write_bytes(pack_rows(every).tobytes())
    write_json(target / "answers.json", settings)
    write_checksums(target)


if __name__ == "__main__":
    main()
