"""The knowledge stage on tiny conversations and a tiny encoder: what it writes, measures, and leaves out."""

import json

import pytest

from endpoint import KEY, completion, endpoint, last_message
from stage_runs import run_stage
from tinsmith.core.config import AnswersConfig, DataConfig
from tinsmith.core.errors import ArtifactError, DataError
from tinsmith.core.run_dir import tree_sha256s
from tinsmith.knowledge import stage
from tinsmith.knowledge.fallback import fallback_of
from tinsmith.knowledge.left_out import near_by_leaving_out
from tinsmith.knowledge.stage import build_knowledge
from tinsmith.model.answers.answers import Answers
from tinsmith.model.answers.questions import Question
from tinsmith.model.conversations import Conversation, Message, write_jsonl
from tinsmith.model.passages import Passage, Source
from tinsmith.model.writer.prompts import NOTHING
from tiny_encoder import build_tiny_encoder

FACTS = {
    "How long does green tea brew?": "Green tea brews for two minutes at 80 degrees. Longer makes it bitter.",
    "How long does black tea brew?": "Black tea brews for four minutes at 95 degrees.",
    "What does the latte cost?": "The latte costs Rp 32k. Oat milk adds Rp 5k.",
    "Where do you ship?": "We ship to Jakarta, Bandung and Surabaya within 3 days.",
    "Can I return an opened bag?": "No, but we replace a stale one for free.",
    "Is the shop open on Sundays?": "On Sundays the shop is closed. On Saturdays it opens at 10.",
}
PLACE = {"file": "chats.jsonl", "position": "line 1"}


def conversations(*more: Conversation) -> list[Conversation]:
    return [
        *(
            Conversation(
                f"q{i}", "shop", (Message("user", q), Message("assistant", a)), {"file": "f", "position": str(i)}
            )
            for i, (q, a) in enumerate(FACTS.items())
        ),
        *more,
    ]


@pytest.fixture
def folders(tmp_path):
    """(data folder, encoder folder, output folder)."""
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    out.mkdir()
    every = conversations()
    for split, part in (("train", every[:4]), ("val", every[4:5]), ("test", every[5:])):
        write_jsonl(data / f"{split}.jsonl", part)
    return data, build_tiny_encoder(tmp_path / "encoder"), out


def built(folders, base=None, **answers):
    data, encoder, out = folders
    config = AnswersConfig(encoder=str(encoder), **answers)
    return run_stage(build_knowledge, config, DataConfig(language="en"), base or out, data, out, seed=3), out


def test_answers_beyond_the_limit_are_left_out_and_named(folders, monkeypatch):
    monkeypatch.setattr(stage, "MAX_CONVERSATIONS", 4)
    run, out = built(folders)
    # Of 4, 1 and 1 conversations, each split's first ones in proportion.
    kept = [passage["id"] for passage in json.loads((out / "answers/passages.json").read_text())]
    assert kept == ["q0", "q1", "q4", "q5"]
    note = "the answers of 2 conversations, because a page looks up those of at most 4; the 4 were drawn at random"
    assert f"warning: not used: {note}" in run.summary
    assert json.loads((out / "knowledge.json").read_text())["unused"] == [note]


def test_answers_of_all_splits_are_found_word_for_word(folders):
    run, out = built(folders)
    answers = Answers(out / "answers")
    assert {passage.text for passage in answers.passages} == set(FACTS.values())
    for (
        answer
    ) in FACTS.values():  # the tiny encoder's tokens are letters, so that a question and its answer are too long
        ranked = answers.look_up(answer)
        assert ranked.passages[0][0].text == answer
    sums = dict(line.split("  ")[::-1] for line in (out / "answers/SHA256SUMS").read_text().splitlines())
    written = tree_sha256s(out / "answers")
    written.pop("SHA256SUMS")
    assert sums == written
    assert "6 passages from 6 answers" in run.summary
    ids = {measurement.id: measurement.value for measurement in run.measurements}
    assert ids["knowledge.passages"] == 6
    assert ids["knowledge.download_bytes"] == sum(path.stat().st_size for path in (out / "answers").iterdir())


