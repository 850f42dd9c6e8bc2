"""Change numbers of a finished run one at a time, and count which changes `tinsmith card --check` finds.

Every file is copied first; the run itself stays as it is. Of each file at most `--sample` numbers are changed, evenly
spread. A number is changed in its first digit. What a forger rewrites besides:

- `published`: a number on the card, its pages or in `card.json`. `alone`; with `stamps`; with stamps and the hashes in
  the `log`.
- `raw`: a number in a raw file. `alone`; with `stamps`; with stamps and the `card` rendered again; with stamps, the
  hashes in the `log` and the card rendered again.
- `log`: a number of a measurement. `alone`; with the `card` rendered again.
- `copy`: a number in a published folder, which is checked without its run. `alone`; with its checksums (`stamps`).

The last line is one JSON object, `{where: {forgery: [found, changed]}}`; `benchmarks/results/mutations.json` adds how
many numbers there are, and every change that was not found. `--tiny` writes `mutations_tiny.json`, with counts by file.
"""

import argparse
import itertools
import json
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from harness import publish

from tinsmith.browser.card_page import card_pages, is_on_site
from tinsmith.card.evidence import read_evidence
from tinsmith.card.files import card_files
from tinsmith.card.published import CHECKSUMS, FOLDER, checksums
from tinsmith.card.snippet_run import SnippetRun
from tinsmith.card.verify import check_card, run_problems
from tinsmith.card.verify_published import check_published, published_problems
from tinsmith.commands.existing_run import existing_run
from tinsmith.core import run_dir
from tinsmith.core.measure import current_measurements
from tinsmith.core.run_dir import CHECKSUMS_FILE, RunDir, combined_sha256, read_json
from tinsmith.derive.files import Files
from tinsmith.derive.rules import derive
from tinsmith.derive.table import RULES

_NUMBER = re.compile(r"(?<![\w.#])\d+(?:\.\d+)?(?:e-?\d+)?(?!\w)")
_LINKED_BYTES = 1_000_000
"""Larger files are linked, not copied; none of them is changed."""
_PAGES = ("card/README.md", "card/EVIDENCE.md", "card/card.json", "app/card.html", "app/evidence.html")
_COPIES = ("card.html", "evidence.html", "model/README.md", "model/EVIDENCE.md", "model/card.json")


@dataclass
class Tally:
    """Changes of one kind."""

    numbers: int = 0
    """Numbers that could have been changed."""
    changed: int = 0
    found: int = 0
    missed: list[str] = field(default_factory=list)
    """Where those are that were not found."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/demo"))
    parser.add_argument("--sample", type=int, default=5, help="Numbers to change in each file; 0 means all.")
    parser.add_argument("--tiny", action="store_true", help="Make a tiny run and change every number of it: an hour.")
    arguments = parser.parse_args(argv)
    if arguments.tiny:
        with tempfile.TemporaryDirectory(prefix="tinsmith-tiny-") as name:
            report = mutate(_tiny_run(Path(name)), sample=0)
    else:
        report = mutate(existing_run(arguments.run).root, arguments.sample)
    publish(
        "mutations_tiny" if arguments.tiny else "mutations",
        {
            where: {kind: _record(tally, arguments.tiny) for kind, tally in kinds.items()}
            for where, kinds in report.items()
        },
        {where: {kind: [t.found, t.changed] for kind, t in kinds.items()} for where, kinds in report.items()},
    )


def _record(tally: Tally, by_file: bool) -> dict[str, Any]:
    """The tally as plain values; `by_file` counts what was not found in each file instead of listing it."""
    missed = dict(Counter(where.partition(":")[0] for where in tally.missed)) if by_file else tally.missed
    return vars(tally) | {"missed": missed}


def _tiny_run(folder: Path) -> Path:
    """A finished run on a tiny base, as the tests of the whole line make it."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from e2e.conftest import tinsmith, write_project

    done = tinsmith("run", write_project(folder, "llama"), cwd=folder)
    if done.returncode:
        sys.exit(done.stderr)
    return folder / "runs/llama"


