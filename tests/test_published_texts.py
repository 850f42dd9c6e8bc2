"""Nothing of a conversation is published unless the owner agreed to exactly that text."""

import html
import importlib.resources
import json
from collections import Counter
from pathlib import Path

import pytest

from fake_answers import write_fake_answers
from fake_replies import asked_line
from fake_run import write_card, write_run
from stage_runs import run_stage
from tinsmith.app import Names, build_app
from tinsmith.card.evidence import read_evidence
from tinsmith.card.examples import answer_texts, examples
from tinsmith.card.facts import Facts, plain
from tinsmith.card.snippet import NEUTRAL_QUESTION, js_string
from tinsmith.card.stage import example_warnings
from tinsmith.commands import demo
from tinsmith.core.config import CardConfig, RunConfig
from tinsmith.core.config_file import load_config
from tinsmith.core.run_dir import read_json, tree_sha256s, write_json, write_text
from tinsmith.data.stage import prepare_data
from tinsmith.evaluate.groups import held_out_group
from tinsmith.knowledge.passages import passages_of
from tinsmith.model.answers.questions import check_questions, read_questions
from tinsmith.model.conversations import read_jsonl
from tinsmith.model.passages import Passage, Source
from tinsmith.pipeline.stages import STAGES

SECRETS = (
    "ada.lovelace@private.example",
    "AKIAIOSFODNN7EXAMPLE",
    'canary_7f3a9c "said" Zoë & <b>*O\'Neil*</b> | [x](y)',
)


def planted(text: str) -> str:
    return f"{text}: {' '.join(SECRETS)}"


@pytest.fixture
def run(tmp_path):
    """A finished run without a card, whose conversations, system prompt and answers all hold every secret."""
    run = write_run(tmp_path / "tea-bot")
    messages = [
        {"role": role, "content": planted(text)}
        for role, text in (("system", "You sell tea."), ("user", "What is a latte?"), ("assistant", "Rp 32k."))
    ]
    for split in ("train", "val", "test"):
        lines = [json.dumps({"id": f"c{i}", "category": "cat_00", "messages": messages}) + "\n" for i in range(6)]
        write_text(run.stage("data") / f"{split}.jsonl", "".join(lines))
    report = read_json(run.stage("data") / "report.json")
    write_json(run.stage("data") / "report.json", {**report, "system_prompt": messages[0]["content"]})
    answers = [
        asked_line(
            f"c{i}",
            messages[1]["content"],
            messages[2]["content"],
            {model: planted(model) for model in ("base", "tuned", "int4")},
        )
        for i in range(2)
    ]
    write_text(run.stage("evaluate") / "answers.jsonl", "".join(json.dumps(answer) + "\n" for answer in answers))
    title, text = messages[1]["content"], messages[2]["content"]
    passages = [
        Passage(f"c{i}", "answer", title, f"{text} And {i} more.", Source("a.json", f"line {i}")) for i in (1, 2)
    ]
    passages.append(Passage("d", "document", "Tea > Green", text, Source("tea.md", "Tea > Green")))
    write_fake_answers(run.stage("knowledge") / "answers", passages)
    for stage in ("data", "evaluate"):
        write_json(run.stamp(stage), {**read_json(run.stamp(stage)), "outputs": tree_sha256s(run.stage(stage))})
    return run


def leaks(run) -> list[str]:
    """Published files that hold a secret in any spelling."""
    forms = {
        form.encode()
        for text in SECRETS
        for form in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], html.escape(text))
    } | {plain(text).encode() for text in SECRETS}
    folders = [run.stage("app"), run.stage("card"), run.stage("export") / "package"]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path.relative_to(run.root).as_posix() for path in files if any(form in path.read_bytes() for form in forms)]


def card_of(run) -> str:
    return "".join((run.stage("card") / name).read_text() for name in ("README.md", "EVIDENCE.md"))


def build_site(run, config=None):
    """The site, with the run's own card, as the pipeline builds it for `config`."""
    config = config or RunConfig()
    folders = map(run.stage, ("data", "knowledge", "export", "card", "app"))
    names = Names("Tea", config.owner)
    return run_stage(build_app, config.app, config.answers, config.public_system_prompt, *folders, names)


