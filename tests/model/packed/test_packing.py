"""A pack contains every shared opening once, in an order where each row is seen by an interval of rows."""

import pytest
import torch

from tinsmith.model.packed.packing import Node, make_pack, pack_groups, packed_rows
from tinsmith.model.tokens import Tokens, load_tokenizer
from tiny import tiny_conversations

CPU = torch.device("cpu")
SYSTEM = tuple(range(100, 120))
QUESTION = tuple(range(200, 218))


def tokens(*parts, supervised=2):
    ids = sum(parts, ())
    return Tokens("x", ids, (False,) * (len(ids) - supervised) + (True,) * supervised)


def paths(pack):
    """The rows that the last row of each leaf sees, which are whole conversations."""
    leaves = [node for node in pack.nodes if node.subtree_stop == node.stop]
    return [[row for span in (*leaf.ancestors, (leaf.start, leaf.stop)) for row in range(*span)] for leaf in leaves]


def test_each_nested_opening_is_stored_once():
    one, two = tokens(SYSTEM, QUESTION, (1, 2, 3)), tokens(SYSTEM, QUESTION, (4, 5))
    three = tokens(SYSTEM, (7, 8, 9))
    pack = make_pack([three, one, two], CPU)
    assert pack.ids.tolist() == [*SYSTEM, 7, 8, 9, *QUESTION, 1, 2, 3, 4, 5]
    assert pack.nodes == (
        Node(0, 20, 46, (), 0),
        Node(20, 23, 23, ((0, 20),), 20),
        Node(23, 41, 46, ((0, 20),), 20),
        Node(41, 44, 44, ((0, 20), (23, 41)), 38),
        Node(44, 46, 46, ((0, 20), (23, 41)), 38),
    )
    assert pack.tokens == 23 + 41 + 40 and pack.rows == 46 == packed_rows([one, two, three])
    assert pack.positions[23:46].tolist() == [*range(20, 41), 38, 39]
    assert pack.supervised == (2, 2, 2)
    assert [pack.ids[pack.rows_of(index)].tolist() for index in range(3)] == sorted(
        list(t.ids) for t in (one, two, three)
    )
    # Pairs of the row that predicts a target and the target.
    assert sorted(zip(pack.predictors.tolist(), pack.targets.tolist(), strict=True)) == [
        (20, 8),
        (21, 9),
        (40, 4),
        (41, 2),
        (42, 3),
        (44, 5),
    ]


def test_a_very_short_shared_opening_is_not_shared():
    pack = make_pack([tokens(tuple(range(10)), (50, 51)), tokens(tuple(range(10)), (60, 61))], CPU)
    assert len(pack.nodes) == 2 and pack.rows == 24


def test_a_conversation_that_begins_another_and_a_duplicate():
    short, long = tokens(SYSTEM), tokens(SYSTEM, (1, 2, 3))
    pack = make_pack([long, short, short], CPU)
    assert pack.rows == 23 and pack.tokens == 63
    assert sorted(pack.targets.tolist()) == [2, 3, 118, 118, 119, 119]


@pytest.mark.parametrize("kind", ["tiny_llama", "tiny_gemma"])
def test_every_path_is_a_conversation_and_visibility_is_an_interval(kind, request):
    conversations = load_tokenizer(request.getfixturevalue(kind)).encode_all(
        tiny_conversations(12, "Sell tea, please. " * 4)
    )
    pack = make_pack(conversations, CPU)
    assert pack.rows < 0.6 * pack.tokens
    assert sorted(tuple(pack.ids[path].tolist()) for path in paths(pack)) == sorted(c.ids for c in conversations)
    for path in paths(pack):
        last = path[-1]
        seen = [row for row in range(pack.rows) if row <= last < pack.subtree_stops[row]]
        assert seen == path and pack.positions[path].tolist() == list(range(len(path)))
    expected = sorted((c.ids[: at + 1]) for c in conversations for at, on in enumerate(c.mask) if on)
    ends = {row: tuple(pack.ids[path[: place + 1]].tolist()) for path in paths(pack) for place, row in enumerate(path)}
    actual = sorted(
        (*ends[row], target) for row, target in zip(pack.predictors.tolist(), pack.targets.tolist(), strict=True)
    )
    assert actual == expected


def test_groups_keep_shared_openings_together_within_both_limits():
    conversations = [tokens(SYSTEM, (1, 2)), tokens((9,) * 30), tokens(SYSTEM, (3, 4)), tokens(SYSTEM, (5, 6))]
    assert pack_groups(conversations, [0, 1, 2, 3], batch_size=3, max_rows=1000) == [[1, 0, 2], [3]]
    assert pack_groups(conversations, [0, 1, 2, 3], batch_size=4, max_rows=26) == [[1], [0, 2, 3]]
    assert pack_groups(conversations, [3, 0], batch_size=4, max_rows=10) == [[0], [3]]
