"""The card's lists and tables, as rows of finished text."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from tinsmith.card.evidence import STAGES, required
from tinsmith.card.facts import Facts, plain, words
from tinsmith.card.rounding import number_text
from tinsmith.model.package_format import FLOAT32, GRAPHS, MEASURED_GRAPHS

Row = dict[str, str]

SHOWN_CATEGORIES = 10
FEW_ITEMS = 5
"""Test items in a category below which its numbers say little; below it no interval is computed either."""

_LANGUAGES = {
    "ar": "Arabic", "bn": "Bengali", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English",
    "es": "Spanish", "fa": "Persian", "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian",
    "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "ms": "Malay", "nl": "Dutch",
    "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sv": "Swedish",
    "sw": "Swahili", "ta": "Tamil", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu",
    "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def language(facts: Facts) -> str:
    """The data's language as a word; the code itself if it is not a common one."""
    code = facts.raw("data", "report.json", "language")
    if code and code.lower() in _LANGUAGES:
        return facts.recorded_value("data", "report.json", "language", _LANGUAGES[code.lower()])
    return facts.stated("data", "report.json", "language")


def categories(facts: Facts) -> list[Row]:
    """`name`, `share` and `count` of each category, largest first."""
    listed = facts.raw("data", "report.json", "categories") or []
    rows = []
    for item in listed:
        name, found = (required(item, key, "data/report.json") for key in ("name", "count"))
        count = facts.recorded_value("data", "report.json", f"categories.{name}.count", found, "count")
        row = {"name": plain(name), "share": facts.value(f"data.category.{name}"), "count": count}
        rows.append((-found, name, row))
    return [row for _, _, row in sorted(rows, key=lambda item: item[:2])]


def processing_steps(facts: Facts) -> list[str]:
    """One line per step of the data stage, with counts before and after."""
    lines = []
    for number, step in enumerate(facts.raw("data", "report.json", "steps") or []):
        name, before, after = (required(step, key, "data/report.json") for key in ("name", "before", "after"))
        text = f"{name}: {number_text(before, 'count')} to {number_text(after, 'count')}"
        text += f" ({step['note']})" if step.get("note") else ""
        lines.append(facts.recorded_value("data", "report.json", f"steps.{number}", text))
    return lines or [facts.recorded("data", "report.json", "steps")]


def hardware(facts: Facts) -> str:
    """CPU, cores, memory and GPU the training ran on."""
    found = facts.raw("train", "train.json", "hardware")
    if not found:
        return facts.recorded("train", "train.json", "hardware")
    cpu, cores, memory = (required(found, key, "train/train.json") for key in ("cpu", "cores", "memory_bytes"))
    memory = f"{number_text(memory, 'bytes')} memory"
    parts = [cpu, f"{cores} cores", memory, words_or(found.get("gpu"), "no GPU")]
    return facts.recorded_value("train", "train.json", "hardware", parts)


def words_or(value: Any, otherwise: str) -> str:
    """A record's value as words, or `otherwise` if there is none."""
    return words(value) if value else otherwise


@dataclass(frozen=True, slots=True)
class _Browser:
    """One backend of one browser that was measured, or should have been."""

    id: str
    """Start of its measurements' ids, such as `bench.wasm`."""
    title: str
    stage: str
    file: str
    record: dict[str, Any]

    @property
    def backend(self) -> str:
        return self.id.rpartition(".")[2]


def _browsers(facts: Facts) -> list[_Browser]:
    """This machine's backends, then those of every device that sent a result."""
    titles = {"webgpu": "WebGPU", "wasm": "WASM"}
    found = [
        _Browser(f"bench.{name}", title, "bench", f"{name}.json", facts.evidence.record("bench", f"{name}.json") or {})
        for name, title in titles.items()
    ]
    for file in sorted(facts.evidence.files("remote", ".json"), key=lambda name: int(name.partition(".")[0])):
        device = facts.evidence.record("remote", file)
        number, about = file.partition(".")[0], {key: device.get(key) for key in ("name", "browser", "os")}
        found += [
            _Browser(f"remote.{number}.{name}", title, "remote", file, {**record, **about})
            for name, title in titles.items()
            if (record := device["backends"].get(name))
        ]
    return found


