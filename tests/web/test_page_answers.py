"""answers.js: what the page finds in a folder of answers is what Python finds, in the page and in the worker."""

import json
import shutil
import subprocess
from dataclasses import asdict

import numpy as np
import pytest

from packages import tiny_run
from shared import build_once
from tinsmith.browser.chromium import Browser
from tinsmith.browser.runtime import WEB_DIR
from tinsmith.browser.serve import SiteServer
from tinsmith.core.run_dir import read_json, write_checksums, write_json
from tinsmith.model.answers.answers import Answers
from tinsmith.model.answers.grams import Overlap
from tinsmith.model.answers.q4 import pack_rows, unpack_rows
from tinsmith.model.answers.ranking import Index, Ranker, RowCounts, Settings
from tiny_answers import QUESTION_TOKENS, tiny_passages, write_tiny_answers

QUESTIONS = [
    "How much is a tin of Assam?",
    "how long does Gyokuro need and how hot is the water",
    "Which garden does Oolong come from?",
    "caffeine in MATCHA!!",
    "Straße naïve İstanbul ÖL ﬁne ①",
    "[SEP] [CLS] tea </s><s> <unk> [UNK] [PAD]",
    "???",
    "zebra",
    "a",
    "tea \U0001f375 \U00010400\U00010428 and 茶の値段",
    "minutes " * 60,
    "How much is a tin of Assam? " + "A pasted page goes on and on. " * 2000,
    "",
]
CONVERSATIONS = [
    [],
    ["What is the price of Sencha?"],
    ["What is the origin of Keemun?", "and the caffeine in Rooibos?"],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_once(tmp_path_factory, "tiny-answers", write_tiny_answers)


def in_node(script):
    """What a JavaScript module prints, as JSON."""
    command = ["node", "--input-type=module", "-e", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=WEB_DIR, check=False)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["words", "pieces"])
def test_weights_are_unpacked_to_the_same_bytes(name, folder):
    digest = in_node(f"""
    import {{ readFileSync }} from "node:fs";
    import {{ createHash }} from "node:crypto";
    import {{ unpackMatrices }} from "./encoder.js";
    const layout = JSON.parse(readFileSync("{folder}/{name}.json", "utf8"));
    const data = unpackMatrices(layout, readFileSync("{folder}/{name}.bin"));
    console.log(JSON.stringify(createHash("sha256").update(data).digest("hex")));""")
    assert digest == read_json(folder / f"{name}.json")["data_sha256"]


def test_overlap_is_pythons():
    texts = [f"{passage.title} {passage.text}" for passage in tiny_passages()] + ["", "a b", "\U00010400\U00010428xy"]
    overlaps = in_node(f"""
    import {{ Overlap }} from "./overlap.js";
    const texts = {json.dumps(texts)};
    const overlap = new Overlap(texts);
    const ofAll = (question) => {{ overlap.setQuestion(question); return texts.map((_, index) => overlap.of(index)); }};
    console.log(JSON.stringify({json.dumps(QUESTIONS)}.map(ofAll)));""")
    expected = Overlap(texts)
    for question, row in zip(QUESTIONS, overlaps, strict=True):
        weights = expected.weights(question)
        assert row == pytest.approx([expected.of(weights, index) for index in range(len(texts))], abs=1e-12), question
    assert sum(map(max, overlaps)) > 3


def test_overlap_by_hand():
    """Three passages; of the question's grams only " cat" is in one of them, and "dogs" in none."""
    rare, unseen = np.log(1 + 2.5 / 1.5), np.log(1 + 3.5 / 0.5)
    # " cat", "cat " against "cats": " cat", "cats", "ats ", of 3 grams; the passages have 3, 3 and 1.
    share = 2.2 / (1 + 1.2 * (0.5 + 0.5 * 3 / (7 / 3)))
    expected = rare * share / (rare + unseen)
    script = """
    import { Overlap } from "./overlap.js";
    const overlap = new Overlap(["cats", "BIRD", "x"]);
    overlap.setQuestion("Cat, cat");
    console.log(JSON.stringify([0, 1, 2].map((passage) => overlap.of(passage))));"""
    assert in_node(script) == pytest.approx([expected, 0, 0], abs=1e-12)


