"""`tinsmith review`: a page on which people review replies, and the import of what they save."""

from dataclasses import dataclass
from pathlib import Path

from tinsmith.assess.review_file import import_reviews, remove_review
from tinsmith.assess.review_set import MIN_ITEMS, REVIEWED, Choice, review_set
from tinsmith.browser.runtime import WEB_DIR
from tinsmith.commands.existing_run import config_of, existing_run, require_stage
from tinsmith.commands.review_page import review_page
from tinsmith.commands.run import RunOptions, run_and_report
from tinsmith.commands.terminal import say, typed
from tinsmith.core.errors import UserError
from tinsmith.core.run_dir import RunDir, write_text
from tinsmith.model.replies.asked import GROUPS


@dataclass(frozen=True, slots=True)
class ReviewOptions:
    """Options as given on the command line."""

    files: tuple[Path, ...]
    is_import: bool
    removed: str | None
    """Name of the rater whose review is to be removed."""
    of: str
    groups: tuple[str, ...]
    count: int
    out: Path


def review(run_path: Path, options: ReviewOptions) -> None:
    """Write a page, or import or remove reviews and update the card.

    Args:
        run_path: A run with a finished evaluate stage.
        options: As given on the command line.

    Raises:
        ArtifactError: the evaluate stage has not finished.
        UserError: the options do not go together, or a file is refused.
    """
    run = existing_run(run_path)
    require_stage(run, "evaluate", "there are no answers to review: the evaluate stage has not finished")
    config = config_of(run)
    if options.is_import == (not options.files) or (options.is_import and options.removed):
        raise UserError(
            "--import and the files to import go together, and without --remove",
            f"Type: {typed('review', run_path, '--import', 'FILE')}",
        )
    if options.is_import:
        for imported in import_reviews(options.files, run.stage("evaluate"), run.reviews, config.seed):
            say(f"imported the review by {imported.rater.name}: {len(imported.items)} items")
    elif options.removed is not None:
        remove_review(run.reviews, options.removed)
        say(f"removed the review by {options.removed}")
    else:
        _write_page(run, config.name, config.seed, options)
        return
    run_and_report(config, run, RunOptions(first="review", last="app"))


def _write_page(run: RunDir, name: str, seed: int, options: ReviewOptions) -> None:
    subjects = tuple(options.of.split(","))
    unknown = [subject for subject in subjects if subject not in REVIEWED]
    if unknown or len(set(subjects)) != len(subjects) or len(subjects) < 2:
        raise UserError(
            f"--of {options.of}: names of at least two different replies are needed, with commas between them",
            f"Choose from {', '.join(REVIEWED)}.",
        )
    if options.out.exists() or options.out.is_symlink():
        raise UserError(f"{options.out}: already there", "Name another file with --out.")
    groups = tuple(group for group in GROUPS if group in options.groups)
    shown = review_set(run.stage("evaluate"), Choice(subjects, groups, options.count), seed)
    write_text(options.out, review_page(shown, name, WEB_DIR))
    count = len(shown.items)
    say(f"wrote {options.out}: {count} questions, each with {len(subjects)} replies in a random order")
    if count < MIN_ITEMS:
        say(f"Fewer than {MIN_ITEMS} questions give wide intervals: raise evaluate.questions, or add --group.")
    say("Give the file to whoever knows the right answers. It contains texts of your data, and it sends nothing.")
    say(f"What it saves is put on the card by: {typed('review', run.root, '--import', 'review-NAME.json')}")
