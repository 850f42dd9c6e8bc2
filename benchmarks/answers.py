"""Ask a finished run's page questions with known answers, in headless Chromium through the page's own worker.

Every question goes through `look_up`, as in chat.js, on the run's site served on loopback. A sample of the known
questions is also put to the model alone. The table shows every rate with its 95 % interval; the last line is one JSON
object, `{model: {right, wrong, silent, right_in_3, near_refused, far_refused, hostile_resisted, followup_right,
closed_book, verbatim, added_mb, query_ms, first_token_ratio}}`, and `benchmarks/results/answers.json` has every figure.

- `right`, `right_in_3`: of known questions, the passage offered first, or one of the first three, is the question's own
  or states all that it must and nothing that it must not. On any rung.
- `wrong`: of known questions, a passage that is not right was presented as the answer (rung `sure`). `silent`: the page
  said that it does not know. `near_refused`, `far_refused`: the same of questions that no passage answers.
- `hostile_resisted`, `followup_right`: docs/measurements.md.
- `closed_book`: the model alone states all that it must, on the sample. `verbatim`: the passage offered first does,
  word for word, whether or not it is the question's own; of known questions that say what must be stated.
- `added_mb`: what visitors download to find passages. `query_ms`: median from asking the worker to its reply.
  `first_token_ratio`: median time to the model's first token after a look-up, over that without one.

With `--answers FOLDER --name NAME` only the search is measured, on a folder that the knowledge stage wrote.

Models that a call leaves out keep their earlier results. A rate is null if no question measures it, or if the judge
accepts replies that are wrong by construction.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import SEED, environment, publish, published

import tinsmith
from tinsmith.browser.chromium import Browser
from tinsmith.browser.page import Page
from tinsmith.browser.runtime import WEB_DIR, write_runtime
from tinsmith.browser.serve import HOST_HEADERS, SiteServer
from tinsmith.core.run_dir import read_json, write_json
from tinsmith.model.answers.curve import curve_text, risk_coverage
from tinsmith.model.answers.judge import is_right_text
from tinsmith.model.answers.questions import Question, read_questions
from tinsmith.model.answers.rates import (
    Outcome,
    Rate,
    Shown,
    is_judged,
    judged,
    passed_controls,
    rates,
    share_of,
    withheld_reason,
)
from tinsmith.model.passages import Passage, Source

DEMO_QUESTIONS = Path(tinsmith.__file__).parent / "commands" / "demo_questions.jsonl"
PATIENCE_SECONDS = 900
WARM_UP = 3
"""Look-ups before the timed ones."""
_START = """(async () => {
  const { ModelClient } = await import("/client.js");
  const { chooseThreads } = await import("/device.js");
  const app = await (await fetch("/app.json")).json();
  const at = (path) => new URL(path, location.href).href;
  const client = new ModelClient();
  await client.ask({ type: "open_answers", url: at(app.answers), device: "wasm" });
  if (app.model) await client.load({ modelUrl: at(app.model), device: "wasm" });
  const system = app.system_prompt ? [{ role: "system", content: app.system_prompt }] : [];
  globalThis.answersBench = {
    async lookUp(question, previous) {
      const startedAt = performance.now();
      const ranked = await client.ask({ type: "look_up", question, previous });
      return { ...ranked, seconds: (performance.now() - startedAt) / 1000 };
    },
    async generate(question, looksUp) {
      await client.ask({ type: "forget" });
      const startedAt = performance.timeOrigin + performance.now();
      if (looksUp) await client.ask({ type: "look_up", question, previous: [] });
      const messages = [...system, { role: "user", content: question }];
      const done = await client.ask({ type: "generate", messages, maxNewTokens: looksUp ? 1 : app.max_new_tokens });
      return { text: done.text, firstTokenSeconds: (done.times[0] - startedAt) / 1000 };
    },
  };
  return { threads: chooseThreads() };
})()"""
_KINDS = {
    "known": "that a passage answers",
    "follow_up": "that need the one before",
    "near": "near the subject, unanswered",
    "far": "about something else",
    "hostile": "hostile",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the browser answered."""

    shown: list[Shown]
    look_up_seconds: list[float]
    alone: dict[int, str]
    """Index of each sampled question -> the model's own answer."""
    first_token_ratios: list[float]
    added_bytes: int
    threads: int


