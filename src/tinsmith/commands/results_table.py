"""The table of results that a run prints when it ends."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tinsmith.core.measure import Measurement

_MODELS = ("base", "tuned", "int4")
_SUBJECTS = (*_MODELS, "page")


def results_table(measurements: Sequence[Measurement]) -> str:
    """The main results as aligned text, with `-` for numbers that were not measured."""
    by_id = {m.id: m for m in measurements}

    def cell(identifier: str, template: str, factor: float = 1.0) -> str:
        return template.format(by_id[identifier].value * factor) if identifier in by_id else "-"

    rows = [("", *_SUBJECTS)]
    for split in ("train", "val", "test"):
        perplexities = (cell(f"evaluate.perplexity.{split}.{m}", "{:.2f}") for m in _MODELS)
        rows.append((f"perplexity, {split}", *perplexities, ""))
    for name, title in (
        ("stop_rate", "answers that stop"),
        ("repetition_rate", "answers that repeat"),
        ("format_valid", "answers with valid JSON"),
    ):
        rows.append((title, *(cell(f"evaluate.answers.{name}.{m}", "{:.0f} %", 100) for m in _MODELS), ""))
    for group, title in (
        ("trained", "facts, trained questions"),
        ("reworded", "facts, in other words"),
        ("held_out_seen", "facts, held out, known elsewhere"),
        ("held_out_new", "facts, held out, never stated"),
        ("wrong_numbers", "stated numbers that are wrong"),
    ):
        rows.append((title, *(cell(f"evaluate.facts.{group}.{m}", "{:.0f} %", 100) for m in _SUBJECTS)))
    widths = [max(len(row[column]) for row in rows) for column in range(1 + len(_SUBJECTS))]
    lines = [
        "  ".join((row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)))).rstrip()
        for row in rows
    ]
    lines += [
        "",
        *_page_lines(cell),
        f"INT4 against tuned, test perplexity   {cell('evaluate.ratio.test.int4_over_tuned', '{:.3f}')} x",
        f"weights to download                   {cell('export.weights_bytes', '{:.1f}', 1e-6)} MB",
    ]
    for device in ("wasm", "webgpu"):
        rate = cell(f"bench.{device}.decode_tokens_per_second", "{:.2f}")
        lines.append(
            f"{f'browser, {device}':<36}  {rate} tokens/s" + ("" if rate != "-" else " (not measured; see the card)")
        )
    gates = [m for m in measurements if m.gate]
    lines.append(f"parity gates passed                   {sum(m.passed for m in gates)} of {len(gates)}")
    return "\n".join(lines)


def _page_lines(cell: Callable[..., str]) -> list[str]:
    """What the page does with questions that a passage answers, beside the model alone."""

    def share(identifier: str) -> str:
        return cell(identifier, "{:.0f} %", 100)

    wrong, silent = share("answers.known.wrong"), share("answers.known.silent")
    near, far = share("answers.near.refused"), share("answers.far.refused")
    return [
        f"page, right passage first             {share('answers.known.right')} of known questions",
        f"page, wrong answer given as sure      {wrong}; says that it does not know: {silent}",
        f"page, unanswerable refused            near {near}, far {far}",
        f"model alone, right                    {share('evaluate.closed_book.right')} of a sample; the page "
        f"{share('evaluate.closed_book.page_right')}",
    ]


def as_document(root: Path, measurements: Sequence[Measurement]) -> dict[str, Any]:
    """The results as one JSON value: the run folder's name and all current measurements."""
    return {"run": root.name, "measurements": [asdict(m) for m in measurements]}
