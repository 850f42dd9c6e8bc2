"""The card's lists and tables, as rows of finished text."""

from collections import Counter

from tinsmith.card.evidence import STAGES, required
from tinsmith.card.facts import Facts, plain, words
from tinsmith.card.rounding import number_text
from tinsmith.model.package_format import FLOAT32, GRAPHS, MEASURED_GRAPHS

Row = dict[str, str]

FEW_ITEMS = 5
"""A category with fewer test conversations has no interval and is not judged."""

_LANGUAGES = {
    entry.split()[0]: entry.split()[1]
    for entry in """
    ar Arabic, bn Bengali, cs Czech, da Danish, de German, el Greek, en English, es Spanish, fa Persian,
    fi Finnish, fr French, he Hebrew, hi Hindi, hu Hungarian, id Indonesian, it Italian, ja Japanese, ko Korean,
    ms Malay, nl Dutch, no Norwegian, pl Polish, pt Portuguese, ro Romanian, ru Russian, sv Swedish, sw Swahili,
    ta Tamil, th Thai, tr Turkish, uk Ukrainian, ur Urdu, vi Vietnamese, zh Chinese
    """.split(",")
}
"""English names of languages, by ISO 639-1 code."""


def language(facts: Facts) -> str:
    """English name of the data's language, or its code if `_LANGUAGES` lacks it."""
    code = facts.raw("data", "report.json", "language")
    if code and code.lower() in _LANGUAGES:
        return facts.recorded_value("data", "report.json", "language", _LANGUAGES[code.lower()])
    return facts.stated("data", "report.json", "language")