@dataclass(frozen=True, slots=True)
class Site:
    """The page under test."""

    name: str
    """Key of the results."""
    mounts: Mapping[str, Path]
    answers: Path
    has_model: bool


def main() -> None:
    arguments = parsed_arguments()
    questions = questions_at(arguments.questions)
    with site_of(arguments) as site:
        passages = passages_of(site.answers)
        warn_of_unknown_ids(questions, passages)
        sample = sampled(questions, arguments.sample) if site.has_model else []
        asked = ask(site.mounts, questions, sample, read_json(site.answers / "answers.json"), passages)
    outcomes = judged(questions, asked.shown, passages, SEED)
    row = result(questions, outcomes, asked)
    by_id = rates(outcomes)
    show_table(outcomes, by_id, row, asked)
    models = published("answers")
    models[site.name] = row | {
        "questions": arguments.questions.name,
        "rates": {id: {"share": rate.share, "questions": rate.count, **rate.interval} for id, rate in by_id.items()},
        "curve": [
            {"threshold": point.threshold, "coverage": point.coverage, "risk": point.risk}
            for point in risk_coverage(of_kind(outcomes, "known"))
        ],
        "outcomes": [summary_of(outcome) for outcome in outcomes],
        "threads": asked.threads,
        "environment": environment(site.answers if arguments.answers else arguments.run, ("onnxruntime",)),
    }
    publish("answers", models, {name: {key: one.get(key) for key in row} for name, one in models.items()})


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/demo"), help="a finished run")
    parser.add_argument("--questions", type=Path, default=DEMO_QUESTIONS, help="a file, or a folder of JSONL files")
    parser.add_argument("--sample", type=int, default=24, help="known questions that the model alone is asked")
    parser.add_argument("--answers", type=Path, help="a folder of answers to search without a model, in place of a run")
    parser.add_argument("--name", help="key of the results, with --answers")
    arguments = parser.parse_args()
    if bool(arguments.answers) != bool(arguments.name):
        parser.error("--answers and --name go together")
    return arguments


@contextmanager
def site_of(arguments: argparse.Namespace) -> Generator[Site]:
    """The run's site, or one with nothing but a folder of answers and the scripts that search it."""
    if not arguments.answers:
        site = arguments.run / "app"
        answers = read_json(site / "app.json").get("answers")
        if not answers:
            sys.exit(f"{site}: the page shows no answers of its owner. Agree with: tinsmith approve CONFIG")
        name = read_json(arguments.run / "base" / "base.json")["id"].rpartition("/")[2].lower()
        yield Site(name, {"/": site}, site / answers, has_model=True)
        return
    with tempfile.TemporaryDirectory(prefix="tinsmith-answers-") as scratch:
        folder = Path(scratch)
        write_runtime(folder / "runtime")
        write_json(folder / "app.json", {"answers": "./model/answers/"})
        (folder / "404.html").write_text("<!doctype html>", encoding="utf-8")
        mounts = {"/": WEB_DIR, "/model/answers/": arguments.answers}
        mounts |= {"/runtime/": folder / "runtime", **{f"/{name}": folder / name for name in ("app.json", "404.html")}}
        yield Site(arguments.name, mounts, arguments.answers, has_model=False)


def questions_at(path: Path) -> list[Question]:
    """Questions of a file, or of every JSONL file in a folder; follow-ups may have `first`, `second`, `second_id`."""
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        sys.exit(f"{path}: no file ends in .jsonl")
    questions: list[Question] = []
    with tempfile.TemporaryDirectory(prefix="tinsmith-questions-") as folder:
        for file in files:
            if file.suffix != ".jsonl":
                questions += read_questions(file)
                continue
            converted = Path(folder) / file.name
            records = (json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line.strip())
            converted.write_text("".join(json.dumps(in_our_form(record)) + "\n" for record in records))
            questions += read_questions(converted)
    return questions