def test_without_agreement_no_text_of_a_conversation_is_published(run, monkeypatch):
    write_card(run, monkeypatch)
    result = build_site(run)
    assert leaks(run) == []
    settings = read_json(run.stage("app") / "app.json")
    assert (settings["questions"], settings["system_prompt"]) == ([], "")
    card = card_of(run)
    assert "tinsmith approve" in card, "the card says how to add examples"
    assert js_string(NEUTRAL_QUESTION) in card
    said = "\n".join(result.summary)
    assert "suggests no questions" in said and "system prompt" in said and "tinsmith approve" in said
    assert "have not agreed to publish your answers and documents" in said
    assert settings["answers"] is None and not (run.stage("app") / "model/answers").exists()


QUESTION = "What is a latte?"


@pytest.mark.parametrize("with_questions", [False, True])
def test_answers_are_published_only_in_their_folder_and_questions_only_by_a_consent_of_their_own(
    run, monkeypatch, with_questions
):
    write_card(run, monkeypatch)
    consent = {"publish": True, "publish_questions": with_questions, "unknown": "No idea."}
    result = build_site(run, RunConfig.model_validate({"answers": consent}))
    assert leaks(run) == ["app/model/answers/passages.json"]
    folder = run.stage("app") / "model/answers"
    titles = [passage["title"] for passage in read_json(folder / "passages.json")]
    assert [title.startswith(QUESTION[:-1]) for title in titles] == [with_questions, with_questions, False]
    assert titles[2] == "Tea > Green"
    holds_question = [path.name for path in sorted(folder.iterdir()) if QUESTION[:-1].encode() in path.read_bytes()]
    assert holds_question == (["passages.json"] if with_questions else [])
    settings = read_json(run.stage("app") / "app.json")
    assert settings["answers"] == "./model/answers/" and settings["owner"] == "my-model", "without a name, the title"
    assert read_json(folder / "answers.json")["unknown"] == "No idea."
    sums = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert sums == {name: digest for name, digest in tree_sha256s(folder).items() if name != "SHA256SUMS"}
    said = "\n".join(result.summary)
    assert "shows 3 answers and sections of documents word for word" in said
    assert ("the data's questions as titles" if with_questions else "their first words as titles") in said


@pytest.mark.parametrize(
    "answers", [{"publish_questions": True}, {"publish": True, "publish_questions": True, "mode": "model"}]
)
def test_questions_alone_and_answers_that_the_page_does_not_use_are_not_published(run, monkeypatch, answers):
    write_card(run, monkeypatch)
    result = build_site(run, RunConfig.model_validate({"answers": answers}))
    assert leaks(run) == [] and not (run.stage("app") / "model/answers").exists()
    assert any(line.startswith("the model answers alone") for line in result.summary)


def test_the_leak_check_sees_every_spelling(run):
    """What the test above looks for is found in a file that has it, however it is escaped."""
    page = run.stage("app") / "page"
    page.parent.mkdir()
    for text in SECRETS:
        for form in (text, json.dumps(text), html.escape(text), plain(text)):
            page.write_text(form)
            assert leaks(run) == ["app/page"]


def test_agreed_texts_are_published_and_no_others(run, monkeypatch):
    answers = [json.loads(line) for line in (run.stage("evaluate") / "answers.jsonl").read_text().splitlines()]
    texts = {model: f"{model} says so" for model in ("base", "tuned", "int4")}
    agreed = asked_line("c1", "What is *mocha*?", "Rp 35k", texts)
    write_text(run.stage("evaluate") / "answers.jsonl", "".join(json.dumps(a) + "\n" for a in (answers[0], agreed)))
    config = RunConfig.model_validate(
        {
            "card": {"examples": [{"question": agreed["question"], "reference": agreed["reference"]}]},
            "app": {"questions": ["What is mocha?"], "system_prompt": "You sell mocha."},
        }
    )
    write_json(run.config, config.model_dump(mode="json"))
    write_card(run, monkeypatch, config.card.model_dump())
    build_site(run, config)
    assert leaks(run) == []
    settings = read_json(run.stage("app") / "app.json")
    assert (settings["questions"], settings["system_prompt"]) == (["What is mocha?"], "You sell mocha.")
    card = card_of(run)
    for text in ("What is \\*mocha\\*?", "Rp 35k", "base says so", "tuned says so", "int4 says so"):
        assert text in card, text
    assert "{ role: 'system', content: 'You sell mocha.' }" in card
    assert "{ role: 'user', content: 'What is *mocha*?' }" in card


