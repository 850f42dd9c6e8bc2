"""Near-duplicates are found nearly as well as by comparing all pairs, in nearly linear work, whatever their order."""

import hashlib
import importlib.resources
import json
import random
from collections import Counter

import numpy as np
import pytest

from exact_duplicates import exact_clusters, jaccard_tenths, pairs_together, shingles
from made_up_questions import one_template, random_words, templated, words
from tinsmith.data import duplicates
from tinsmith.data.duplicates import SIGNATURE_SIZE, content_hash, near_duplicates, normalised, signatures
from tinsmith.model.conversations import Conversation, Message


def clusters(questions):
    return near_duplicates(signatures(questions), questions.__getitem__).tolist()


def recall(questions):
    """Share of the pairs in one exact cluster that are in one cluster; none may be joined without reason."""
    mine, exact = clusters(questions), exact_clusters(questions)
    together = pairs_together(list(zip(mine, exact, strict=True)))
    assert together == pairs_together(mine), "questions of two exact clusters were joined"
    return together / max(1, pairs_together(exact))


def with_edits(count, seed):
    """Questions of random words, some of them again with one or two words changed."""
    chance = random.Random(seed)
    questions = []
    for _ in range(count):
        asked = words(chance, chance.randint(1, 14))
        questions.append(" ".join(asked))
        for _ in range(chance.randint(0, 3)):
            asked[chance.randrange(len(asked))] = words(chance, 1)[0]
            questions.append(" ".join(asked))
    return chance.sample(questions, len(questions))


def test_exact_duplicates_have_one_hash_whatever_their_ids():
    def conversation(id, *texts):
        roles = ("user", "assistant") * 3
        return Conversation(id, id, tuple(map(Message, roles, texts)), {"file": id, "position": id})

    one = content_hash(conversation("1", "Is it open?", "Yes."))
    assert one == content_hash(conversation("2", "Is it open?", "Yes.")) and len(one) == 32
    others = [("Is it open?", "Yes"), ("Is it", "open?", "Yes."), ("Is it open?", "Yes.", "", "")]
    assert len({one, *(content_hash(conversation("1", *texts)) for texts in others)}) == 4


@pytest.mark.parametrize("seed", range(3))
def test_small_data_gets_exactly_the_components_of_pairwise_similarity(seed):
    questions = with_edits(150, seed)
    sets = [shingles(normalised(question)) for question in questions]
    parents = list(range(len(questions)))
    for i in range(len(questions)):
        for j in range(i):
            if jaccard_tenths(sets[i], sets[j]):
                parents = [parents[j] if parent == parents[i] else parent for parent in parents]
    assert pairs_together(parents) > 30
    assert exact_clusters(questions) == [parents.index(parent) for parent in parents]
    assert clusters(questions) == exact_clusters(questions)


def test_the_public_question_sets_lose_no_pair():
    folder = importlib.resources.files("zaragoza_construction_faq") / "data"
    questions = [
        json.loads(line)["q"]
        for name in ("faq-en.jsonl", "faq.jsonl")
        for line in (folder / name).read_text(encoding="utf-8").splitlines()
    ]
    assert clusters(questions) == exact_clusters(questions)
    assert pairs_together(clusters(questions)) == 11


@pytest.mark.parametrize("make", [templated, one_template])
def test_templated_questions_keep_nearly_all_pairs(make):
    assert recall(make(1500)) >= 0.99


@pytest.mark.long
@pytest.mark.parametrize("make", [templated, one_template, lambda count: with_edits(count // 3, 0)])
def test_many_questions_keep_nearly_all_pairs(make):
    assert recall(make(16_000)) >= 0.99


@pytest.mark.parametrize("a", ["abcdefghijklmnopqrstu", "abcdefghijklmnopqrstuvwx"])
@pytest.mark.parametrize("extra", ["", "z"])
def test_a_similarity_of_exactly_seven_tenths_counts(a, extra):
    # 21 characters are 17 shingles, and with another end 14 of 20 are shared. Of 24 characters, 20 shingles, the
    # first 18 hold 14.
    b = a[:18] + ("xyz" if len(a) == 21 else "") + extra
    assert len(set(clusters([a, b]))) == (1 if extra == "" else 2)


def test_case_and_punctuation_do_not_make_another_question():
    questions = ["What is it?", "what is   IT", "¿?", "!!", "Où?", "où", "a", "b", "\ud800", "\ud800!"]
    assert clusters(questions) == [0, 0, 2, 3, 4, 4, 6, 7, 8, 9]
    assert len(near_duplicates(signatures([]), [].__getitem__)) == 0


def test_clusters_do_not_depend_on_the_order_or_on_how_signatures_were_made(monkeypatch):
    questions = templated(500) + with_edits(100, 1)
    expected = clusters(questions)
    groups = Counter(frozenset(np.flatnonzero(np.array(expected) == first)) for first in set(expected))
    order = random.Random(5).sample(range(len(questions)), len(questions))
    monkeypatch.setattr(duplicates, "_CHUNK_CHARACTERS", 1000)
    monkeypatch.setattr(duplicates, "_CHUNK_PAIRS", 500)
    monkeypatch.setattr(duplicates, "_CACHED_SHINGLES", 5000)
    shuffled = clusters([questions[index] for index in order])
    places = np.array(order)
    assert groups == Counter(frozenset(places[np.flatnonzero(np.array(shuffled) == first)]) for first in set(shuffled))
    assert all(label <= index for index, label in enumerate(shuffled))


def test_signatures_are_the_same_on_every_machine_and_python():
    result = signatures(["How long does it take?", "Hur lång tid tar det?", "どのくらいかかりますか", "ok", ""])
    assert result.shape == (5, SIGNATURE_SIZE) and result.dtype == np.uint32
    digest = hashlib.sha256(result.astype("<u4").tobytes()).hexdigest()
    assert digest == "afb0bacf07c0aa15604f5877dc1d2b09172ac203754e90bbd34b4dd6847cb1e8"


def test_signatures_agree_as_often_as_the_sets_do():
    questions = with_edits(150, 3)
    result = signatures(questions)
    sets = [shingles(normalised(question)) for question in questions]
    pairs = [(i, j) for i in range(len(sets)) for j in range(i) if len(sets[i] & sets[j]) > 2]
    errors = [
        float((result[i] == result[j]).mean()) - len(sets[i] & sets[j]) / len(sets[i] | sets[j]) for i, j in pairs
    ]
    assert len(errors) > 100
    assert abs(float(np.mean(errors))) < 0.02 and float(np.std(errors)) < 0.06


@pytest.mark.parametrize("make", [templated, one_template, random_words])
def test_work_grows_with_the_questions_and_not_with_their_pairs(monkeypatch, make):
    """Counted in pairs compared, because times depend on the machine."""
    compared = []
    original = duplicates._Search._agreeing

    def counting(self, pairs):
        compared.append(pairs.shape[1])
        return original(self, pairs)

    monkeypatch.setattr(duplicates._Search, "_agreeing", counting)
    # Narrow windows are full already with a thousand questions, so that the work of few questions tells that of many.
    monkeypatch.setattr(duplicates, "_BAND_WINDOW", 1)
    monkeypatch.setattr(duplicates, "_RARE_WINDOW", 2)
    per_question = []
    for count in (1000, 4000):
        compared.clear()
        clusters(make(count))
        per_question.append(sum(compared) / count)
    assert per_question[1] < 4**0.1 * per_question[0] + 1
    assert per_question[1] < 100  # of 4000
