"""Drop exact duplicates and group near-duplicates, so that no test question has a near copy in training."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from tinsmith.core.run_dir import combined_sha256
from tinsmith.model.conversations import Conversation

SHINGLE_CHARACTERS = 5
NEAR_DUPLICATE_TENTHS = 7
"""Minimum Jaccard similarity of the shingle sets of near-duplicates. In tenths, so that comparisons are exact."""


def content_hash(conversation: Conversation) -> str:
    """sha256 of roles and texts. Exact duplicates have the same hash, whatever their ids and files."""
    return combined_sha256([[message.role, message.content] for message in conversation.messages])


def drop_duplicates(
    conversations: Sequence[Conversation],
) -> tuple[list[Conversation], list[tuple[Conversation, Conversation]]]:
    """The conversations without exact duplicates, and `(duplicate, original)` pairs."""
    first: dict[str, Conversation] = {}
    duplicates = []
    for conversation in conversations:
        original = first.setdefault(content_hash(conversation), conversation)
        if original is not conversation:
            duplicates.append((conversation, original))
    return list(first.values()), duplicates


def near_duplicate_clusters(conversations: Sequence[Conversation]) -> list[list[int]]:
    """Groups of indexes: conversations with near-duplicate first questions are in the same group.

    Two are near-duplicates if their first user messages are equal apart from case and punctuation, or their sets of
    5-character shingles have a Jaccard similarity of at least 0.7. Groups are the connected components, each sorted.

    Source: prefix filtering after Bayardo, Ma and Srikant, "Scaling Up All Pairs Similarity Search" (2007): with
        shingles in one global order, two sets this similar share one among their first |x| - ceil(0.7 |x|) + 1.
        Unlike MinHash, it finds every pair.
    """
    texts = [_normalised(conversation) for conversation in conversations]
    parents = list(range(len(texts)))
    first: dict[str, int] = {}
    for index, text in enumerate(texts):
        _join(parents, index, first.setdefault(text, index))
    _join_similar(parents, {index: _shingles(text) for text, index in first.items()})
    groups = defaultdict(list)
    for index in range(len(texts)):
        groups[_root(parents, index)].append(index)
    return list(groups.values())


def _normalised(conversation: Conversation) -> str:
    """The words of the first user message in lower case. A message without words stays as it is."""
    text = next(message.content for message in conversation.messages if message.role == "user")
    return " ".join(re.findall(r"\w+", text.casefold())) or text


def _shingles(text: str) -> frozenset[str]:
    size = SHINGLE_CHARACTERS
    return frozenset(text[start : start + size] for start in range(max(1, len(text) - size + 1)))


def _join_similar(parents: list[int], shingles: dict[int, frozenset[str]]) -> None:
    frequency = Counter(shingle for members in shingles.values() for shingle in members)
    by_prefix: dict[str, list[int]] = defaultdict(list)
    # Smaller sets first: an indexed candidate is then never larger than the set compared with it.
    for index, members in sorted(shingles.items(), key=lambda item: (len(item[1]), item[0])):
        # Rare shingles first: a shared rare shingle leaves few candidates to compare.
        ordered = sorted(members, key=lambda shingle: (frequency[shingle], shingle))
        needed = -(-NEAR_DUPLICATE_TENTHS * len(members) // 10)  # rounded up
        seen = set()
        for shingle in ordered[: len(members) - needed + 1]:
            for other in by_prefix[shingle]:
                if other not in seen:
                    seen.add(other)
                    if len(shingles[other]) >= needed and _root(parents, other) != _root(parents, index):
                        _join_if_similar(parents, index, other, members, shingles[other])
            by_prefix[shingle].append(index)


def _join_if_similar(parents: list[int], a: int, b: int, left: frozenset, right: frozenset) -> None:
    shared = len(left & right)
    if 10 * shared >= NEAR_DUPLICATE_TENTHS * (len(left) + len(right) - shared):
        _join(parents, a, b)


def _root(parents: list[int], index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = parents[index]
    return index


def _join(parents: list[int], a: int, b: int) -> None:
    low, high = sorted((_root(parents, a), _root(parents, b)))
    parents[high] = low
