"""The nearest training conversation, with and without an encoder."""

import json
import math

import numpy as np
import pytest

from tinsmith.evaluate import neighbours
from tinsmith.evaluate.neighbours import COSINE, GRAMS, nearest_neighbours, write_neighbours
from tinsmith.model.conversations import Conversation, Message


def conversation(id, question):
    return Conversation(id, "", (Message("user", question), Message("assistant", f"About {id}.")))


TRAIN = [
    conversation("solar", "Do I need a building permit for solar panels?"),
    conversation("kitchen", "What does a new kitchen cost?"),
    conversation("fence", "How high may my fence be?"),
]


class FakeEncoder:
    """Two dimensions: the share of the letters k and of the others."""

    def passages(self, texts):
        vectors = np.array([[text.count("k") + 0.1, len(text) / 10] for text in texts], np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_substrings_find_the_same_question_in_nearly_the_same_words(tmp_path):
    test = [
        conversation("same", "Is a building permit needed for solar panels?"),
        conversation("exact", "how high may my FENCE be"),
        conversation("other", "Which teas are sold?"),
    ]
    same, exact, other = nearest_neighbours(test, TRAIN, None)
    assert (same.id, same.nearest) == ("same", "solar") and 0.5 < same.similarity < 1
    assert exact.nearest == "fence" and exact.similarity == pytest.approx(1)
    assert other.similarity < 0.2
    write_neighbours(tmp_path / "neighbours.jsonl", [same, exact, other], GRAMS)
    lines = [json.loads(line) for line in (tmp_path / "neighbours.jsonl").read_text().splitlines()]
    assert [line["close"] for line in lines] == [True, True, False]
    assert lines[0]["similarity"] == round(same.similarity, 4)


def test_an_encoder_decides_if_there_is_one(tmp_path):
    (found,) = nearest_neighbours([conversation("kk", "kkkk kkkk")], TRAIN, FakeEncoder())
    vectors = FakeEncoder().passages(["kkkk kkkk", *(one.messages[0].content for one in TRAIN)])
    cosines = vectors[1:] @ vectors[0]
    assert found.nearest == TRAIN[int(cosines.argmax())].id == "kitchen"
    assert found.similarity == pytest.approx(cosines.max())


@pytest.mark.parametrize("encoder", [None, FakeEncoder()])
def test_blocks_of_training_questions_change_nothing(monkeypatch, encoder):
    train = [
        conversation(f"{number}", f"{one.messages[0].content} {number % 7}") for number in range(40) for one in TRAIN
    ]
    test = [conversation(f"t{number}", f"{one.messages[0].content} {number}") for number in range(9) for one in TRAIN]
    whole = nearest_neighbours(test, train, encoder)
    monkeypatch.setattr(neighbours, "_BLOCK", 7)
    monkeypatch.setattr(neighbours, "_COSINES", 5 * len(test))
    in_blocks = nearest_neighbours(test, train, encoder)
    assert [(one.id, one.nearest) for one in in_blocks] == [(one.id, one.nearest) for one in whole]
    assert [one.similarity for one in in_blocks] == pytest.approx([one.similarity for one in whole])


def test_a_cosine_on_the_threshold_is_close(tmp_path):
    from tinsmith.evaluate.neighbours import Neighbour

    below = math.nextafter(COSINE.threshold, 0)
    write_neighbours(tmp_path / "n.jsonl", [Neighbour("a", "b", COSINE.threshold), Neighbour("c", "b", below)], COSINE)
    assert [json.loads(line)["close"] for line in (tmp_path / "n.jsonl").read_text().splitlines()] == [True, False]
