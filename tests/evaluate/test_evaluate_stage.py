"""The whole stage on tiny models and the package the real exporter made of them."""

import json
import math
import shutil
from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO

import pytest

from stage_runs import run_stage
from tinsmith.core.config import EvaluateConfig
from tinsmith.core.errors import DataError, GateError
from tinsmith.core.run_dir import combined_sha256, read_json, write_json
from tinsmith.derive.evaluate import RULES
from tinsmith.derive.files import Files
from tinsmith.derive.rules import derive
from tinsmith.evaluate.closed_book import QUESTIONS, write_closed_book
from tinsmith.evaluate.stage import evaluate_models
from tinsmith.model.answers.questions import Question
from tinsmith.model.answers.rates import Shown, judged, write_outcomes
from tinsmith.model.answers.report import OUTCOMES_FILE
from tinsmith.model.conversations import read_jsonl
from tinsmith.model.generation import Answer
from tinsmith.model.passages import Passage, Source
from tinsmith.model.private.masks import Masks, mask_key
from tinsmith.model.private.protect import protect
from tinsmith.model.private.record import PrivateRecord
from tiny_answers import write_tiny_answers

SOURCE = Source("shop.jsonl", "line 1")
CONFIG = EvaluateConfig(train_sample=8, questions=6, max_new_tokens=8)


def run(line, out_dir, config=CONFIG, **other):
    knowledge = out_dir.with_name(f"{out_dir.name}-knowledge")
    for folder in (out_dir, knowledge):
        folder.mkdir(exist_ok=True)
    write_outcomes(knowledge / OUTCOMES_FILE, outcomes(30))
    if not (knowledge / "answers").exists():
        (knowledge / "answers").mkdir()
        write_tiny_answers(knowledge / "answers")
    folders = {
        "base_dir": line.base,
        "data_dir": line.data,
        "knowledge_dir": knowledge,
        "merge_dir": line.merge,
        "export_dir": line.export,
    } | other
    return run_stage(evaluate_models, config, **folders, out_dir=out_dir, seed=3)


