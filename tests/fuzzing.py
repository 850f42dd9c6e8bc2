"""Hostile inputs for readers of files: changed JSON and damaged bytes."""

import copy
import functools
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

COUNTS = [100, pytest.param(10_000, marks=pytest.mark.long)]
"""Inputs of each reader in `make test` and in `make test-long`."""


def for_each(count: int, inputs: some.SearchStrategy, check: Callable[..., None]) -> None:
    """Call `check` with `count` inputs, always the same ones."""

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def run(value: object) -> None:
        check(value)

    run()


numbers = some.one_of(
    some.integers(-3, 300),
    some.sampled_from([2**15, 2**31 - 1, 2**31, 2**32, 2**63, 2**64, 10**30, -(2**63), 10**400]),
    some.floats(allow_nan=True),
)
json_values = some.recursive(
    some.one_of(some.none(), some.booleans(), numbers, some.text(max_size=12), some.just("x" * 5000)),
    lambda inner: some.one_of(
        some.lists(inner, max_size=4), some.dictionaries(some.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=6,
)
"""JSON values with the numbers and shapes that readers trip over."""


def changed(tree: object) -> some.SearchStrategy:
    """`tree` with one to three of its values replaced, removed, repeated or renamed."""
    change = some.tuples(
        some.integers(0, 2**32), some.sampled_from(["replace", "replace", "remove", "rename", "repeat"]), json_values
    )
    return some.lists(change, min_size=1, max_size=3).map(functools.partial(_apply, tree))


def _apply(tree: object, changes: list[tuple[int, str, object]]) -> object:
    tree = copy.deepcopy(tree)
    for number, kind, value in changes:
        places = _places(tree)
        if not places:
            return value
        # The first values of a file, which name kinds and sizes, are as likely to change as all others.
        parent, key = places[number % (min(len(places), 40) if number % 2 else len(places))]
        if kind == "replace":
            parent[key] = value
        elif kind == "remove":
            del parent[key]
        elif isinstance(parent, list):
            parent.insert(key, parent[key])
        elif kind == "rename":
            parent[f"{key}x"] = parent.pop(key)
        else:
            parent[key] = [parent[key], parent[key]]
    return tree


def _places(tree: object) -> list[tuple]:
    places, rest = [], [tree]
    while rest:
        node = rest.pop(0)
        entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in entries:
            places.append((node, key))
            if isinstance(value, dict | list) and len(value) < 1000:
                rest.append(value)
    return places


def damaged(content: bytes, header_bytes: int) -> some.SearchStrategy:
    """`content` cut, or with bytes of its first `header_bytes` changed, inserted or removed."""
    place = some.integers(0, header_bytes)
    piece = some.one_of(
        some.binary(min_size=1, max_size=9),
        some.sampled_from([0, 1, 255, 2**16, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1]).map(
            lambda number: number.to_bytes(8, "little")
        ),
    )
    edit = some.tuples(some.sampled_from(["over", "over", "insert", "remove", "cut"]), place, piece)
    return some.lists(edit, min_size=1, max_size=3).map(functools.partial(_edited, content))


def _edited(content: bytes, edits: list[tuple[str, int, bytes]]) -> bytes:
    for kind, place, piece in edits:
        if kind == "over":
            content = content[:place] + piece + content[place + len(piece) :]
        elif kind == "insert":
            content = content[:place] + piece + content[place:]
        elif kind == "remove":
            content = content[:place] + content[place + len(piece) :]
        else:
            content = content[:place]
    return content