def test_the_owners_questions_measure_the_page(folders, tmp_path):
    asked = [{"question": f"{question} {answer}", "must_state": [answer[-12:]]} for question, answer in FACTS.items()]
    asked.append({"question": "Who won in 1994?", "kind": "far"})
    asked.append({"question": "What is the capital?", "kind": "far"})
    path = tmp_path / "asked.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in asked))
    run, out = built(folders, questions=str(path))
    lines = [json.loads(line) for line in (out / "answers_questions.jsonl").read_text().splitlines()]
    own = [line["question"] for line in lines if line["kind"] != "near"]
    assert own == [one["question"] for one in asked[1::2]]
    ids = {measurement.id: measurement.value for measurement in run.measurements}
    answers = Answers(out / "answers")
    asked_known = [one for one in asked[1::2] if "must_state" in one]
    best = [answers.look_up(one["question"]).passages[0][0].text for one in asked_known]
    right = [one["must_state"][0] in text for one, text in zip(asked_known, best, strict=True)]
    assert ids["answers.known.right"] == pytest.approx(sum(right) / 3) and sum(right) >= 2
    record = json.loads((out / "knowledge.json").read_text())
    assert record["questions"]["known"] == {"owner": 3} and record["mode"] == "ladder"


def test_an_endpoint_writes_questions_where_the_owner_has_none(folders, monkeypatch):
    monkeypatch.setenv("TINSMITH_WRITER_KEY", KEY)

    def reply(body, number):
        prompt = last_message(body)
        shown = next(answer for answer in FACTS.values() if f"Text: {answer}" in prompt)
        if NOTHING in prompt:
            return 200, completion(NOTHING if "Do you have a garden" in prompt else shown), {}
        if "does not answer" in prompt:
            return 200, completion("Do you have a garden, and is it open?"), {}
        return 200, completion(f"please tell me about {shown.split()[0].lower()}, would you?"), {}

    with endpoint(reply) as server:
        run, out = built(folders, writer=server.address, writer_model="m")
    assert run.said == (
        f"sending up to 6 passages with their titles to {server.address} (m), on this machine, as answers.writer says",
    )
    record = json.loads((out / "knowledge.json").read_text())
    assert record["questions"]["known"] == {"endpoint": 6} and record["questions"]["near"] == {"endpoint": 1}
    assert record["draft"]["written"] == len([r for r in server.requests if NOTHING not in last_message(r)])
    assert record["draft"]["dropped"]["repeats another one"] >= 1
    assert any("repeats another one (" in line for line in run.summary)
    for path in out.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()
    assert KEY not in str(run)
    outcomes = [json.loads(line) for line in (out / "answers_questions.jsonl").read_text().splitlines()]
    assert {one["origin"] for one in outcomes if one["kind"] in ("known", "near")} == {"endpoint"}


def test_an_endpoint_is_not_asked_where_the_owner_has_questions(folders, tmp_path):
    path = tmp_path / "asked.jsonl"
    path.write_text('{"question": "Who won in 1994?", "kind": "far"}\n{"question": "Why?", "kind": "far"}\n')
    with endpoint(lambda body, number: (500, b"", {})) as server:
        run, _ = built(folders, questions=str(path), writer=server.address, writer_model="m")
    assert server.requests == [] and run.said == ()


def test_the_base_model_writes_questions(folders, tiny_llama, tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base/model").symlink_to(tiny_llama, target_is_directory=True)
    run, out = built(folders, base=tmp_path / "base", writer="base")
    assert json.loads((out / "knowledge.json").read_text())["draft"]["written"] == 6
    assert run.said == () and any("of 6 written questions were dropped" in line for line in run.summary)


def test_wordings_find_an_answer_that_shares_no_word_with_the_question(folders, tmp_path):
    words = tmp_path / "wordings.jsonl"
    rows = [
        ("verdant beverage steeping", "q0"),
        ("Sabbath trading?", "q5"),
        ("postage zones", "q3"),
        ("refunds?", "q4"),
    ]
    lines = [json.dumps({"question": text, "id": id, "origin": "endpoint"}) for text, id in rows]
    words.write_text("\n".join(lines), encoding="utf-8")
    run, out = built(folders, wordings=str(words))
    answers = Answers(out / "answers")
    for text, id in rows:
        overlaps = {answers.passages[scored.passage].id: scored.overlap for scored in answers.rank(text)}
        assert overlaps.pop(id) > 0.5 > 2 * max(overlaps.values())
    record = json.loads((out / "knowledge.json").read_text())
    assert record["wordings"] == {"endpoint": 4} and record["worded"] == 4
    assert "4 wordings for 4 of the passages" in run.summary
    assert [passage.wordings for passage in answers.passages].count(()) == 2
    assert json.loads((out / "answers/answers.json").read_text())["lexical"] == 2


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([{"question": "x?", "id": "nobody"}], "no passage has the id 'nobody'"),
        ([{"question": "x?", "must_state": ["a"]}], "a wording needs an id"),
        ([{"question": "x?", "kind": "near"}], "a wording needs an id and the kind `known`"),
        ([{"question": "Is it  DEAR?", "id": "q2"}], "would find its own answer"),
    ],
)
def test_wordings_that_cannot_be_used_are_named(folders, tmp_path, rows, problem):
    files = {}
    for name, content in (("wordings", rows), ("questions", [{"question": "is it dear?", "id": "q2"}])):
        files[name] = str(tmp_path / f"{name}.jsonl")
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, content)), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        built(folders, **files)
    assert problem in str(caught.value) and "wordings.jsonl:1" in str(caught.value)