@pytest.mark.parametrize("sentence_candidates", [0, 50, 1000])
def test_closeness_is_pythons(sentence_candidates, tmp_path):
    generator = np.random.default_rng(1)
    questions_of = generator.integers(0, 3, 300).tolist()
    counts = [
        RowCounts(int(texts) + asked, asked)
        for texts, asked in zip(generator.integers(2, 6, 300), questions_of, strict=True)
    ]
    rows = generator.normal(size=(2, sum(count.rows for count in counts), 96))
    packed = [pack_rows((one / np.linalg.norm(one, axis=1, keepdims=True)).astype(np.float32)) for one in rows]
    questions = generator.normal(size=(5, 2, 96)).astype(np.float32)
    questions /= np.linalg.norm(questions, axis=2, keepdims=True)
    for index, content in enumerate(packed):
        (tmp_path / f"{index}.bin").write_bytes(content.tobytes())
    spreads = [(0.1, 0.2), (-0.3, 0.05)]
    closeness = in_node(f"""
    import {{ readFileSync }} from "node:fs";
    import {{ Vectors }} from "./vectors.js";
    const indexes = {json.dumps(spreads)}.map(([mean, deviation], index) => {{
      const packed = readFileSync(`{tmp_path}/${{index}}.bin`);
      return {{ name: "index", packed, dimension: 96, mean, deviation }};
    }});
    const limits = {{ sentenceCandidates: {sentence_candidates}, questionMargin: 0.5 }};
    const vectors = new Vectors({json.dumps([asdict(count) for count in counts])}, indexes, limits);
    const compare = (question) => [...vectors.compare(question.map((vector) => Float32Array.from(vector)))];
    console.log(JSON.stringify({questions.tolist()}.map(compare)));""")
    indexes = [Index(unpack_rows(content), *spread) for content, spread in zip(packed, spreads, strict=True)]
    ranker = Ranker(counts, indexes, Overlap([]), Settings(50, 1.5, sentence_candidates, 0.5))
    for question, row in zip(questions, closeness, strict=True):
        assert row == pytest.approx(ranker.closeness(list(question)).tolist(), abs=1e-4)


def test_the_largest_values_and_the_first_of_equals():
    script = """
    import { largest } from "./vectors.js";
    const values = Float64Array.of(1, 5, 3, 5, 3, 3);
    console.log(JSON.stringify([0, 1, 2, 3, 4, 6, 9].map((count) => largest(values, count))));"""
    order = [1, 3, 2, 4, 5, 0]
    assert in_node(script) == [order[:count] for count in (0, 1, 2, 3, 4, 6, 9)]


def test_an_index_of_other_passages_is_refused():
    script = """
    import { Vectors } from "./vectors.js";
    const index = { name: "e5.index.bin", packed: new Uint8Array(18), dimension: 32, mean: 0, deviation: 1 };
    const counts = [{ rows: 2, questions: 0 }];
    try { new Vectors(counts, [index], {}); } catch (error) { console.log(JSON.stringify(error.message)); }"""
    assert in_node(script) == "e5.index.bin has 18 bytes, but the vectors of the passages take 36."


def assert_pythons(ranked, expected):
    """The page's ranking equals Python's `Ranked`; order may differ among passages whose scores are nearly equal."""
    assert ranked["usedPrevious"] == expected.used_previous
    assert ranked["rung"] == expected.rung
    assert ranked["confidence"] == pytest.approx(expected.confidence, abs=1e-3)
    scores = [scored.score for _, scored in expected.passages]
    assert [one["score"] for one in ranked["passages"]] == pytest.approx(scores, abs=1e-3)
    distances = np.abs(np.diff([9, *scores, -9]))
    for place, (one, (passage, scored)) in enumerate(zip(ranked["passages"], expected.passages, strict=True)):
        if min(distances[place], distances[place + 1]) > 2e-3:
            assert one["passage"]["id"] == passage.id
            assert one["overlap"] == pytest.approx(scored.overlap, abs=1e-9)
            assert one["closeness"] == pytest.approx(scored.closeness, abs=1e-3)


IN_PAGE = """(async () => {
  const { Answers } = await import("./answers.js");
  const { PreTrainedTokenizer } = await import("./runtime/transformers.wasm.js");
  const ort = await import("./runtime/ort.wasm.bundle.min.mjs");
  ort.env.wasm.wasmPaths = { wasm: new URL("./runtime/ort-wasm-simd-threaded.wasm", location.href).href };
  ort.env.wasm.numThreads = 1;
  const files = new Set();
  const answers = await Answers.open(URL_, { PreTrainedTokenizer, ort }, ({ file }) => files.add(file));
  const results = [];
  for (const [question, previous] of LOOK_UPS) results.push(await answers.lookUp(question, previous));
  const tokens = answers.encoders.map((encoder) => LOOK_UPS.map(([question]) => encoder.tokenIds(question)));
  return { results, tokens, files: [...files].sort(), count: answers.passages.length };
})()"""


@pytest.fixture
def page(runtime, folder, tmp_path_factory):
    package = tiny_run("llama", tmp_path_factory) / "export/package"
    mounts = {"/": WEB_DIR, "/runtime/": runtime, "/answers/": folder, "/model/": package}
    with SiteServer(mounts) as server, Browser(webgpu="none") as browser:
        opened = browser.open(f"{server.origin}/bench.html")
        opened.wait_for("!!globalThis.bench")
        yield opened