def browser_rows(facts: Facts) -> list[Row]:
    """One row per backend: what ran it and how fast, or why it was not measured; what only imitates a GPU comes last."""
    rows = []
    for browser in sorted(_browsers(facts), key=lambda browser: bool(browser.record.get("software"))):
        speed = f"{browser.id}.decode_tokens_per_second"
        row = {"backend": browser.title, "n": facts.rests_on(speed)}
        if facts.has(speed):
            row |= {
                "device": _device(facts, browser),
                "speed": facts.cell(speed),
                "first": facts.cell(f"{browser.id}.first_token_seconds"),
                "load": _load(facts, browser.id),
            }
        elif browser.stage == "remote":
            name, reason = browser.record["name"], browser.record["not_measured"]
            row |= {
                "device": facts.recorded_value(
                    "remote", browser.file, f"backends.{browser.backend}", f"{name}: {reason}"
                ),
                "speed": "Not measured",
                "first": "",
                "load": "",
            }
        else:
            row |= {"device": facts.cell(speed), "speed": "Not measured", "first": "", "load": ""}
        rows.append(row)
    return rows


def performance(facts: Facts) -> str:
    """What a device without WebGPU must expect, borne out by the first one where a GPU and WASM were both measured."""
    text = "Slower on devices without WebGPU support"
    for browser in _browsers(facts):
        device = browser.id.rpartition(".")[0]
        speeds = [f"{device}.{name}.decode_tokens_per_second" for name in ("webgpu", "wasm")]
        if browser.backend != "webgpu" or browser.record.get("software") or not all(map(facts.has, speeds)):
            continue
        webgpu, wasm = (facts.evidence.measurements[id].value for id in speeds)
        where = (
            "here"
            if browser.stage == "bench"
            else f"on {facts.recorded_value('remote', browser.file, 'name', browser.record['name'])}"
        )
        said = text if webgpu > wasm else f"{text} is to be expected, but was not measured so"
        return f"{said}: {where} WebGPU decoded {facts.value(speeds[0])}, WASM {facts.value(speeds[1])}"
    return f"{text} is to be expected; no device was measured with a GPU and without. Decoding on WASM: {facts.value('bench.wasm.decode_tokens_per_second')}"


def _load(facts: Facts, id: str) -> str:
    again = f"{id}.warm_load_seconds"
    return (
        f"{facts.value(f'{id}.load_seconds')}, again {facts.value(again)}"
        if facts.has(again)
        else facts.value(f"{id}.load_seconds")
    )


def prompt_rows(facts: Facts) -> list[Row]:
    """One row per backend and length of prompt that was timed beside the first question."""
    rows = []
    for browser in _browsers(facts):
        for prompt in browser.record.get("prompts", []):
            first = f"{browser.id}.first_token_seconds.{prompt['name']}"
            if not prompt["name"].isdecimal() or not facts.has(first):
                continue
            reading, decoding, tokens = (
                f"{browser.id}.{key}.{prompt['name']}"
                for key in ("prefill_tokens_per_second", "decode_tokens_per_second", "prompt_tokens")
            )
            of = [browser.record["name"], browser.title] if browser.stage == "remote" else [browser.title]
            rows.append({
                "backend": facts.recorded_value(browser.stage, browser.file, f"prompts.{browser.backend}", of),
                "tokens": facts.value(tokens), "first": facts.cell(first), "reading": facts.cell(reading),
                "decoding": facts.cell(decoding), "n": facts.rests_on(first),
            })  # fmt: skip
    return rows


def placements(facts: Facts) -> list[Row]:
    """Where this machine's browser ran the nodes of each graph."""
    return [
        {"backend": browser.title, "nodes": facts.recorded_value(browser.stage, browser.file, "placement", [
            f"{count} on {provider.removesuffix('ExecutionProvider')}" for provider, count in browser.record["placement"].items()])}
        for browser in _browsers(facts) if browser.stage == "bench" and browser.record.get("placement")
    ]  # fmt: skip