def test_a_model_alone_needs_no_encoder(folders):
    data, _, out = folders
    run = run_stage(build_knowledge, AnswersConfig(mode="model"), DataConfig(), out, data, out)
    assert sorted(path.name for path in out.iterdir()) == ["knowledge.json", "passages.jsonl"]
    assert run.summary[-1] == "the model answers alone: answers.mode is model"


def test_the_same_run_gives_the_same_bytes(folders, tmp_path):
    _, first = built(folders)
    second = tmp_path / "second"
    second.mkdir()
    built((folders[0], folders[1], second))
    assert tree_sha256s(first) == tree_sha256s(second)


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("config.json", lambda c: c | {"model_type": "roberta"}, "model_type is 'roberta'"),
        ("config.json", lambda c: c | {"hidden_size": 65}, "hidden_size 65 is not a multiple of 32"),
        ("tokenizer.json", lambda c: c | {"model": c["model"] | {"type": "BPE"}}, "its tokenizer is of type BPE"),
    ],
)
def test_a_folder_that_is_no_encoder_is_refused(folders, name, change, problem):
    path = folders[1] / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ArtifactError, match=problem):
        built(folders)
    path.unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        built(folders)


def test_the_model_answers_where_the_facts_stand_in_its_prompt():
    system = Message("system", "Latte Rp 32k, oat milk Rp 5k.")
    priced = Conversation("p", "shop", (system, Message("user", "Latte?"), Message("assistant", "Rp 32k.")))
    assert fallback_of("auto", [priced]).name == "model"
    assert fallback_of("ladder", [priced]).name == "unknown"
    plain = conversations()
    assert fallback_of("auto", plain).name == "offer"
    turns = (Message("user", "Hi"), Message("assistant", "Hello")) * 2
    talk = [Conversation(f"t{i}", "talk", turns) for i in range(7)]
    assert fallback_of("auto", [*plain, *talk]).name == "model"


def test_known_questions_without_their_passages_stand_in_for_near_ones(folders, tmp_path):
    asked = [{"question": f"{question} {answer}", "must_state": [answer[-12:]]} for question, answer in FACTS.items()]
    path = tmp_path / "asked.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in asked))
    run, out = built(folders, questions=str(path))
    outcomes = [json.loads(line) for line in (out / "answers_questions.jsonl").read_text().splitlines()]
    known, near = ([one for one in outcomes if one["kind"] == kind] for kind in ("known", "near"))
    assert [one["question"] for one in near] == [one["question"] for one in known] and len(near) == 3
    for with_all, one, expected in zip(known, near, asked[1::2], strict=True):
        right = next(p for p in Answers(out / "answers").passages if p.text.endswith(expected["must_state"][0]))
        assert right.id in with_all["passages"] and right.id not in one["passages"], "its passage was left out"
        assert one["origin"] == "rules" and not one["must_state"] and not any(one["right"])
    refused = sum(one["rung"] == "unsure" for one in near) / 3
    assert {m.id: m.value for m in run.measurements}["answers.near.refused"] == pytest.approx(refused)

    near_rows = ('{"question": "Do you sell cups?", "kind": "near"}\n', '{"question": "And mugs?", "kind": "near"}\n')
    path.write_text(path.read_text() + "".join(near_rows))
    second = tmp_path / "second"
    second.mkdir()
    built((folders[0], folders[1], second), questions=str(path))
    record = json.loads((second / "knowledge.json").read_text())
    assert "rules" not in record["questions"].get("near", {}), "the owner's own near questions are enough"


def test_every_passage_that_answers_is_left_out_and_an_id_alone_is_not_enough():
    passages = [
        Passage(str(at), "answer", "", text, Source("a", "")) for at, text in enumerate(("5 kr", "now 5 kr", "6 kr"))
    ]
    questions = [
        Question("How much?", "known", "0", ("5 kr",)),
        Question("By id?", "known", "2"),
        Question("All?", "known", must_state=("kr",)),
        Question("Other?", "far"),
    ]
    (asked,) = near_by_leaving_out(questions, passages)
    assert asked.left_out == {0, 1} and asked.question == Question("How much?", "near", origin="rules")