def mutate(root: Path, sample: int) -> dict[str, dict[str, Tally]]:
    """Change numbers in copies of the run at `root`, and tally what the checks find.

    Raises:
        SystemExit: the run's card does not hold before any change.
    """
    with tempfile.TemporaryDirectory(prefix="tinsmith-mutations-") as name, _hashes_once():
        run = RunDir(Path(name) / root.name)
        _copy(root, run.root)
        site = Path(name) / "site"
        _copy(run.stage("app"), site)
        if problems := [*check_card(run), *check_published(site)]:
            sys.exit(f"{root}: the card does not hold: {problems[0]}")
        return {
            "published": _published(run, sample),
            "raw": _raw(run, sample),
            "log": _log(run, sample),
            "copy": _copies(site, sample),
        }


def _published(run: RunDir, sample: int) -> dict[str, Tally]:
    forgeries: dict[str, Callable[[str], None]] = {
        "alone": lambda name: None,
        "stamps": lambda name: _stamp(run, name),
        "stamps, log": lambda name: _sign(run, name),
    }
    return _tallied(run, _PAGES, sample, forgeries)


def _raw(run: RunDir, sample: int) -> dict[str, Tally]:
    def render(name: str) -> None:
        _stamp(run, name)
        _render(run)

    def render_signed(name: str) -> None:
        _sign(run, name)
        _render(run)

    forgeries: dict[str, Callable[[str], None]] = {
        "alone": lambda name: None,
        "stamps": lambda name: _stamp(run, name),
        "stamps, card": render,
        "stamps, log, card": render_signed,
    }
    names = {m.raw for m in current_measurements(run) if not m.raw.startswith(("card/", "app/"))}
    return _tallied(run, sorted(names), sample, forgeries)


def _log(run: RunDir, sample: int) -> dict[str, Tally]:
    """Change value, count, interval and bound of current measurements."""
    lines = run.measurements.read_text().splitlines()
    current = {json.dumps(vars_of(m), sort_keys=True) for m in current_measurements(run)}
    spots = []
    for index, line in enumerate(lines):
        record = json.loads(line)
        if json.dumps(record, sort_keys=True) in current:
            spots += [(index, *place) for place in (("value",), ("count",)) if place[0] in record]
            spots += [(index, part, key) for part in ("spread", "gate") for key in record[part] if key != "op"]
    tallies = {kind: Tally(len(spots)) for kind in ("alone", "card")}
    for index, *place in _spread(spots, 10 * sample):
        record = json.loads(lines[index])
        holder = record if len(place) == 1 else record[place[0]]
        holder[place[-1]] = float(_changed(repr(holder[place[-1]]))) if place[-1] != "count" else record["count"] + 1
        changed = "\n".join([*lines[:index], json.dumps(record, ensure_ascii=False), *lines[index + 1 :], ""])
        # Rendering again measures the card and the site again, so it would undo a change of their own numbers.
        kinds = ("alone",) if record["stage"] in ("card", "app") else ("alone", "card")
        for kind in kinds:
            tally = tallies[kind]
            with _Restored(run.root):
                _write(run.measurements, changed)
                if kind == "card":
                    _render(run)
                _count(tally, _first(run_problems(run)), f"{record['id']}: {'.'.join(place)}")
    return tallies