@pytest.fixture(scope="module")
def done(llama_line, tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("evaluate")
    with redirect_stderr(StringIO()) as progress:
        result = run(llama_line, out_dir)
    out_dir.with_name("progress.txt").write_text(progress.getvalue())
    return result, out_dir


def outcomes(count):
    """Known questions of which the page answers every second one, after one without `must_state` and a far one."""
    passages = [Passage(f"c{number}", "answer", "", f"It costs {number} euros.", SOURCE) for number in range(count)]
    questions = [Question("Who won?", "far"), Question("Which?", "known", "c0")]
    shown = [Shown("unsure", 0.1, (passages[0],))] * 2
    for number in range(count):
        questions.append(Question(f"Price of {number}?", "known", f"c{number}", (f"{number} euros",)))
        shown.append(Shown("sure", 0.9, (passages[number - number % 2],)))
    return judged(questions, shown, passages, seed=1)


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_promised_id_is_measured(done):
    by_id = {measurement.id: measurement for measurement in done[0].measurements}
    for split in ("train", "val", "test"):
        for model in ("base", "tuned", "int4"):
            for name in ("loss", "perplexity", "bits_per_byte"):
                assert f"evaluate.{name}.{split}.{model}" in by_id
        assert f"evaluate.ratio.{split}.tuned_over_base" in by_id
        assert f"evaluate.ratio.{split}.int4_over_tuned" in by_id
        # The other graphs are scored on the test split alone.
        for sibling in ("int4_float16", "int4_int8"):
            assert (f"evaluate.perplexity.{split}.{sibling}" in by_id) == (split == "test")
    half = by_id["evaluate.ratio.test.int4_float16_over_tuned"].value
    assert half == pytest.approx(by_id["evaluate.ratio.test.int4_over_tuned"].value, rel=2e-3)
    assert half != by_id["evaluate.ratio.test.int4_over_tuned"].value
    for model in ("base", "tuned", "int4"):
        for name in ("stop_rate", "repetition_rate", "length"):
            assert f"evaluate.answers.{name}.{model}" in by_id
        assert f"evaluate.facts.trained.{model}" in by_id and f"evaluate.memorised.trained.{model}" in by_id
    for id in ("facts.reworded.page", "facts.held_out_new.page", "facts.control.swapped", "refused.far.int4"):
        assert f"evaluate.{id}" in by_id
    gate = by_id["gate.evaluate.tokens"]
    assert (gate.value, gate.count, gate.passed) == (0, 8 + 6 + 10, True)
    assert by_id["evaluate.loss.train.base"].count == 8
    assert by_id["evaluate.loss.test.base"].count == 10


def test_numbers_follow_from_the_raw_files(done):
    result, out_dir = done
    by_id = {measurement.id: measurement for measurement in result.measurements}
    pooled = {}
    for model in ("base", "tuned", "int4"):
        measurement = by_id[f"evaluate.perplexity.test.{model}"]
        raw = lines(out_dir.parent / measurement.raw.replace("evaluate", out_dir.name, 1))
        pooled[model] = math.exp(sum(r["nll"] for r in raw) / sum(r["tokens"] for r in raw))
        assert measurement.value == pytest.approx(pooled[model])
    assert by_id["evaluate.ratio.test.int4_over_tuned"].value == pytest.approx(pooled["int4"] / pooled["tuned"])
    for measurement in derive(RULES, Files.of_stage("evaluate", out_dir, seed=3)):
        assert by_id[measurement.id] == measurement
    assert all(measurement.raw for measurement in by_id.values())


def test_every_model_is_scored_on_the_same_conversations(done, llama_line):
    _, out_dir = done
    for split, models in (
        ("train", ("base", "tuned", "int4")),
        ("val", ("base", "tuned", "int4")),
        ("test", ("base", "tuned", "int4", "int4_float16", "int4_int8")),
    ):
        conversations = {line["id"]: line for line in lines(llama_line.data / f"{split}.jsonl")}
        base, *others = (lines(out_dir / f"nll/{split}.{model}.jsonl") for model in models)
        ids = [line["id"] for line in base]
        assert ids == [id for id in conversations if id in set(ids)] and (split == "train" or ids == [*conversations])
        for line in base:
            messages = conversations[line["id"]]["messages"]
            answers = [message["content"] for message in messages if message["role"] == "assistant"]
            assert (line["category"], line["bytes"]) == (
                conversations[line["id"]]["category"],
                sum(len(text.encode()) for text in answers),
            )
        for other in others:
            assert [{**line, "nll": 0} for line in other] == [{**line, "nll": 0} for line in base]
            assert [line["nll"] for line in other] != [line["nll"] for line in base]


def test_every_part_of_the_work_has_a_progress_bar_with_its_name(done):
    progress = done[1].with_name("progress.txt").read_text().replace("\r", "\n").split("\n")
    ends = {line.partition(": 100%")[0]: line for line in progress if ": 100%" in line}
    scored = [f"{model} on {split}" for model in ("base", "tuned", "int4") for split in ("train", "val", "test")]
    scored += ["int4_float16 on test", "int4_int8 on test"]
    answered = [f"{model} answers" for model in ("base", "tuned", "int4")] + ["int4 answers out of scope"]
    assert set(ends) - {"Loading weights"} == {*scored, *answered}
    for unit, names in (("tok", scored), ("answer", answered)):  # a slow machine needs seconds for each
        assert all(ends[name].endswith((f"{unit}/s]", f"s/{unit}]")) for name in names), ends
    assert "| 18/18 [" in ends["base answers"] and "| 1/1 [" in ends["int4 answers out of scope"]


def test_the_summary_gives_perplexities_and_facts(done):
    result, _ = done
    values = {measurement.id: measurement.value for measurement in result.measurements}
    base, tuned, int4 = (values[f"evaluate.perplexity.test.{model}"] for model in ("base", "tuned", "int4"))
    ratio, lost = (values[f"evaluate.ratio.test.{name}"] for name in ("tuned_over_base", "int4_over_tuned"))
    _, *rest = result.summary  # the first line depends on random weights
    assert rest == [
        f"test perplexity: base {base:.2f}, tuned {tuned:.2f} ({ratio:.2f} of base), "
        f"int4 {int4:.2f} ({lost:.2f} of tuned)",
        "int4 answers: 0% stop by themselves, 0% of the facts of trained questions stated, "
        "0% of the facts of reworded ones stated, 0% of the facts of unseen ones stated",
    ]


def test_every_group_is_asked_of_every_subject(done):
    result, out_dir = done
    by_id = {measurement.id: measurement for measurement in result.measurements}
    answers = lines(out_dir / "answers.jsonl")
    assert [answer["group"] for answer in answers] == ["trained"] * 6 + ["reworded"] * 6 + ["held_out"] * 6
    assert len({answer["id"] for answer in answers}) == 18
    assert all(answer[model]["tokens"] <= 8 for answer in answers for model in ("base", "tuned", "int4"))
    assert all(answer["page"]["rung"] in ("sure", "likely", "unsure") for answer in answers)
    stopped = sum(answer["int4"]["stopped"] for answer in answers)
    assert by_id["evaluate.answers.stop_rate.int4"].value == stopped / 18
    for group in ("trained", "reworded"):
        facts = sum(len(answer["facts"]) for answer in answers if answer["group"] == group)
        assert by_id[f"evaluate.facts.{group}.base"].count == facts > 0
        assert all(fact["in_training"] for answer in answers if answer["group"] == group for fact in answer["facts"])
    held_out = [fact["in_training"] for answer in answers if answer["group"] == "held_out" for fact in answer["facts"]]
    assert by_id["evaluate.facts.held_out_new.int4"].count == held_out.count(False) > 0
    record = read_json(out_dir / "evaluate.json")
    assert record["groups"]["reworded"]["source"].startswith("the owner's measuring questions")
    assert record["absent"]["evaluate.refused.near"].startswith("there are no near questions")
    assert record["absent"]["evaluate.answers.format_valid"].startswith("most training answers have no JSON")


def test_int4_is_asked_about_what_the_data_do_not_answer(done):
    result, out_dir = done
    (far,) = lines(out_dir / "out_of_scope.jsonl")
    assert (far["kind"], far["question"], far["system"]) == ("far", "Who won?", "You sell tea.") and far["text"]
    (refused,) = [m for m in result.measurements if m.id.startswith("evaluate.refused.")]
    assert (refused.id, refused.value, refused.raw) == ("evaluate.refused.far.int4", 0, "evaluate/out_of_scope.jsonl")


def test_test_conversations_with_a_close_neighbour_are_left_out_beside_the_full_numbers(done, llama_line):
    result, out_dir = done
    by_id = {measurement.id: measurement for measurement in result.measurements}
    neighbours = lines(out_dir / "neighbours.jsonl")
    train = {line["id"] for line in lines(llama_line.data / "train.jsonl")}
    assert {one["id"] for one in neighbours} == {line["id"] for line in lines(llama_line.data / "test.jsonl")}
    assert all(one["nearest"] in train for one in neighbours)
    clean = {one["id"] for one in neighbours if not one["close"]}
    record = read_json(out_dir / "evaluate.json")["test_clean"]
    assert record["conversations"] == len(clean) and record["threshold"] == 0.8
    loss = by_id.get("evaluate.loss.test_clean.int4")
    assert (loss.count if loss else 0) == len(clean)


def test_the_model_alone_is_asked_known_questions(done):
    result, out_dir = done
    by_id = {measurement.id: measurement for measurement in result.measurements}
    answered = lines(out_dir / "closed_book.jsonl")
    assert len(answered) == len({line["question"] for line in answered}) == QUESTIONS
    assert all(line["question"].startswith("Price") and line["text"] for line in answered)
    replies = {line["question"]: line["int4"]["text"] for line in lines(out_dir / "answers.jsonl")}
    of_both = [line for line in answered if line["question"] in replies]
    assert len(of_both) == 6 and all(line["text"] == replies[line["question"]] for line in of_both)
    right = by_id["evaluate.closed_book.page_right"]
    assert right.value == sum(line["page_right"] for line in answered) / QUESTIONS
    assert 0.2 < right.value < 0.8
    assert by_id["evaluate.closed_book.right"].value == sum(line["right"] for line in answered) / QUESTIONS
    assert read_json(out_dir / "evaluate.json")["closed_book"] == {"withheld": ""}


def test_closed_book_answers_are_judged_by_their_text(tmp_path):
    sample = outcomes(6)[2:]
    texts = ["0 euros", "1 euro", "It costs 2 euros.", "not 3 euros", "4 euros, " * 9, ""]
    write_closed_book(sample, [Answer(text, 5, True) for text in texts], tmp_path)
    assert [line["right"] for line in lines(tmp_path / "closed_book.jsonl")] == [True, False, True, *[False] * 3]
    measured = derive(RULES, Files.of_stage("evaluate", tmp_path))
    assert {m.id: m.value for m in measured if m.id.startswith("evaluate.closed_book.")} == {
        "evaluate.closed_book.right": 2 / 6,
        "evaluate.closed_book.page_right": 3 / 6,
    }


def test_closed_book_is_withheld_if_the_judge_accepts_wrong_replies(tmp_path):
    sample = [replace(one, controls=one.controls | {"negated": True}) for one in outcomes(6)[2:]]
    record = write_closed_book(sample, [Answer("0 euros", 5, True)] * 6, tmp_path)
    assert "wrong by construction (negated)" in record["withheld"]
    assert not list(derive(RULES, Files.of_stage("evaluate", tmp_path)))
    assert write_closed_book([], [], tmp_path)["withheld"].startswith("no known question")


def test_the_record_says_how_everything_was_measured_and_holds_no_path(done, llama_line):
    _, out_dir = done
    asked = lines(out_dir / "answers.jsonl")
    scored = {split: lines(out_dir / f"nll/{split}.base.jsonl") for split in ("train", "val", "test")}
    not_assessed = {"status": "not_assessed", "reason": "No person and no judge has assessed the answers."}
    silent = "their references state no such fact"
    on_cpu = "of the package, if it has one, on ONNX Runtime's CPU provider"
    owners = "the owner's measuring questions with the id of a training answer"
    assert read_json(out_dir / "evaluate.json") == {
        "definitions": "docs/measurements.md",
        "precision": {
            "base": "weights as stored, computed in float32",
            "tuned": "bf16 weights as stored, computed in float32",
            "int4": f"onnx/model_q4.onnx {on_cpu}",
            "int4_float16": f"onnx/model_q4f16.onnx {on_cpu}",
            "int4_int8": f"onnx/model_int8.onnx {on_cpu}",
        },
        "decoding": {
            "method": "greedy, no repetition penalty",
            "max_new_tokens": 8,
            "max_new_tokens_out_of_scope": 8,
            "prompt": "the first user message with the system message before it",
            "end_tokens": ["<|im_end|>", "<|endoftext|>"],
        },
        "intervals": {
            "losses, ratios": "95 % bootstrap over conversations, 10000 resamples",
            "shares of facts and replies": "95 % Wilson over conversations",
            "none below": 10,
        },
        "groups": {
            "trained": {
                "questions": 6,
                "source": "first questions of training conversations, word for word",
                "reason": "",
            },
            "reworded": {"questions": 6, "source": owners, "reason": ""},
            "held_out": {"questions": 6, "source": "first questions of test conversations", "reason": ""},
        },
        "page": (
            "Its index holds every answer of the data, held-out ones too, and may hold their questions: "
            "it looks answers up, while the models answer from memory."
        ),
        "test_clean": {
            "similarity": "cosine of the questions' vectors of the page's first encoder",
            "threshold": 0.8,
            "conversations": sum(not line["close"] for line in lines(out_dir / "neighbours.jsonl")),
        },
        "samples": {
            name: {"conversations": count, "ids_sha256": combined_sha256([one["id"] for one in of])}
            for name, count, of in (
                ("train", 8, scored["train"]),
                ("val", 6, scored["val"]),
                ("test", 10, scored["test"]),
                ("questions", 18, asked),
            )
        },
        "categories_without_number": [],
        "accuracy": not_assessed,
        "response_quality": not_assessed,
        "closed_book": {"withheld": ""},
        "absent": {
            "evaluate.facts.held_out_seen": silent,
            "evaluate.contradicted.held_out_seen": silent,
            "evaluate.answers.format_valid": "most training answers have no JSON object with the same keys",
            "evaluate.refused.near": "there are no near questions that the training data do not answer",
        },
    }
    for path in out_dir.rglob("*.json*"):
        assert str(llama_line.base.parent) not in path.read_text(encoding="utf-8")


def test_a_repeat_gives_the_same_numbers(done, llama_line, tmp_path):
    again = run(llama_line, tmp_path / "again")
    for one, other in zip(done[0].measurements, again.measurements, strict=True):
        assert one.id == other.id
        assert one.value == pytest.approx(other.value, rel=1e-6)


def test_a_model_that_did_not_learn_is_said(llama_line, tmp_path):
    """The base compared with itself: nothing was learned."""
    config = EvaluateConfig(train_sample=1, questions=0, max_new_tokens=1)
    result = run(llama_line, tmp_path / "out", config, merge_dir=llama_line.base)
    assert result.summary[0].startswith("warning: the tuned model is no better than the base")
    ratio = next(m for m in result.measurements if m.id == "evaluate.ratio.test.tuned_over_base")
    assert ratio.value == 1
    assert not (tmp_path / "out/answers.jsonl").exists()
    assert not any(".answers." in measurement.id or ".facts." in measurement.id for measurement in result.measurements)
    absent = read_json(tmp_path / "out/evaluate.json")["absent"]
    assert absent["evaluate.facts"] == absent["evaluate.answers"] == "no questions were asked"


def test_a_page_without_passages_and_a_package_without_other_graphs_are_measured_too(llama_line, tmp_path):
    """The tuned model is the better one here, answers are orders as JSON, and one of them has an address."""
    data, export, knowledge = (tmp_path / name for name in ("data", "export", "knowledge"))
    shutil.copytree(llama_line.data, data)
    orders = [{"drink": drink, "cups": cups} for drink in ("latte", "tea") for cups in (1, 2, 3, 4)]
    for split in ("train", "val", "test"):
        conversations = lines(data / f"{split}.jsonl")
        for number, conversation in enumerate(conversations):
            conversation["messages"][2]["content"] = json.dumps(orders[number % len(orders)])
        (data / f"{split}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in conversations))
    say = {"role": "user", "content": "Who runs it?"}, {"role": "assistant", "content": "Write to ada@home.example."}
    record, masks = PrivateRecord(), Masks(mask_key(["aa"]))
    for split in ("train", "test"):
        (first, *others) = lines(data / f"{split}.jsonl")
        first["messages"] = [*say] if split == "train" else [*say[:1], {**say[1], "content": "eve@home.example"}]
        (data / f"{split}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (first, *others)))
    for one in (*read_jsonl(data / "train.jsonl"), *read_jsonl(data / "test.jsonl")):
        record.add(protect(one, "warn", masks).findings)
    record.write(data, "warn", masks.key)
    shutil.copytree(llama_line.export, export)
    for name in ("model_q4f16.onnx", "model_int8.onnx"):
        (export / "package/onnx" / name).unlink()
    knowledge.mkdir()
    better = {"base_dir": llama_line.merge, "merge_dir": llama_line.base}
    config = EvaluateConfig(train_sample=2, questions=1, max_new_tokens=1)
    folders = {"data_dir": data, "export_dir": export, "knowledge_dir": knowledge, **better}
    result = run(llama_line, tmp_path / "out", config, **folders)
    by_id = {measurement.id: measurement.value for measurement in result.measurements}
    assert not any(id.endswith((".page", "int4_float16", "int4_int8", "closed_book.right")) for id in by_id)
    assert by_id["evaluate.ratio.test.tuned_over_base"] < 1 and not result.summary[0].startswith("warning")
    assert read_json(tmp_path / "out/format.json")["keys"] == ["cups", "drink"]
    assert by_id["evaluate.answers.format_valid.int4"] == 0
    assert lines(tmp_path / "out/recited.jsonl") == [
        {"split": split, "kind": "email", "base": False, "tuned": False, "int4": False} for split in ("train", "test")
    ]
    record = read_json(tmp_path / "out/evaluate.json")
    assert record["test_clean"]["similarity"].startswith("cosine of the questions' 5-character substrings")
    assert record["closed_book"] == {"withheld": "no known question says what its right answer must state"}
    assert not (tmp_path / "out/closed_book.jsonl").exists() and not (tmp_path / "out/out_of_scope.jsonl").exists()


def test_another_chat_template_in_the_package_stops_the_run(llama_line, tmp_path):
    export = tmp_path / "export"
    shutil.copytree(llama_line.export, export)
    settings = read_json(export / "package/tokenizer_config.json")
    settings["chat_template"] = settings["chat_template"].replace("<|im_start|>", "<|im_start|> ")
    write_json(export / "package/tokenizer_config.json", settings)
    with pytest.raises(GateError, match=r"gate\.evaluate\.tokens: measured 24") as caught:
        run(llama_line, tmp_path / "out", export_dir=export)
    assert "Conversations that differ: c" in caught.value.hint
    assert caught.value.measurements[-1].value == 24


@pytest.mark.parametrize(
    ("split", "hint"),
    [
        ("train", "Add conversations."),
        ("val", "Add conversations, or raise data.val_fraction."),
        ("test", "Add conversations, or raise data.test_fraction."),
    ],
)
def test_an_empty_split_is_named(llama_line, tmp_path, split, hint):
    data = tmp_path / "data"
    shutil.copytree(llama_line.data, data)
    (data / f"{split}.jsonl").write_text("")
    with pytest.raises(DataError, match=f"^the {split} split has no conversations, so there is nothing") as caught:
        run(llama_line, tmp_path / "out", data_dir=data)
    assert caught.value.hint == hint
