"""The rendered pages: the template's structure, marked gaps, escaped words, valid front matter."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

import tinsmith.card
from fake_measurements import records
from fake_run import AUTHOR, STAMPED, write_card, write_run
from stage_runs import run_stage
from tinsmith.card.evidence import read_evidence
from tinsmith.card.facts import Facts, plain
from tinsmith.card.sections import energy, graphs
from tinsmith.card.stage import render_card
from tinsmith.core import measure
from tinsmith.core.config import CardConfig
from tinsmith.core.errors import ArtifactError
from tinsmith.core.run_dir import combined_sha256, file_sha256, read_json, tree_sha256s, write_json

STRUCTURE = """
# Model Card:
## Model Details
- **Model Name**:
- **Model Type**: Causal Language Model (Chat)
- **Base Model**:
- **Fine-tuning Method**:
- **Training Framework**:
- **Quantization**: INT4 (ONNX Runtime)
- **Model Size**: ~
- **Version**:
- **Date**:
- **Author**:
## Intended Use
### Primary Use Cases
### Out-of-Scope Uses
## Training Data
- **Dataset Size**:
- **Data Sources**:
- **Categories**:
### Data Processing
## Training Procedure
- **Hardware**:
- **Training Time**: ~
- **Epochs**:
- **Batch Size**:
- **Learning Rate**:
- **Final Training Loss**:
- **Validation Loss**:
## Evaluation
### Quantitative Metrics
| Metric | Value |
| Training Loss |
| Validation Loss |
| Perplexity (Base) |
| Perplexity (Fine-tuned) |
### Qualitative Assessment
- Accuracy on domain questions:
- Response quality:
- Factual correctness:
### Browser Performance
| Device | Backend | Tokens/sec |
## Limitations
- **Knowledge Cutoff**:
- **Domain Scope**: Limited to
- **Hallucination Risk**: May occasionally generate incorrect information
- **Language**: Primarily
- **Performance**: Slower on devices without WebGPU support
## Ethical Considerations
### Potential Benefits
- Privacy-preserving (runs locally)
- No ongoing costs for users
- Educational value
### Potential Risks
### Mitigations
## How to Use
### Browser (Transformers.js)
```javascript
## Citation
```bibtex
## License
## Contact
- **Author**:
- **Email**:
- **GitHub**:
""".strip().split("\n")


def page_of(run) -> str:
    return (run.stage("card") / "README.md").read_text()


def evidence_of(run) -> str:
    return (run.stage("card") / "EVIDENCE.md").read_text()


def render_evidence(run, monkeypatch) -> str:
    return (write_card(run, monkeypatch) / "EVIDENCE.md").read_text()


def assert_structure(page: str) -> None:
    lines = iter(page.split("\n"))
    for expected in STRUCTURE:
        assert any(line.startswith(expected) for line in lines), f"missing or out of order: {expected}"


def test_every_heading_and_field_of_the_template_is_there_in_its_order(full_run):
    page = page_of(full_run)
    assert_structure(page)
    assert page.count("Not measured") == 1, "the GPU of this machine is an imitation"
    assert "Not stated" not in page


@pytest.mark.parametrize("stages", [STAMPED[:count] for count in range(STAMPED.index("bench") + 1)])
def test_a_partial_run_is_marked_and_never_filled(tmp_path, monkeypatch, stages):
    run = write_run(tmp_path / "tea-bot", stages)
    out_dir = write_card(run, monkeypatch)
    page = (out_dir / "README.md").read_text()
    assert_structure(page)
    assert "- **Author**: Not stated by the author" in page
    assert "- Response quality: Not assessed: type `tinsmith review runs/tea-bot`" in page
    assert (
        "| Not measured: the bench stage has not finished; type `tinsmith run CONFIG` | WASM | Not measured |" in page
    )
    fields = read_json(out_dir / "card.json")["fields"]
    measured = {f["id"].split("/")[0].split(".")[0] for f in fields if f["status"] == "measured"}
    assert measured <= {*stages, "gate", *(["answers"] if "knowledge" in stages else [])}


def test_an_empty_run_has_no_numbers_at_all(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot", ())
    out_dir = write_card(run, monkeypatch)
    assert not list(out_dir.glob("*.png"))
    page = (out_dir / "README.md").read_text() + (out_dir / "EVIDENCE.md").read_text()
    body = re.sub(r"```javascript.*?```", "", page, flags=re.DOTALL)
    allowed = ("INT4", "int4", "95 %", "- **Version**: 1.0.0")
    for text in allowed:
        body = body.replace(text, "")
    assert not re.findall(r".*\d.*", body)


def test_no_placeholder_of_the_template_is_left(full_run):
    assert not re.search(r"\[(X|DATE|Name|Device|Use case|domain|language|Description)|YOUR|Your", page_of(full_run))


def test_the_template_itself_holds_no_number():
    for name in ("model_card.md.j2", "evidence.md.j2", "answers.md.j2"):
        source = (Path(tinsmith.card.__file__).parent / name).read_text()
        body = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", source, flags=re.DOTALL)
        assert not re.findall(r"\d", body.replace("INT4", "").replace("INT8", "")), name


def test_what_only_imitates_a_gpu_comes_last_and_is_not_compared(full_run):
    table = evidence_of(full_run).split("## Speed in Browsers")[1].split("\n\n")[1].split("\n")
    assert len(table) > 4 and "software adapter" in table[-1]
    assert "| WebGPU | Not measured |" in page_of(full_run) and "0.251" not in page_of(full_run)


@pytest.mark.parametrize(("speed", "is_quicker"), [(12.5, True), (4.5, False)])
def test_the_card_says_whether_webgpu_was_quicker(tmp_path, monkeypatch, speed, is_quicker):
    run = write_run(tmp_path / "tea-bot")
    write_json(run.stage("bench") / "webgpu.json", {**read_json(run.stage("bench") / "webgpu.json"), "software": False})
    lines = [json.loads(line) for line in run.measurements.read_text().splitlines()]
    for line in lines:
        line["value"] = speed if line["id"] == "bench.webgpu.decode_tokens_per_second" else line["value"]
    run.measurements.write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_card(run, monkeypatch)
    (line,) = [line for line in page_of(run).split("\n") if line.startswith("- **Performance**")]
    assert f"{speed:.3g}" in line and "8.77 tokens/s" in line
    assert ("but not in this measurement" in line) == (not is_quicker)


def test_a_recipe_whose_perplexity_is_not_a_number_is_marked(tmp_path, monkeypatch):
    """Export records no ratio that is infinite or undefined; the recipe stays in the table with its size and time."""
    run = write_run(tmp_path / "tea-bot")
    lines = run.measurements.read_text().splitlines(keepends=True)
    run.measurements.write_text("".join(line for line in lines if "export.recipe.rtn.perplexity_ratio" not in line))
    page = render_evidence(run, monkeypatch)
    (row,) = [line for line in page.split("\n") if line.startswith("| `rtn`")]
    _, _, made, size, ratio, seconds, count, _ = (cell.strip() for cell in row.split("|"))
    assert (made, size, seconds, count) == ("rounded to nearest", "84 MB", "9.50 s", "")
    assert ratio.startswith("Not measured")


def test_examples_are_the_agreed_ones_in_the_authors_order(tmp_path, monkeypatch):
    examples = AUTHOR["examples"][::-1]
    run = write_run(tmp_path / "tea-bot")
    page = (write_card(run, monkeypatch, {"examples": examples}) / "EVIDENCE.md").read_text()
    shown = re.findall(r"^> \*\*Question\*\*: (.*)$", page, flags=re.MULTILINE)
    assert shown == [example["question"] for example in examples]


@pytest.mark.parametrize(
    ("gone", "rows"),
    [
        (
            (),
            [
                "GPUs",
                "GPUs with `shader-f16`, on the chat page",
                "WASM on the chat page, WASM with Transformers.js alone",
            ],
        ),
        (
            ("model_quantized.onnx",),
            [
                "GPUs, WASM with Transformers.js alone",
                "GPUs with `shader-f16`, on the chat page",
                "WASM on the chat page",
            ],
        ),
        (
            ("model_quantized.onnx", "model_int8.onnx"),
            [
                "GPUs, WASM on the chat page, WASM with Transformers.js alone",
                "GPUs with `shader-f16`, on the chat page",
            ],
        ),
    ],
)
def test_the_card_says_which_device_runs_which_graph(tmp_path, gone, rows):
    run = write_run(tmp_path / "tea-bot")
    evidence = read_evidence(run)
    for name in gone:
        del evidence.stamps["export"]["outputs"][f"package/onnx/{name}"]
    if "model_int8.onnx" in gone:
        del evidence.measurements["evaluate.ratio.test.int4_int8_over_tuned"]
    assert [row["used_by"] for row in graphs(Facts(evidence, CardConfig()))] == rows


def test_one_is_no_plural(full_run):
    facts = Facts(read_evidence(full_run), CardConfig())
    assert (
        facts.rests_on("bench.wasm.peak_memory_bytes") == "1 browser"
        and facts.rests_on("data.tokens.val") == "6 conversations"
    )


def test_card_json_says_where_every_printed_text_comes_from(full_run):
    tree = read_json(full_run.stage("card") / "card.json")
    page = page_of(full_run) + evidence_of(full_run)
    assert {f["status"] for f in tree["fields"]} == {"measured", "recorded", "declared"}
    for field in tree["fields"]:
        assert field["text"] in page, field["id"]
        assert field["source"]["file"]
    by_id = {f["id"]: f for f in tree["fields"]}
    measured = by_id["evaluate.loss.test.tuned"]
    raw = full_run.stage("evaluate") / "nll" / "test.tuned.jsonl"
    assert measured["source"] == {"file": "evaluate/nll/test.tuned.jsonl", "sha256": file_sha256(raw)}
    assert (measured["value"], measured["count"], measured["environment"]) == (pytest.approx(2.0), 15, "env1")
    assert by_id["card.email"]["status"] == "declared"
    assert {m["id"] for m in tree["measurements"]} >= {"base.files_bytes", "train.grad_accum_steps"}


def test_every_field_of_card_json_is_as_its_source_says(full_run):
    tree = read_json(full_run.stage("card") / "card.json")
    stamps = {stage: read_json(full_run.stamp(stage))["outputs"] for stage in STAMPED}
    measured = {m.id: m for m in measure.current_measurements(full_run)}
    config = read_evidence(full_run).config
    of_card = combined_sha256(config.card.model_dump(mode="json"))
    seen = set()
    for field in tree["fields"]:
        source, status = dict(field["source"]), field["status"]
        seen.add((status, source["file"].partition("#")[0].partition("/")[0]))
        if status == "measured":
            m = measured[field["id"]]
            expected = {name: getattr(m, name) for name in ("value", "unit", "count", "count_of", "method")}
            expected |= {"spread": dict(m.spread), "environment": m.environment}
            assert {name: field[name] for name in expected} == expected
            stage, _, file = m.raw.partition("/")
            assert source == {"file": m.raw, "sha256": stamps[stage][file]}
            continue
        assert (field["count"], field["count_of"], field["method"], field["spread"]) == (None, "", "", {})
        if field["id"].startswith("card."):
            assert source == {"file": "config.json#card", "sha256": of_card} and status == "declared"
            value = getattr(config.card, field["id"].removeprefix("card."))
            assert field["value"] == value or field["value"] in value
        elif field["id"].startswith("config."):
            section, key = field["id"].removeprefix("config.").split(".")
            value = config.model_dump(mode="json")[section][key]
            assert field["value"] == value
            assert source == {"file": "config.json", "sha256": combined_sha256({f"{section}.{key}": value})}
        elif field["id"] == "date":
            assert (field["value"], source) == ("2026-11-22", {"file": "stamps/evaluate.json"})
        else:
            file, _, key = field["id"].partition("#")
            stage, _, name = file.partition("/")
            assert source == {"file": file, "sha256": stamps[stage][name]} and key
    assert seen >= {("measured", "evaluate"), ("recorded", "bench"), ("declared", "config.json"), ("declared", "data")}


def test_card_json_has_every_measurement_and_the_hashes_of_what_it_rests_on(full_run):
    tree = read_json(full_run.stage("card") / "card.json")
    log = full_run.measurements.read_bytes()[: tree["measurement_log"]["bytes"]]
    lines = [json.loads(line) for line in log.splitlines()]
    assert tree["measurements"] == [
        {key: value for key, value in line.items() if key not in ("inputs", "outputs")} for line in lines
    ]
    assert tree["measurement_log"]["sha256"] == hashlib.sha256(log).hexdigest()
    assert tree["stamps"] == {stage: file_sha256(full_run.stamp(stage)) for stage in STAMPED}
    assert tree["environments"] == {"env1": file_sha256(full_run.environments / "env1.json")}
    assert (tree["schema"], tree["name"]) == ("tinsmith-card/1", "tea-bot")
    assert tree["snippets"] == read_json(full_run.stage("card") / "snippets.json")


def test_a_line_of_an_older_run_of_a_stage_is_not_printed(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot")
    old = json.loads(run.measurements.read_text().split("\n")[0])
    old |= {"value": 777_777, "fingerprint": "older"}
    run.measurements.write_text(run.measurements.read_text() + json.dumps(old) + "\n")
    out_dir = write_card(run, monkeypatch)
    assert "777,777" not in (out_dir / "README.md").read_text()
    assert all(m["value"] != 777_777 for m in read_json(out_dir / "card.json")["measurements"])


def test_an_unknown_id_is_an_error_and_a_missing_one_is_marked(tmp_path):
    facts = Facts(read_evidence(write_run(tmp_path / "tea-bot", ("base",))), CardConfig())
    with pytest.raises(ValueError, match=r"evaluate.perplexty.test.int4: no stage is known to measure this"):
        facts.value("evaluate.perplexty.test.int4")
    assert facts.value("train.epochs") == "Not measured: the train stage has not finished; type `tinsmith run CONFIG`"


def test_the_reason_a_device_gives_is_printed(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot", STAMPED[: STAMPED.index("bench")])
    write_json(run.stage("bench") / "webgpu.json", {"device": "webgpu", "not_measured": "no adapter found"})
    outputs = {"webgpu.json": file_sha256(run.stage("bench") / "webgpu.json")}
    stamp = {"fingerprint": "x", "finished_at": "2026-11-22T10:30:00+00:00", "outputs": outputs, "measurements": 0}
    write_json(run.stamp("bench"), stamp)
    page = (write_card(run, monkeypatch) / "README.md").read_text()
    reason = "no adapter found; type `tinsmith bench runs/tea-bot --remote --lan`"
    assert f"| Not measured: {reason} | WebGPU | Not measured |" in page


def test_other_devices_have_rows_of_their_own(full_run):
    page = evidence_of(full_run)
    assert "| Pixel \\| \\*9\\*, 4 threads, Chrome 150, Android | WASM | 21.5 tokens/s (20.5 to 22.3) |" in page_of(
        full_run
    )
    assert (
        "| Pixel \\| \\*9\\*, 4 threads, Chrome 150, Android | WASM | "
        "21.5 tokens/s (20.5 to 22.3) | 0.750 s (0.700 to 0.800) | 4.25 s | 5 runs |" in page
    )
    assert "| Pixel \\| \\*9\\*, WASM | 255 | 3.25 s | 78.5 tokens/s | 15.5 tokens/s | 1 run |" in page
    assert "| WASM | 255 | 3.25 s | 78.5 tokens/s | 15.5 tokens/s | 1 run |" in page
    assert "Nodes of the WASM graph: 63 on CPU." in page and "1.05 s, again 0.500 s" in page and "812 MB" in page


def test_a_device_that_could_not_says_why(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot", STAMPED[: STAMPED.index("remote")])
    device = records()["remote/1.json"]
    device["backends"] = {
        "webgpu": {"device": "webgpu", "not_measured": "the model's largest tensor exceeds this GPU's limit"}
    }
    write_json(run.stage("remote") / "1.json", device)
    outputs = {"1.json": file_sha256(run.stage("remote") / "1.json")}
    stamp = {"fingerprint": "x", "finished_at": "2026-11-22T10:30:00+00:00", "outputs": outputs, "measurements": 0}
    write_json(run.stamp("remote"), stamp)
    page = (write_card(run, monkeypatch) / "README.md").read_text()
    assert "| Pixel \\| \\*9\\*: the model's largest tensor exceeds this GPU's limit | WebGPU | Not measured |" in page


def test_a_broken_promise_of_a_stage_is_named(tmp_path):
    run = write_run(tmp_path / "tea-bot", ("base", "data"))
    report = run.stage("data") / "report.json"
    write_json(report, {**read_json(report), "categories": [{"name": "cat_00"}]})
    with pytest.raises(ArtifactError, match=r"data/report\.json: no 'count'"):
        run_stage(render_card, CardConfig(), run, "tea-bot", run.root)
    shutil.rmtree(run.stage("base"))
    with pytest.raises(ArtifactError, match=r"base\.json: missing"):
        run_stage(render_card, CardConfig(), run, "tea-bot", run.root)


def test_a_data_set_of_the_hub_is_named_with_its_commit_and_licence(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot")
    path = run.stage("data") / "report.json"
    address = f"https://huggingface.co/datasets/tea/prices/tree/{'0a' * 20}"
    hub = {"id": "tea/prices", "revision": "0a" * 20, "part": "", "license": "cc-by-4.0", "address": address}
    write_json(path, {**read_json(path), "hub": hub})
    page = (write_card(run, monkeypatch) / "README.md").read_text()
    named = f"- **Data Set of the Hugging Face Hub**: [tea/prices]({address}) at commit {'0a' * 20}"
    assert f"{named}; licence that it gives: cc-by-4.0\n- **Categories**" in page
    assert "Hugging Face Hub" not in (write_card(write_run(tmp_path / "other"), monkeypatch) / "README.md").read_text()


def test_words_of_others_cannot_change_the_structure(tmp_path, monkeypatch):
    author = {**AUTHOR, "domain": "tea\n## Not a heading | <script>", "title": "`x` [y](z)"}
    run = write_run(tmp_path / "tea-bot", author=author)
    page = (write_card(run, monkeypatch, author) / "README.md").read_text()
    assert "Limited to tea ## Not a heading \\| \\<script>" in page
    assert "# Model Card: \\`x\\` \\[y\\](z)" in page
    assert plain("# heading") == "\\# heading"
    assert plain("snake_case and _emphasis_") == "snake_case and \\_emphasis\\_"


def test_energy_is_printed_with_its_counters_or_the_reason(full_run):
    text = energy(Facts(read_evidence(full_run), CardConfig()))
    assert text.startswith("1.50 Wh for training, by the counters of processor 0, memory of processor 0;"), text
    record = full_run.stage("train") / "train.json"
    without = {"joules": {}, "not_measured": "this system shows no energy counters"}
    write_json(record, {**read_json(record), "energy": without})
    evidence = read_evidence(full_run)
    del evidence.measurements["train.energy_joules"]
    assert energy(Facts(evidence, CardConfig())) == "Not measured: this system shows no energy counters"


def test_a_group_that_was_not_asked_has_its_reason_in_the_evidence(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot")
    path = run.stage("evaluate") / "evaluate.json"
    reason = "no training answer has wordings"
    write_json(path, read_json(path) | {"absent": {"evaluate.facts.reworded": reason}, "groups": {}})
    lines = [m for m in measure.read(run.measurements) if not m.id.startswith("evaluate.facts.reworded.")]
    run.measurements.unlink()
    measure.append(run.measurements, lines)
    stamp = read_json(run.stamp("evaluate"))
    count = sum(m.stage == "evaluate" for m in lines)
    write_json(run.stamp("evaluate"), stamp | {"outputs": tree_sha256s(run.stage("evaluate")), "measurements": count})
    evidence = (write_card(run, monkeypatch) / "EVIDENCE.md").read_text()
    assert f"| The same in other words | Not measured: {reason} |" in evidence
    assert "| Questions it was trained on | 0 % |" in evidence
    assert "The questions in other words are" not in evidence