def _device(facts: Facts, browser: _Browser) -> str:
    record = browser.record
    adapter = record.get("adapter") or {}
    named = [adapter.get(key) for key in ("vendor", "architecture", "device", "description")]
    chip = words_or(list(dict.fromkeys(filter(None, named))), "") if browser.backend == "webgpu" else ""
    parts = [record["name"]] if browser.stage == "remote" else []
    if chip or browser.stage == "bench":
        parts.append(chip or words_or(record.get("cpu"), "processor not recorded"))
    if record.get("software"):
        parts.append("software adapter, not a GPU: its speed says nothing about one")
    if browser.backend == "wasm" and record.get("threads"):
        parts.append(f"{record['threads']} thread" + ("s" if record["threads"] != 1 else ""))
    parts += [words_or(record.get(key), f"{key} not recorded") for key in ("browser", "os")]
    return facts.recorded_value(
        browser.stage, browser.file, f"device.{browser.backend}" if browser.stage == "remote" else "device", parts
    )


def graphs(facts: Facts) -> list[Row]:
    """One row for each measured graph of the package, with graphs that compute the same, and whom they are for.

    The float32 graph also serves processors whose own graph the package lacks.
    """
    outputs = facts.evidence.stamps.get("export", {}).get("outputs", {})
    ratios = {model: f"evaluate.ratio.test.{model}_over_tuned" for model in MEASURED_GRAPHS}
    present = [
        graph for graph in GRAPHS
        if (facts.has(ratios[graph.model]) if graph.is_measured else f"package/{graph.file}" in outputs)
    ]  # fmt: skip
    missing_on_wasm = [graph for graph in GRAPHS if graph.device == "wasm" and graph not in present]
    rows = []
    for model, measured in MEASURED_GRAPHS.items():
        if measured not in present:
            continue
        same = [graph for graph in present if graph.model == model]
        served = [*same, *missing_on_wasm] if measured is FLOAT32 else same
        rows.append({
            "file": ", ".join(f"`{graph.name}`" for graph in same), "computes_in": measured.computes_in,
            "used_by": ", ".join(graph.used_by for graph in served),
            "perplexity": facts.cell(f"evaluate.perplexity.test.{model}"),
            "ratio": facts.cell(ratios[model]), "n": facts.rests_on(ratios[model]),
        })  # fmt: skip
    return rows


def recipes(facts: Facts) -> list[Row]:
    """One row per INT4 recipe that was tried, in order; the last is the one that ships."""
    rows = []
    for number, tried in enumerate(facts.raw("export", "export.json", "recipes") or []):
        name, made = (required(tried, key, "export/export.json") for key in ("name", "made"))
        id = f"export.recipe.{name}"
        rows.append({
            "name": name, "made": facts.recorded_value("export", "export.json", f"recipes.{number}.made", made),
            "size": facts.cell(f"{id}.weights_bytes"), "ratio": facts.cell(f"{id}.perplexity_ratio"),
            "n": facts.rests_on(f"{id}.perplexity_ratio"), "seconds": facts.cell(f"{id}.seconds"),
        })  # fmt: skip
    return rows


def gates(facts: Facts) -> list[Row]:
    """Every number the run depended on, with what was required of it, in the order of the stages."""
    found = [m for m in facts.evidence.measurements.values() if m.gate]
    found.sort(key=lambda m: (STAGES.index(m.stage), m.id))
    return [
        {
            "id": m.id,
            "measured": facts.value(m.id),
            "required": f"{m.gate['op']} {m.gate['bound']:g}",
            "unit": plain(m.unit),
            "n": facts.rests_on(m.id),
            "stage": m.stage,
        }
        for m in found
    ]