@pytest.mark.browser
def test_a_page_finds_what_python_finds(page, folder):
    answers = Answers(folder)
    look_ups = [(question, previous) for question in QUESTIONS for previous in CONVERSATIONS]
    script = IN_PAGE.replace("URL_", '"./answers"').replace("LOOK_UPS", json.dumps(look_ups))
    found = page.evaluate(script, 120)
    assert found["count"] == len(answers.passages)
    assert set(found["files"]) == {path.name for path in folder.iterdir()} - {"SHA256SUMS"}
    for encoder, rows in zip(answers.encoders, found["tokens"], strict=True):
        for (question, _), ids in zip(look_ups, rows, strict=True):
            assert ids == encoder.query_tokens(question), (encoder.name, question)
            assert len(ids) <= QUESTION_TOKENS
    rungs, follow_ups = set(), set()
    for (question, previous), ranked in zip(look_ups, found["results"], strict=True):
        assert_pythons(ranked, answers.look_up(question, previous))
        rungs.add(ranked["rung"])
        follow_ups.add((ranked["usedPrevious"], ranked["confidence"] > 0))
    assert len(rungs) > 1
    assert follow_ups == {(True, True), (True, False), (False, True)}, "found together, only for the one before, alone"
    best = found["results"][0]["passages"][0]["passage"]
    assert best in [
        {key: value for key, value in record.items() if key != "wordings" and not key.endswith("rows")}
        for record in read_json(folder / "passages.json")
    ]


IN_WORKER = """(async () => {
  const { ModelClient } = await import("./client.js");
  const client = new ModelClient();
  const lookUps = LOOK_UPS;
  const [events, ranked, problems] = [[], [], []];
  let isLoading = true;
  const lookUp = async (number) => {
    const [question, previous] = lookUps[number % lookUps.length];
    const asking = client.ask({ type: "look_up", question, previous });
    const fail = (error) => problems.push(error.message);
    await asking.then((reply) => ranked.push([number % lookUps.length, reply]), fail);
  };
  const lookUpWhileLoading = async () => {
    for (let number = 0; isLoading || number < lookUps.length; number++) await lookUp(number);
  };
  const onEvent = (event) => events.push(event);
  const failed = (error) => ({ error: error.message });
  const opening = client.ask({ type: "open_answers", url: ANSWERS, device: DEVICE }, onEvent).catch(failed);
  if (!TOGETHER) await opening;
  const loading = client.load({ modelUrl: MODEL, device: DEVICE, engine: ENGINE }, onEvent).catch(failed);
  const opened = await opening;
  const lookingUp = Promise.all(Array.from({ length: LOOPS }, lookUpWhileLoading));
  const ready = await loading;
  const early = ranked.length;
  isLoading = false;
  await lookingUp;
  const messages = [{ role: "user", content: "What does the green tea cost?" }];
  const request = { type: "generate", messages, maxNewTokens: 12, minNewTokens: 12 };
  const generating = ready.error ? null : client.ask(request);
  await Promise.all(lookUps.map((_, number) => lookUp(number)));
  const tokenIds = generating && (await generating).tokenIds;
  client.close();
  return { events, opened, ready, ranked, problems: [...new Set(problems)], early, tokenIds };
})()"""
LOOK_UPS = [(question, previous) for question in QUESTIONS[:4] for previous in CONVERSATIONS[:2]]


def in_worker(page, model="./model/", answers="./answers/", device="wasm", engine="own", loops=1, together=False):
    """Open answers, then or together with that load a model, and look up all the while and after."""
    script = IN_WORKER.replace("LOOK_UPS", json.dumps(LOOK_UPS)).replace("DEVICE", json.dumps(device))
    script = script.replace("ENGINE", json.dumps(engine))
    script = script.replace("LOOPS", str(loops)).replace("TOGETHER", json.dumps(together))
    addresses = [f"new URL({json.dumps(url)}, location.href).href" for url in (model, answers)]
    return page.evaluate(script.replace("MODEL", addresses[0]).replace("ANSWERS", addresses[1]), 180)


def assert_all_pythons(ranked, folder):
    """Every reply during and after loading is Python's; each question was asked at least twice."""
    answers = Answers(folder)
    expected = [answers.look_up(question, previous) for question, previous in LOOK_UPS]
    assert len(ranked) >= 2 * len(LOOK_UPS)
    for number, reply in ranked:
        assert_pythons(reply, expected[number])