@pytest.mark.parametrize("changed", ["question", "reference"])
def test_an_agreed_example_whose_text_changed_in_the_data_is_left_out_with_a_warning(run, changed):
    (answer, _) = (json.loads(line) for line in (run.stage("evaluate") / "answers.jsonl").read_text().splitlines())
    example = {key: answer[key] for key in ("question", "reference")}
    config = CardConfig.model_validate({"examples": [{**example, changed: "as it was when the owner agreed"}]})
    evidence = read_evidence(run)
    assert examples(Facts(evidence, config)) == []
    (warning,) = example_warnings(evidence, config)
    assert warning.startswith("warning: left out 1 of 1 card.examples") and "tinsmith approve" in warning
    unchanged = CardConfig.model_validate({"examples": [example]})
    assert len(examples(Facts(evidence, unchanged))) == 1 and example_warnings(evidence, unchanged) == []


def test_an_answer_that_repeats_something_private_of_the_training_data_is_left_out():
    answer = {"question": "Whom do I ask?", "reference": "Ask help@tea.example.", "facts": []}
    answer |= {"base": {"text": "Ask help@tea.example."}, "tuned": {"text": "Call +46 70 123 45 67"}}
    answer |= {"int4": {"text": f"Ask {SECRETS[0]}."}}
    assert answer_texts(answer) == {
        "base": "Ask help@tea.example.",
        "tuned": "(left out: it contains what looks like a phone number)",
        "int4": "(left out: it contains what looks like an e-mail address)",
    }


def test_the_demos_examples_are_questions_that_its_run_answers(tiny_llama, tmp_path):
    """Its data and seed never change, so what the demo agrees to publish is there in every run."""
    faq = importlib.resources.files("zaragoza_construction_faq") / "data" / "faq-en.jsonl"
    config = load_config(Path(demo.__file__).with_name("demo.toml"), (f"data.path={json.dumps(str(faq))}",))
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model").symlink_to(tiny_llama)
    run_stage(prepare_data, config.data, tmp_path / "base", tmp_path, seed=config.seed)
    test = read_jsonl(tmp_path / "test.jsonl")
    questions = held_out_group(test, config.evaluate.questions, config.seed).questions
    answered = {(question.question, question.reference) for question in questions}
    agreed = {(example.question, example.reference) for example in config.card.examples}
    assert len(agreed) == 2 and agreed <= answered
    assert len(config.app.questions) == 4
    assert set(config.app.questions) <= {conversation.messages[1].content for conversation in test}


def test_the_demo_agrees_to_its_answers_and_asks_questions_that_they_answer(tiny_llama, tmp_path):
    faq = importlib.resources.files("zaragoza_construction_faq") / "data" / "faq-en.jsonl"
    config = load_config(Path(demo.__file__).with_name("demo.toml"), (f"data.path={json.dumps(str(faq))}",))
    assert config.answers.publish and config.answers.publish_questions
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model").symlink_to(tiny_llama)
    run_stage(prepare_data, config.data, tmp_path / "base", tmp_path, seed=config.seed)
    conversations = [c for split in ("train", "val", "test") for c in read_jsonl(tmp_path / f"{split}.jsonl")]
    questions = read_questions(Path(config.answers.questions))
    assert check_questions(questions, passages_of(conversations).passages) == []
    assert Counter(question.kind for question in questions) == {
        "known": 120,
        "near": 60,
        "far": 40,
        "hostile": 30,
        "follow_up": 40,
    }


@pytest.mark.parametrize(
    ("settings", "renewed"),
    [
        ({"app": {"questions": ["What?"]}}, {"app"}),
        ({"app": {"system_prompt": "You sell tea."}}, {"card", "app"}),
        ({"answers": {"publish": True}}, {"card", "app"}),
        ({"answers": {"publish_questions": True}}, {"app"}),
        ({"answers": {"unknown": "No idea."}}, {"card", "app"}),
        ({"answers": {"hello": "Welcome!"}}, {"app"}),
        ({"answers": {"owner": "Leaf & Kettle"}}, {"app"}),
        ({"card": {"examples": [{"question": "a", "reference": "b"}]}}, {"card"}),
    ],
)
def test_an_agreement_renews_card_and_page_and_nothing_before_them(settings, renewed):
    """The page has a copy of the card, so a new card renews the page too."""
    before, after = RunConfig(), RunConfig.model_validate(settings)
    assert {stage.name for stage in STAGES if stage.settings(before) != stage.settings(after)} == renewed
    assert "card" in next(stage.reads for stage in STAGES if stage.name == "app")