def _copies(site: Path, sample: int) -> dict[str, Tally]:
    package = site / "model"

    def sums(name: str) -> None:
        listed = [line.partition("  ")[2] for line in (package / CHECKSUMS).read_text().splitlines()]
        names = [os.path.normpath(f"{FOLDER}/{path}") for path in listed]
        _write(package / CHECKSUMS, checksums({name: (package / name).read_bytes() for name in names}).decode())
        digests = run_dir.tree_sha256s(site)
        lines = (f"{digest}  {name}\n" for name, digest in digests.items() if name != CHECKSUMS_FILE)
        _write(site / CHECKSUMS_FILE, "".join(lines))

    evidence = [path.relative_to(site).as_posix() for path in sorted((package / FOLDER).rglob("*.json*"))]
    names = [*_COPIES, *(name for name in evidence if "/stamps/" not in name)]
    tallies = {kind: Tally() for kind in ("alone", "stamps")}
    for name in names:
        text = (site / name).read_text()
        matches = list(_NUMBER.finditer(text))
        for kind, tally in tallies.items():
            tally.numbers += len(matches)
            for match in _spread(matches, sample):
                with _Restored(site):
                    _write(site / name, text[: match.start()] + _changed(match[0]) + text[match.end() :])
                    if kind == "stamps":
                        sums(name)
                    _count(
                        tally,
                        _first(published_problems(site)),
                        f"{name}: {text[max(0, match.start() - 30) : match.end()]}",
                    )
    return tallies


def _tallied(
    run: RunDir, names: Sequence[str], sample: int, forgeries: dict[str, Callable[[str], None]]
) -> dict[str, Tally]:
    tallies = {kind: Tally() for kind in forgeries}
    for name in names:
        text = (run.root / name).read_text()
        matches = list(_NUMBER.finditer(text))
        for kind, forge in forgeries.items():
            tallies[kind].numbers += len(matches)
            for match in _spread(matches, sample):
                with _Restored(run.root):
                    _write(run.root / name, text[: match.start()] + _changed(match[0]) + text[match.end() :])
                    problems = _forged(run, forge, name)
                where = f"{name}: {text[max(0, match.start() - 30) : match.end()]}"
                _count(tallies[kind], problems, where)
        print(f"{name}: {len(matches)} numbers", file=sys.stderr)
    return tallies