@pytest.mark.browser
def test_the_worker_looks_up_while_the_model_loads_and_after(page, folder):
    result = in_worker(page)
    opened = result["opened"]
    settings = read_json(folder / "answers.json")
    assert opened["passages"] == len(tiny_passages()) and opened["isKept"]
    assert (opened["fallback"], opened["unknown"]) == (settings["fallback"], settings["unknown"])
    assert opened["thresholds"] == {"sure": 0.6, "likely": 0.2, "minCloseness": 0.4}
    files = [event["file"] for event in result["events"] if event["type"] == "progress"]
    assert {"words.bin", "pieces.index.bin"} <= set(files)
    assert result["problems"] == [] and len(result["tokenIds"]) == 12
    assert result["early"] > 0
    assert_all_pythons(result["ranked"], folder)
    again = in_worker(page)
    assert again["tokenIds"] == result["tokenIds"]
    fetched = [request.url for request in page.requests if "/answers/" in request.url]
    assert len(fetched) == len(set(fetched)) + 1 and fetched[-1].endswith("/answers/SHA256SUMS")


@pytest.mark.browser
def test_answers_work_without_a_model(page, folder):
    result = in_worker(page, model="./nowhere/")
    assert "SHA256SUMS answered 404" in result["ready"]["error"]
    assert result["problems"] == []
    assert_all_pythons(result["ranked"], folder)


def damaged(folder):
    index = folder / "words.index.bin"
    index.write_bytes(index.read_bytes()[:-1] + b"x")


def missing(folder):
    (folder / "pieces.bin").unlink()


def no_graph(folder):
    (folder / "words.onnx").write_bytes(b"no graph")
    write_checksums(folder)


def too_short(folder):
    layout = read_json(folder / "words.json")
    layout["matrices"][-1]["rows"] += 1000
    write_json(folder / "words.json", layout)
    write_checksums(folder)


def other_passages(folder):
    write_json(folder / "passages.json", read_json(folder / "passages.json")[1:])
    write_checksums(folder)


def no_json(folder):
    (folder / "answers.json").write_text("<!doctype html>")
    write_checksums(folder)


@pytest.mark.browser
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (damaged, "words.index.bin is damaged or belongs to another version: its SHA-256 is "),
        (missing, "pieces.bin answered 404"),
        (no_graph, "protobuf parsing failed"),
        (too_short, "The encoder's file is shorter than its layout says."),
        (other_passages, "index.bin has 7524 bytes, but the vectors of the passages take 7380."),
        (no_json, "answers.json is not JSON; it begins with: <!doctype html>"),
        (shutil.rmtree, "SHA256SUMS answered 404"),
    ],
)
def test_without_usable_answers_the_model_works_alone(damage, problem, runtime, folder, tmp_path, tmp_path_factory):
    package = tiny_run("llama", tmp_path_factory) / "export/package"
    answers = tmp_path / "answers"
    shutil.copytree(folder, answers)
    damage(answers)
    mounts = {"/": WEB_DIR, "/runtime/": runtime, "/answers/": answers, "/model/": package}
    with SiteServer(mounts) as server, Browser(webgpu="none") as browser:
        page = browser.open(f"{server.origin}/bench.html")
        page.wait_for("!!globalThis.bench")
        result = in_worker(page)
    assert problem in result["opened"]["error"]
    assert "error" not in result["ready"] and len(result["tokenIds"]) == 12
    assert result["problems"] == ["No answers are open; send 'open_answers' first."]


@pytest.mark.browser
@pytest.mark.parametrize("engine", ["own", "onnxruntime"])
def test_on_a_gpu_the_encoders_run_beside_the_model(engine, runtime, folder, tmp_path, tmp_path_factory):
    """Beside own kernels the page downloads ONNX Runtime's build for processors alone, for the encoders.

    Where the model falls back to ONNX Runtime, its build for GPUs comes too.
    """
    package = tiny_run("llama", tmp_path_factory) / "export/package"
    answers = tmp_path / "answers"
    shutil.copytree(folder, answers)
    write_json(answers / "answers.json", read_json(folder / "answers.json") | {"fallback": "model"})
    write_checksums(answers)
    mounts = {"/": WEB_DIR, "/runtime/": runtime, "/answers/": answers, "/model/": package}
    with SiteServer(mounts) as server, Browser(webgpu="software") as browser:
        page = browser.open(f"{server.origin}/bench.html")
        page.wait_for("!!globalThis.bench")
        result = in_worker(page, device="webgpu", engine=engine, loops=6, together=True)
        runtimes = {request.url.rpartition("/")[2] for request in page.requests if request.url.endswith(".wasm")}
    for_gpus = {"ort-wasm-simd-threaded.asyncify.wasm"} if engine == "onnxruntime" else set()
    assert runtimes == {"ort-wasm-simd-threaded.wasm"} | for_gpus
    ready = result["ready"]
    assert (ready["device"], ready["engine"]) == ("webgpu", engine), ready["notice"]
    assert result["problems"] == [] and len(result["tokenIds"]) == 12
    assert_all_pythons(result["ranked"], folder)
