"""`tinsmith compare`: what differs between two runs, in the terminal and as a page."""

from pathlib import Path

from tinsmith.card.evidence import Evidence, read_evidence
from tinsmith.commands.compare_page import compare_page
from tinsmith.commands.difference_rows import Row, Section
from tinsmith.commands.existing_run import existing_run
from tinsmith.commands.run_differences import differences
from tinsmith.commands.terminal import say, say_next, show
from tinsmith.core.errors import UserError
from tinsmith.core.run_dir import write_text


def compare(old_path: Path, new_path: Path, page: Path | None) -> None:
    """Show what differs between two runs, and with `page` also write it to that file.

    Raises:
        UserError: a path is not a run, or `page` exists.
        ArtifactError: a file of a run cannot be read.
    """
    old, new = (_evidence(path) for path in (old_path, new_path))
    if page and (page.exists() or page.is_symlink()):
        raise UserError(f"{page}: already there", "Name another file with --html.")
    sections = differences(old, new)
    show(f"old: {one_line(str(old_path))}\nnew: {one_line(str(new_path))}")
    for section in sections:
        show(f"\n{section_text(section)}")
    if not sections:
        show("\nNothing differs in settings, versions, data and numbers.")
    if page:
        write_text(page, compare_page(sections, old_path.resolve().name, new_path.resolve().name))
        say(f"\nwrote {page}; it loads and sends nothing")
    else:
        say_next("compare", old_path, new_path, "--html", "compare.html")


def _evidence(path: Path) -> Evidence:
    return read_evidence(existing_run(path))


def section_text(section: Section) -> str:
    """A section for the terminal: two lines for a number, one for anything else."""
    lines = [section.title]
    for group, rows in section.groups.items():
        lines.append(f"  {one_line(group)}")
        lines += [f"    {line}" for row in rows for line in _row_lines(row)]
    lines += [f"  {one_line(note)}" for note in section.notes]
    return "\n".join(lines)


def _row_lines(row: Row) -> list[str]:
    lines = [one_line(f"{row.name}: {row.old} -> {row.new}")]
    if change := "; ".join(filter(None, (row.change, row.verdict))):
        lines.append(f"  {one_line(change)}")
    return lines


def one_line(text: str) -> str:
    """`text` without line breaks, so that a name cannot pass for a line of its own."""
    return " ".join(text.split())
