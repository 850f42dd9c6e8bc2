"""What differs between two runs: settings, versions, data and numbers.

No text of the data is in it, only ids, so that it can be shared.
"""

from collections.abc import Iterator

from tinsmith.card.answers import KIND_WORDS
from tinsmith.card.evidence import STAGES, Evidence
from tinsmith.commands.common_items import SPLITS, Pair, conversations, outcomes, same_words
from tinsmith.commands.difference_rows import TITLES, Row, Section, listed
from tinsmith.commands.measurement_names import name_of
from tinsmith.commands.number_differences import numbers
from tinsmith.commands.setting_differences import settings, versions
from tinsmith.model.answers.rates import Outcome


def differences(old: Evidence, new: Evidence) -> list[Section]:
    """A summary and the sections in which the runs differ; none if they do not.

    Raises:
        ArtifactError: a file of a run cannot be read.
    """
    short, measured = numbers(old, new)
    sections = (short, unfinished(old, new), settings(old, new), versions(old, new), data(old, new), measured)
    return [section for section in sections if section]


def unfinished(old: Evidence, new: Evidence) -> Section:
    """Stages that only one run has finished."""
    section = Section("Not compared")
    for which, evidence, other in (("old", old, new), ("new", new, old)):
        missing = [TITLES[stage] for stage in STAGES if stage in other.stamps and stage not in evidence.stamps]
        if missing:
            section.notes.append(f"The {which} run has not finished: {', '.join(missing)}.")
    return section


def data(old: Evidence, new: Evidence) -> Section:
    """Conversations of each split, moves between splits, and questions, by what both runs have in common."""
    section = Section("Data")
    by_split = {
        split: Pair(conversations(old, split), conversations(new, split), "conversations")
        for split in SPLITS
        if "data" in old.stamps and "data" in new.stamps
    }
    if rows := [row for split, pair in by_split.items() for row in _split_rows(split, pair)]:
        section.groups[TITLES["data"]] = rows
    section.notes += _moves(by_split)
    sides = outcomes(old), outcomes(new)
    if "knowledge" in old.stamps and "knowledge" in new.stamps and (rows := list(_question_rows(*sides))):
        section.groups[TITLES["knowledge"]] = rows
    return section


def _split_rows(split: str, pair: Pair[str]) -> Iterator[Row]:
    name, common = name_of(f"data.conversations.{split}").words, len(pair.common)
    if pair.old.keys() == pair.new.keys():
        return
    only_old, only_new = ({side[key] for key in side if key not in pair.common} for side in (pair.old, pair.new))
    change = f"{common:,} in common by their messages"
    if reused := sorted(only_old & only_new):
        change += f"; the same id, but other messages: {listed(reused)}"
    yield Row(name, f"{len(pair.old):,}", f"{len(pair.new):,}", change)


def _moves(by_split: dict[str, Pair[str]]) -> Iterator[str]:
    """Conversations in another split than before; a model that was trained on some of a test split knows them."""
    for before, old_pair in by_split.items():
        for after, new_pair in by_split.items():
            moved = sorted(new_pair.new[key] for key in old_pair.old.keys() & new_pair.new.keys())
            if moved and before != after:
                yield f"{len(moved):,} moved from the {before} to the {after} split: {listed(moved)}."


def _question_rows(old: dict[str, Outcome], new: dict[str, Outcome]) -> Iterator[Row]:
    for kind, title in KIND_WORDS.items():
        sides = ({key: one for key, one in side.items() if one.question.kind == kind} for side in (old, new))
        pair = Pair(*sides, "questions")
        if pair.old.keys() == pair.new.keys():
            continue
        common = len(pair.common)
        change = f"{common:,} in common"
        if judged := same_words(pair) - common:
            change += f"; {judged:,} more with the same words, but another right answer"
        yield Row(title, f"{len(pair.old):,}", f"{len(pair.new):,}", change)