def categories(facts: Facts) -> list[Row]:
    """`name`, `share` and `count` of each category, largest first."""
    records = facts.raw("data", "report.json", "categories") or []
    counts = dict(map(_category, records))
    return [
        {
            "name": plain(name),
            "share": facts.value(f"data.category.{name}"),
            "count": facts.recorded_value("data", "report.json", f"categories.{name}.count", count, "count"),
        }
        for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def _category(record: dict) -> tuple[str, int]:
    name, count = (required(record, key, "data/report.json") for key in ("name", "count"))
    return name, count


def hardware(facts: Facts) -> str:
    """CPU, cores, memory and GPU of the machine that trained."""
    machine = facts.raw("train", "train.json", "hardware")
    if not machine:
        return facts.recorded("train", "train.json", "hardware")
    cpu, cores, memory_bytes = (required(machine, key, "train/train.json") for key in ("cpu", "cores", "memory_bytes"))
    memory = f"{number_text(memory_bytes, 'bytes')} memory"
    parts = [cpu, f"{cores} cores", memory, words(machine.get("gpu") or "no GPU")]
    return facts.recorded_value("train", "train.json", "hardware", parts)


def energy(facts: Facts) -> str:
    """Energy of training, with the counters that measured it, or why it was not measured."""
    text = facts.value("train.energy_joules")
    counters = facts.raw("train", "train.json", "energy.joules")
    if not counters:
        return text
    names = facts.recorded_value("train", "train.json", "energy.joules", list(counters))
    return f"{text} for training, by the counters of {names}; other programs that ran at that time are included"


def graphs(facts: Facts) -> list[Row]:
    """One row per measured graph of the package, with any graphs that compute the same.

    The float32 graph also serves WASM if the package has no graph for it.
    """
    outputs = facts.evidence.stamps.get("export", {}).get("outputs", {})
    ratios = {model: f"evaluate.ratio.test.{model}_over_tuned" for model in MEASURED_GRAPHS}
    present = [
        graph
        for graph in GRAPHS
        if (facts.has(ratios[graph.model]) if graph.is_measured else f"package/{graph.file}" in outputs)
    ]
    missing_on_wasm = [graph for graph in GRAPHS if graph.device == "wasm" and graph not in present]
    rows = []
    for model, measured in MEASURED_GRAPHS.items():
        if measured not in present:
            continue
        same = [graph for graph in present if graph.model == model]
        served = [*same, *missing_on_wasm] if measured is FLOAT32 else same
        rows.append(
            {
                "file": ", ".join(f"`{graph.name}`" for graph in same),
                "computes_in": measured.computes_in,
                "used_by": ", ".join(graph.used_by for graph in served),
                "perplexity": facts.cell(f"evaluate.perplexity.test.{model}"),
                "ratio": facts.cell(ratios[model]),
                "n": facts.rests_on(ratios[model]),
            }
        )
    return rows


def recipes(facts: Facts) -> list[Row]:
    """One row per INT4 recipe that was tried, in order. The last one ships."""
    rows = []
    for number, recipe in enumerate(facts.raw("export", "export.json", "recipes") or []):
        name, made = (required(recipe, key, "export/export.json") for key in ("name", "made"))
        id = f"export.recipe.{name}"
        rows.append(
            {
                "name": name,
                "made": facts.recorded_value("export", "export.json", f"recipes.{number}.made", made),
                "size": facts.cell(f"{id}.weights_bytes"),
                "ratio": facts.cell(f"{id}.perplexity_ratio"),
                "n": facts.rests_on(f"{id}.perplexity_ratio"),
                "seconds": facts.cell(f"{id}.seconds"),
            }
        )
    return rows


def gates(facts: Facts) -> list[Row]:
    """One row per gate, in the order of the stages: what was measured, and what was required."""
    gated = [m for m in facts.evidence.measurements.values() if m.gate]
    gated.sort(key=lambda m: (STAGES.index(m.stage), m.id))
    return [
        {
            "id": m.id,
            "measured": facts.value(m.id),
            "required": f"{m.gate['op']} {m.gate['bound']:g}",
            "unit": plain(m.unit),
            "n": facts.rests_on(m.id),
            "stage": m.stage,
        }
        for m in gated
    ]


def thin_categories(facts: Facts) -> str:
    """How many categories have too few test conversations to judge; empty if there is no test split."""
    counts = Counter(conversation["category"] for conversation in facts.evidence.each_line("data", "test.jsonl"))
    names = [_category(record)[0] for record in facts.raw("data", "report.json", "categories") or []]
    if not counts or not names:
        return ""
    thin = sum(counts[name] < FEW_ITEMS for name in names)
    text = f"{thin} of {len(names)} categories have fewer than {FEW_ITEMS} test conversations"
    return facts.recorded_value("data", "test.jsonl", "categories", text)


def author_texts(facts: Facts) -> list[tuple[str, list[str]]]:
    """Heading and marked texts of each list that the author declared."""
    titles = {
        "intended_uses": "Primary use cases",
        "out_of_scope_uses": "Out-of-scope uses",
        "benefits": "Potential benefits",
        "risks": "Potential risks",
        "mitigations": "Mitigations",
    }
    return [(title, facts.declared_list(key)) for key, title in titles.items() if getattr(facts.config, key)]


def sources(facts: Facts) -> list[Row]:
    """One row per measured number printed so far, at full precision; categories have their own table."""
    ids = {use.id for use in facts.uses if use.status == "measured"}
    measurements = [facts.evidence.measurements[id] for id in sorted(ids) if not id.startswith("data.category.")]
    return [
        {
            "id": m.id,
            "value": f"{m.value!r}",
            "unit": plain(m.unit),
            "n": facts.rests_on(m.id),
            "method": plain(m.method),
            "environment": m.environment,
            "raw": m.raw,
        }
        for m in measurements
    ]


def environments(facts: Facts) -> list[Row]:
    """One row per environment (machine and installed packages) in which the run was measured."""
    rows = []
    for id, environment in facts.evidence.environments.items():
        packages = environment.get("packages") or {}
        cpu, cores, memory_bytes, system, python = (
            required(environment, key, f"environments/{id}.json")
            for key in ("cpu", "cores", "memory_bytes", "os", "python")
        )
        rows.append(
            {
                "id": id,
                "machine": plain(f"{cpu}, {cores} cores, {number_text(memory_bytes, 'bytes')} memory"),
                "gpu": plain(words(environment.get("gpu") or "none")),
                "system": plain(f"{system}, Python {python}"),
                "packages": plain(", ".join(f"{name} {version}" for name, version in packages.items())),
            }
        )
    return rows
