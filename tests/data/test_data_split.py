"""Splits have the right size, keep near-duplicates together, and do not depend on the order of files."""

import json
import random
import shutil
from collections import Counter

import numpy as np
import pytest

from stage_runs import run_stage
from tinsmith.core.config import DataConfig
from tinsmith.data.duplicates import content_hash
from tinsmith.data.split import Rows, split_rows
from tinsmith.data.stage import prepare_data
from tinsmith.model.conversations import Conversation, Message, read_jsonl

TENTH = {"val": 0.1, "test": 0.1}


def conversation(id, question, answer="Yes.", category="c"):
    return Conversation(str(id), category, (Message("user", question), Message("assistant", answer)))


def random_text(chance, words=8):
    return " ".join("".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(words))


def random_conversations(sizes, seed=0):
    chance = random.Random(seed)
    return [
        conversation(f"{name}-{n}", random_text(chance), category=name)
        for name, size in sizes.items()
        for n in range(size)
    ]


def split_conversations(conversations, clusters, fractions, seed):
    """The conversations of each split."""
    names = sorted({one.category for one in conversations})
    labels = np.empty(len(conversations), int)
    for number, members in enumerate(clusters):
        labels[members] = number
    hashes = b"".join(content_hash(one) for one in conversations)
    rows = Rows(
        np.frombuffer(hashes, np.uint8).reshape(-1, 32),
        np.array([names.index(one.category) for one in conversations]),
        labels,
    )
    splits = split_rows(rows, names, fractions, seed)
    return {split: [conversations[row] for row in numbers] for split, numbers in splits.items()}


def alone(conversations):
    return [[index] for index in range(len(conversations))]


def test_totals_are_right_with_many_small_categories():
    conversations = random_conversations({f"cat{n}": 13 if n < 35 else 12 for n in range(39)})
    splits = split_conversations(conversations, alone(conversations), TENTH, seed=0)
    assert {name: len(members) for name, members in splits.items()} == {"train": 403, "val": 50, "test": 50}
    for split in ("val", "test"):
        assert set(Counter(c.category for c in splits[split]).values()) == {1, 2}, "each category gives its share"
    ids = [c.id for members in splits.values() for c in members]
    assert sorted(ids) == sorted(c.id for c in conversations)


def test_every_category_keeps_one_conversation_for_training():
    conversations = random_conversations({**{f"single{n}": 1 for n in range(10)}, "large": 40})
    splits = split_conversations(conversations, alone(conversations), TENTH, seed=3)
    assert {c.category for c in splits["train"]} == {c.category for c in conversations}
    assert (len(splits["val"]), len(splits["test"])) == (5, 5)


def test_only_single_categories_still_fill_the_splits():
    conversations = random_conversations({f"single{n}": 1 for n in range(20)})
    splits = split_conversations(conversations, alone(conversations), TENTH, seed=3)
    assert (len(splits["val"]), len(splits["test"])) == (2, 2)


def test_at_least_one_in_val_and_test():
    conversations = random_conversations({"a": 10})
    splits = split_conversations(conversations, alone(conversations), {"val": 0.01, "test": 0.01}, seed=0)
    assert (len(splits["val"]), len(splits["test"])) == (1, 1)


@pytest.mark.parametrize("seed", range(5))
def test_no_cluster_is_divided_and_large_ones_do_not_stop_the_split(seed):
    conversations = random_conversations({"a": 60, "b": 40})
    chance = random.Random(seed)
    order = chance.sample(range(100), 100)
    clusters = [
        order[:30],
        order[30:45],
        order[45:52],
        *([a, b] for a, b in zip(order[52::2], order[53::2], strict=True)),
    ]
    splits = split_conversations(conversations, clusters, TENTH, seed)
    where = {c.id: name for name, members in splits.items() for c in members}
    for cluster in clusters:
        assert len({where[conversations[index].id] for index in cluster}) == 1
    assert 9 <= len(splits["val"]) <= 10 and 9 <= len(splits["test"]) <= 10


def test_clusters_larger_than_a_split_give_one_whole_cluster():
    conversations = random_conversations({"a": 12})
    splits = split_conversations(conversations, [list(range(n, n + 3)) for n in range(0, 12, 3)], TENTH, seed=0)
    assert {name: len(members) for name, members in splits.items()} == {"train": 6, "val": 3, "test": 3}


def test_split_depends_on_contents_and_seed_not_on_the_order_of_files(tiny_llama, tmp_path):
    conversations = random_conversations({"a": 30, "b": 50})
    (tmp_path / "base").mkdir()
    shutil.copytree(tiny_llama, tmp_path / "base" / "model")

    def split(run, seed, names, order):
        source, out = tmp_path / run / "in", tmp_path / run / "out"
        source.mkdir(parents=True)
        out.mkdir()
        for number, name in enumerate(names):
            records = [conversations[i] for i in order if i % len(names) == number]
            lines = [json.dumps({"category": c.category, "messages": c.as_dicts()}) for c in records]
            (source / name).write_text("\n".join(lines))
        run_stage(prepare_data, DataConfig(path=str(source)), tmp_path / "base", out, seed=seed)
        return {name: [c.messages for c in read_jsonl(out / f"{name}.jsonl")] for name in ("train", "val", "test")}

    straight = split("1", 0, ["a.jsonl", "b.jsonl"], range(80))
    shuffled = split("2", 0, ["z.jsonl", "y.jsonl", "x.jsonl"], random.Random(1).sample(range(80), 80))
    assert straight == shuffled
    other = split("3", 1, ["a.jsonl", "b.jsonl"], range(80))
    assert set(other["test"]) != set(straight["test"])


def test_shares_above_a_half_do_not_round_the_total_up():
    conversations = random_conversations({f"cat{n}": 16 for n in range(10)})
    splits = split_conversations(conversations, alone(conversations), TENTH, seed=0)
    assert {name: len(members) for name, members in splits.items()} == {"train": 128, "val": 16, "test": 16}