def in_our_form(record: dict[str, Any]) -> dict[str, Any]:
    if "second" not in record:
        return record
    followed = {"question": record["second"], "previous": [record["first"]], "kind": "follow_up"}
    kept = {key: record[key] for key in ("must_state", "must_not_state") if key in record}
    return followed | kept | ({"id": record["second_id"]} if "second_id" in record else {})


def passages_of(folder: Path) -> list[Passage]:
    records = json.loads((folder / read_json(folder / "answers.json")["passages"]).read_text(encoding="utf-8"))
    fields = ("id", "kind", "title", "text", "category")
    return [Passage(**{name: record[name] for name in fields}, source=Source(**record["source"])) for record in records]


def warn_of_unknown_ids(questions: list[Question], passages: list[Passage]) -> None:
    ids = {passage.id for passage in passages}
    missing = [question for question in questions if question.id and question.id not in ids]
    if missing:
        print(
            f"{len(missing)} questions are about passages that this page does not have, such as {missing[0].id!r}: "
            "only what they must state tells whether another passage answers them",
            file=sys.stderr,
        )


def sampled(questions: list[Question], count: int) -> list[int]:
    """Indices of up to `count` known questions that say what must be stated, spread evenly over the list."""
    known = [index for index, one in enumerate(questions) if one.kind == "known" and one.must_state]
    size = min(count, len(known))
    return [known[number * len(known) // size] for number in range(size)]


def ask(
    mounts: Mapping[str, Path],
    questions: list[Question],
    sample: list[int],
    settings: dict[str, Any],
    passages: list[Passage],
) -> Asked:
    """Ask the page every question, and the model alone those of the sample."""
    by_id = {passage.id: passage for passage in passages}
    with SiteServer(mounts, headers=HOST_HEADERS) as server, Browser(webgpu="none") as browser:
        page = browser.open(f"{server.origin}/404.html")
        threads = page.evaluate(_START, PATIENCE_SECONDS)["threads"]
        for question in questions[:WARM_UP]:
            look_up(page, question)
        replies = [look_up(page, question) for question in questions]
        alone, ratios = {}, []
        for number, index in enumerate(sample, start=1):
            print(f"model alone: question {number} of {len(sample)}", file=sys.stderr)
            text = json.dumps(questions[index].question)
            without = page.evaluate(f"answersBench.generate({text}, false)", PATIENCE_SECONDS)
            with_look_up = page.evaluate(f"answersBench.generate({text}, true)", PATIENCE_SECONDS)
            alone[index] = without["text"]
            ratios.append(with_look_up["firstTokenSeconds"] / without["firstTokenSeconds"])
        added = sum(request.size_bytes for request in page.requests if "/model/answers/" in request.url)
        if page.exceptions:
            sys.exit(page.exceptions[0])
    shown = [shown_of(reply, settings, by_id) for reply in replies]
    return Asked(shown, [reply["seconds"] for reply in replies], alone, ratios, added, threads)


def look_up(page: Page, question: Question) -> dict[str, Any]:
    arguments = ", ".join(json.dumps(value) for value in (question.question, list(question.previous)))
    return page.evaluate(f"answersBench.lookUp({arguments})", PATIENCE_SECONDS)


def shown_of(reply: dict[str, Any], settings: dict[str, Any], by_id: dict[str, Passage]) -> Shown:
    """What a visitor sees. Passages that are too far away are not offered."""
    ranked = reply["passages"]
    is_close = bool(ranked) and ranked[0]["closeness"] >= settings["ladder"]["min_closeness"]
    passages = tuple(by_id[one["passage"]["id"]] for one in ranked if is_close)
    confidence = reply["confidence"] if is_close else 0.0
    return Shown(reply["rung"], confidence, passages, settings["fallback"] == "model")


def result(questions: list[Question], outcomes: list[Outcome], asked: Asked) -> dict[str, float | None]:
    """The figures of the last line."""
    by_id = rates(outcomes)
    passed = passed_controls({id: rate.share for id, rate in by_id.items()})

    def share(id: str) -> float | None:
        return None if id not in by_id or (passed and is_judged(id)) else by_id[id].share

    longest = max((outcome.max_characters for outcome in outcomes), default=0)
    stated = [
        bool(shown.passages) and is_right_text(question, shown.passages[0].text, longest)
        for question, shown in zip(questions, asked.shown, strict=True)
        if question.kind == "known" and question.must_state and shown.passages
    ]
    alone = [is_right_text(questions[index], text, longest) for index, text in asked.alone.items()]
    return {
        "right": share("known.right"),
        "wrong": share("known.wrong"),
        "silent": share("known.silent"),
        "right_in_3": share("known.right_in_3"),
        "near_refused": share("near.refused"),
        "far_refused": share("far.refused"),
        "hostile_resisted": share("hostile.resisted"),
        "followup_right": share("follow_up.right"),
        "closed_book": None if passed or not alone else sum(alone) / len(alone),
        "verbatim": None if passed or not stated else sum(stated) / len(stated),
        "added_mb": asked.added_bytes / 1e6,
        "query_ms": 1000 * statistics.median(asked.look_up_seconds),
        "first_token_ratio": statistics.median(asked.first_token_ratios) if asked.first_token_ratios else None,
    }


def of_kind(outcomes: list[Outcome], kind: str) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.question.kind == kind]


def summary_of(outcome: Outcome) -> dict[str, Any]:
    """An outcome without the question's words, which may be private."""
    kept = {"kind": outcome.question.kind, "id": outcome.question.id, "rung": outcome.rung}
    return kept | {"confidence": outcome.confidence, "passages": outcome.passages, "right": outcome.right}


def show_table(outcomes: list[Outcome], by_id: dict[str, Rate], row: dict[str, float | None], asked: Asked) -> None:
    """Print rates by kind of question with intervals, then known questions by rung."""
    passed = passed_controls({id: rate.share for id, rate in by_id.items()})
    if passed:
        print(f"withheld: {withheld_reason(passed)}")
    rows = [("questions", "n", "right first", "right in 3", "sure", "likely", "silent", "wrong if sure")]
    for kind, title in _KINDS.items():
        ones = of_kind(outcomes, kind)
        if ones:
            ids = [f"{kind}.{name}" for name in ("right", "right_in_3", "sure", "likely", "silent")]
            rates_of_kind = [percent(by_id.get(id)) for id in ids]
            wrong = percent(by_id.get("known.wrong")) if kind == "known" else ""
            rows.append((title, str(len(ones)), *rates_of_kind, wrong))
    print_columns(rows)
    rungs = [("known questions", "n", "right first", "right in 3")]
    for rung in ("sure", "likely", "unsure"):
        ones = [outcome for outcome in of_kind(outcomes, "known") if outcome.rung == rung]
        if ones:
            shares = (share_of(ones, lambda one: one.is_first_right), share_of(ones, lambda one: any(one.right)))
            rungs.append((rung, str(len(ones)), *map(percent, shares)))
    print_columns(rungs)
    for id in ("near.refused", "far.refused", "hostile.resisted", *(id for id in by_id if id.startswith("control."))):
        if id in by_id:
            print(f"{id:<20} {percent(by_id[id])} of {by_id[id].count}")
    print(curve_text(of_kind(outcomes, "known")))
    print(
        f"look-up: median {row['query_ms']:.1f} ms, most {1000 * max(asked.look_up_seconds):.1f} ms, "
        f"{asked.threads} threads; {row['added_mb']:.1f} MB more to download"
    )
    sampled_right = [outcomes[index].is_first_right for index in asked.alone]
    if sampled_right and row["closed_book"] is not None:
        print(
            f"of {len(sampled_right)} known questions, the model alone is right about {row['closed_book']:.0%}, "
            f"the passage offered first about {sum(sampled_right) / len(sampled_right):.0%}"
        )


def percent(rate: Rate | None) -> str:
    if rate is None:
        return ""
    bounds = rate.interval
    interval = f" ({100 * bounds['ci95_low']:.0f} to {100 * bounds['ci95_high']:.0f})" if bounds else ""
    return f"{100 * rate.share:.0f} %{interval}"


def print_columns(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()


if __name__ == "__main__":
    main()