def _forged(run: RunDir, forge: Callable[[str], None], name: str) -> list[str]:
    """Problems after a forgery. A change that the card cannot be rendered with is found by whoever tries."""
    try:
        forge(name)
    except (run_dir.ArtifactError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        return [str(error)]
    return _first(run_problems(run))


def _first(problems: Iterator[str]) -> list[str]:
    """The first problem; one is enough."""
    return list(itertools.islice(problems, 1))


def _count(tally: Tally, problems: Sequence[str], where: str) -> None:
    tally.changed += 1
    tally.found += bool(problems)
    if not problems:
        tally.missed.append(" ".join(where.split()))


def _spread(items: Sequence[Any], sample: int) -> Sequence[Any]:
    return (
        items
        if not sample or len(items) <= sample
        else [items[index * len(items) // sample] for index in range(sample)]
    )


def _changed(number: str) -> str:
    """The number with its first digit other than 0 changed; 0 becomes 1."""
    at = next((index for index, char in enumerate(number) if char in "123456789"), None)
    if at is None:
        return number[:-1] + "1"
    return number[:at] + str(int(number[at]) % 9 + 1) + number[at + 1 :]


def _stamp(run: RunDir, name: str) -> None:
    """Let the stage's stamp list the changed file."""
    stage, _, rest = name.partition("/")
    stamp = read_json(run.stamp(stage))
    stamp["outputs"][rest] = run_dir.file_sha256(run.root / name)
    _write(run.stamp(stage), json.dumps(stamp))


def _sign(run: RunDir, name: str) -> None:
    """Let stamps list the changed file wherever it was written or read, and the log have the hashes of these stamps."""
    _stamp(run, name)
    digest = run_dir.file_sha256(run.root / name)
    for path in run.stamps.glob("*.json"):
        stamp = read_json(path)
        if name in stamp["inputs"]:
            stamp["inputs"][name] = digest
            _write(path, json.dumps(stamp))
    _sign_log(run)


def _sign_log(run: RunDir) -> None:
    stamps = {path.stem: read_json(path) for path in run.stamps.glob("*.json")}
    hashes = {s: {kind: combined_sha256(stamp[kind]) for kind in ("inputs", "outputs")} for s, stamp in stamps.items()}
    lines = []
    for line in run.measurements.read_text().splitlines():
        record = json.loads(line)
        if stamps[record["stage"]]["fingerprint"] == record["fingerprint"]:
            record |= hashes[record["stage"]]
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    _write(run.measurements, "".join(lines))


def _render(run: RunDir) -> None:
    """Render the card again as `tinsmith card RUN` does, with the recorded runs of its code, and make its site."""
    card, site = run.stage("card"), run.stage("app")
    lines = [json.loads(line) for line in run.measurements.read_text().splitlines()]
    earlier = [line for line in lines if line["stage"] not in ("card", "app")]
    own = [line for line in lines if line["stage"] in ("card", "app")]
    _write(run.measurements, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in earlier))
    evidence = read_evidence(run)
    runs = {record["form"]: SnippetRun(**record) for record in read_json(card / "snippets.json")}
    for name, content in card_files(evidence, evidence.config.card, evidence.config.name, runs).items():
        for path in (card / name, site / "model" / name, *([site / name] if is_on_site(name) else [])):
            if not path.is_file() or path.read_bytes() != content:
                _write(path, content)
    for name, page in card_pages(card, read_json(site / "app.json")["title"]).items():
        _write(site / name, page)
    digests = run_dir.tree_sha256s(site)
    sums = (f"{digest}  {name}\n" for name, digest in digests.items() if name != CHECKSUMS_FILE)
    _write(site / CHECKSUMS_FILE, "".join(sums))
    for stage in ("card", "app"):
        stamp = read_json(run.stamp(stage))
        stamp["outputs"] = run_dir.tree_sha256s(run.stage(stage))
        for name in stamp["inputs"]:
            earlier_stage, _, rest = name.partition("/")
            outputs = read_json(run.stamp(earlier_stage))["outputs"]
            stamp["inputs"][name] = outputs.get(rest, stamp["inputs"][name])
        _write(run.stamp(stage), json.dumps(stamp))
        hashes = {kind: combined_sha256(stamp[kind]) for kind in ("inputs", "outputs")}
        derived = {m.id: m.value for m in derive(RULES[stage], Files(run.stage, 0))}
        for line in own:
            if line["stage"] == stage and line["fingerprint"] == stamp["fingerprint"]:
                line.update(hashes, value=derived[line["id"]])
    _write(run.measurements, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [*earlier, *own]))


def vars_of(measurement: Any) -> dict[str, Any]:
    return {name: getattr(measurement, name) for name in measurement.__dataclass_fields__}


_written: dict[Path, bytes | None] = {}
"""Path -> its content before the first change; None if it did not exist."""


def _write(path: Path, content: str | bytes) -> None:
    _written.setdefault(path, path.read_bytes() if path.exists() else None)
    path.unlink(missing_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


class _Restored:
    """Puts every file back that was changed inside."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __enter__(self) -> None:
        _written.clear()

    def __exit__(self, *_: object) -> None:
        for path, content in list(_written.items()):
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)
        _written.clear()


def _copy(source: Path, target: Path) -> None:
    def copy(one: str, other: str) -> None:
        if os.stat(one).st_size > _LINKED_BYTES:
            run_dir.link_or_copy(Path(one), Path(other))
        else:
            shutil.copy2(one, other)

    shutil.copytree(source, target, copy_function=copy, ignore=shutil.ignore_patterns(".work"))


@contextmanager
def _hashes_once() -> Generator[None]:
    """Remember the digest of a file until its time of change, size or inode differs. A check hashes every file."""
    file_sha256_again = run_dir.file_sha256
    known: dict[tuple[Any, ...], str] = {}

    def file_sha256(path: Path) -> str:
        stat = path.stat()
        key = (path, stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if key not in known:
            known[key] = file_sha256_again(path)
        return known[key]

    with mock.patch.object(run_dir, "file_sha256", file_sha256):
        yield


if __name__ == "__main__":
    main()