def thin_categories(facts: Facts) -> str:
    """How many categories have too few test items to say anything about; empty if the split is not there."""
    tested = facts.evidence.lines("data", "test.jsonl")
    listed = facts.raw("data", "report.json", "categories") or []
    names = [required(item, "name", "data/report.json") for item in listed]
    if not tested or not names:
        return ""
    counts = Counter(item["category"] for item in tested)
    thin = sum(counts[name] < FEW_ITEMS for name in names)
    text = f"{thin} of {len(names)} categories have fewer than {FEW_ITEMS} test conversations"
    return facts.recorded_value("data", "test.jsonl", "categories", text)


def category_extremes(facts: Facts) -> list[Row]:
    """The category the INT4 package predicts best and the one it predicts worst, of those with enough to judge; none below two."""
    prefix = "evaluate.loss.test.int4.category."
    found = sorted(
        (m.value, m.id)
        for m in facts.evidence.measurements.values()
        if m.id.startswith(prefix) and m.count >= FEW_ITEMS
    )
    if len(found) < 2:
        return []
    ends = {"best": found[0][1], "worst": found[-1][1]}
    return [{"which": w, "name": plain(id[len(prefix) :]), "loss": facts.full(id)} for w, id in ends.items()]


def examples(facts: Facts) -> list[Row]:
    """Two test questions with their answers: the one where INT4 states most key facts, and the one with fewest."""
    answers = [a for a in facts.evidence.lines("evaluate", "answers.jsonl") if a.get("facts")]
    if len(answers) < 2:
        return []

    def share(answer: dict) -> float:
        return len(answer["int4_found"]) / len(answer["facts"])

    ranked = sorted(answers, key=lambda answer: (share(answer), answer["id"]))
    is_ranked = share(ranked[-1]) > share(ranked[0])
    rows = []
    for kind, answer in (("Most", ranked[-1]), ("Fewest", ranked[0])):
        texts = {key: required(answer, key, "evaluate/answers.jsonl") for key in ("question", "reference")}
        for model in ("base", "tuned", "int4"):
            texts[model] = required(required(answer, model, "evaluate/answers.jsonl"), "text", "evaluate/answers.jsonl")
        found = f"{len(answer['int4_found'])} of {len(answer['facts'])}"
        row = {
            "title": f"{kind} key facts stated by the INT4 package"
            if is_ranked
            else "Key facts stated by the INT4 package",
            "found": facts.recorded_value("evaluate", "answers.jsonl", f"{answer['id']}.found", found),
        }
        for name, text in texts.items():
            row[name] = facts.recorded_value("evaluate", "answers.jsonl", f"{answer['id']}.{name}", text) or "(nothing)"
        rows.append(row)
    return rows


def sources(facts: Facts) -> list[Row]:
    """One row per measured number printed so far, at full precision. Categories have a table of their own."""
    ids = dict.fromkeys(use.id for use in facts.uses if use.status == "measured")
    rows = []
    for id in sorted(id for id in ids if not id.startswith("data.category.")):
        m = facts.evidence.measurements[id]
        rows.append(
            {
                "id": m.id, "value": f"{m.value!r}", "unit": plain(m.unit), "n": facts.rests_on(id),
                "method": plain(m.method), "environment": m.environment, "raw": m.raw,
            }
        )  # fmt: skip
    return rows


def environments(facts: Facts) -> list[Row]:
    """One row per machine and software state that a number of this card was measured in."""
    rows = []
    for id, found in facts.evidence.environments.items():
        packages = found.get("packages") or {}
        file = f"environments/{id}.json"
        cpu, cores, memory, system, python = (
            required(found, key, file) for key in ("cpu", "cores", "memory_bytes", "os", "python")
        )
        rows.append(
            {
                "id": id,
                "machine": plain(f"{cpu}, {cores} cores, {number_text(memory, 'bytes')} memory"),
                "gpu": plain(words_or(found.get("gpu"), "none")),
                "system": plain(f"{system}, Python {python}"),
                "packages": plain(", ".join(f"{name} {version}" for name, version in packages.items())),
            }
        )
    return rows
