"""Decide over all conversations at once, from small columns: duplicates, contradictions, ids and splits."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from tinsmith.core.config import DataConfig
from tinsmith.data.candidates import find_candidates
from tinsmith.data.changes import WHAT, Change, ChangeLog
from tinsmith.data.contradictions import Contradiction, comparing, contradictions_of
from tinsmith.data.duplicates import near_duplicates
from tinsmith.data.pieces import short_hash
from tinsmith.data.split import Rows, split_rows
from tinsmith.data.statements import WIDTH
from tinsmith.data.store import Store
from tinsmith.data.survey import Survey, survey
from tinsmith.model.conversations import Conversation


@dataclass(slots=True)
class Combined:
    """What becomes of the rows of a store."""

    rows: np.ndarray
    """Rows that are used, in the order of the data: the first of each set of exact duplicates."""
    splits: dict[str, np.ndarray] = field(default_factory=dict)
    """Rows of each split, shuffled."""
    new_ids: dict[int, str] = field(default_factory=dict)
    """Rows whose id another row has too, and the id they get."""
    categories: Counter[str] = field(default_factory=Counter)
    system_prompt: str = ""
    """The most common one; empty if having none is more common."""
    contradictions: tuple[Contradiction, ...] = ()
    survey: Survey = field(default_factory=Survey)


class Places:
    """File and position of rows."""

    def __init__(self, store: Store) -> None:
        self._files, self._positions = store.texts("file"), store.texts("position")
        self._changed = store.numbers("changed")

    def __call__(self, row: int) -> tuple[str, str]:
        """File and position of a row."""
        return self._files[row].as_py(), self._positions[row].as_py()

    def change(self, log: ChangeLog, what: str, row: int, reason: str, detail: str) -> None:
        """Log a change to a row."""
        change = Change(*self(row), what, reason, detail)
        bit = 1 << WHAT.index(what)
        if self._changed[row] & bit:
            log.add(change)
        else:
            log.add_record([change])
            self._changed[row] |= bit


def drop_duplicates(store: Store, places: Places, log: ChangeLog) -> Combined:
    """The first row of each set of exact duplicates, with the ids that have to change."""
    contents = store.hashes("content")
    first, kept = _first_of_equal(contents)
    for row in np.flatnonzero(~kept):
        file, position = places(first[row])
        places.change(log, "duplicate", row, "same messages as an earlier conversation", f"{file}, {position}")
    combined = Combined(np.flatnonzero(kept))
    ids = store.hashes("id")[combined.rows]
    first_id, is_first = _first_of_equal(ids)
    taken = set() if is_first.all() else {id.tobytes() for id in ids}
    for index in np.flatnonzero(~is_first):
        row, other = combined.rows[index], combined.rows[first_id[index]]
        combined.new_ids[int(row)] = new_id = _free_id(places(row), taken)
        taken.add(short_hash(new_id))
        file, position = places(other)
        reason = "id is also the id of an earlier conversation: replaced"
        places.change(log, "repaired", row, reason, f"that of {file}, {position}")
    return combined


def combine(
    store: Store, combined: Combined, config: DataConfig, seed: int, places: Places, log: ChangeLog
) -> Combined:
    """Find contradictions, near-duplicates and exceptions among the rows that are used, and split the rows.

    Raises:
        DataError: the data cannot be split.
    """
    texts = store.texts("category").take(combined.rows).combine_chunks().dictionary_encode()
    names = texts.dictionary.to_pylist()
    order = sorted(range(len(names)), key=lambda number: names[number])
    numbers = np.empty(len(names), np.int64)
    numbers[order] = np.arange(len(names))
    categories = numbers[texts.indices.to_numpy()]
    names = [names[number] for number in order]
    combined.categories = Counter(dict(zip(names, np.bincount(categories, minlength=len(names)).tolist(), strict=True)))
    combined.system_prompt = _common_prompt(store, combined.rows)

    def conversation(index: int) -> Conversation:
        return store.conversation(int(combined.rows[index]))

    signatures = store.hashes("signature")[combined.rows].view(np.uint32)
    labels = near_duplicates(signatures, lambda index: conversation(index).question)
    del signatures  # half a gigabyte for a million conversations
    flag = partial(places.change, log, "flagged")
    candidates = find_candidates(*_statements(store, combined.rows), labels)
    with comparing(candidates, conversation) as conflicts:
        combined.survey = survey(store, combined.rows, labels, config.language, flag)
        combined.contradictions = contradictions_of(candidates, conflicts, conversation)
    fractions = {"val": config.val_fraction, "test": config.test_fraction}
    rows = Rows(store.hashes("content")[combined.rows], categories, labels)
    splits = split_rows(rows, names, fractions, seed)
    combined.splits = {split: combined.rows[indexes] for split, indexes in splits.items()}
    return combined


def _statements(store: Store, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Statements of some rows, and the index in `rows` that each belongs to."""
    statements, owners = store.tables("statements", WIDTH)
    indexes = np.full(len(store), -1)
    indexes[rows] = np.arange(len(rows))
    owners = indexes[owners]
    is_used = owners >= 0
    return statements[is_used], owners[is_used]


def _first_of_equal(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first row with the same hash as each row, and whether that is the row itself."""
    values = np.ascontiguousarray(hashes).view(np.dtype((np.void, hashes.shape[1]))).ravel()
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    first_rows = first[inverse]
    return first_rows, first_rows == np.arange(len(first_rows))


def _free_id(place: tuple[str, str], taken: Collection[bytes]) -> str:
    """An id made from file and position that no other row has; `taken` are the hashes of all others."""
    name = id = ":".join(place)
    number = 1
    while short_hash(id) in taken:
        number += 1
        id = f"{name} ({number})"
    return id


def _common_prompt(store: Store, rows: np.ndarray) -> str:
    values = store.hashes("prompt")[rows]
    values = values.view(np.dtype((np.void, values.shape[1]))).ravel()
    _, first, counts = np.unique(values, return_index=True, return_counts=True)
    candidates = (store.conversation(row).messages[0] for row in rows[first[counts == counts.max()]])
    return min(message.content if message.role == "system" else "" for message in candidates)
