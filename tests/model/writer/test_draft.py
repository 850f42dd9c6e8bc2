"""Questions that a model writes: requested once, checked one by one, dropped with a reason, and labelled."""

from dataclasses import replace

import pytest

from endpoint import completion, endpoint, last_message
from tinsmith.core.config import AnswersConfig
from tinsmith.model.answers.questions import check_questions
from tinsmith.model.passages import Passage, Source
from tinsmith.model.writer.base import BaseWriter, _first_question
from tinsmith.model.writer.checks import Checks, cleaned
from tinsmith.model.writer.confirm import are_specific
from tinsmith.model.writer.draft import draft_questions
from tinsmith.model.writer.endpoint import Endpoint
from tinsmith.model.writer.prompts import NOTHING, STYLES, known_prompt
from tinsmith.model.writer.writer import disclosure, open_writer

THINGS = "kettle teapot saucer whisk thermos strainer tray towel caddy grinder".split()
MADE_OF = "copper clay porcelain bamboo steel silver oak linen tin stone".split()
LOOKS = "dented polished flowery curved leakproof engraved lacquered bleached painted noisy".split()
PASSAGES = [
    Passage(
        f"p{number}",
        "answer",
        f"What does the {look} {material} {thing} cost?",
        f"The {thing} of {material} costs {number}35 crowns. Our {look} workshop sends it in {number}20 hours.",
        Source("a.json", f"line {number}"),
    )
    for number, (thing, material, look) in enumerate(zip(THINGS, MADE_OF, LOOKS, strict=True), start=1)
]


class ModelVisitor:
    """Answers as a good model would: it sees which passage a prompt shows, and what is wanted."""

    def __init__(self, known="how much for the one made of {material}?", near="Do you repair the {material} ones?"):
        self.known, self.near = known, near
        self.follow_up, self.answerable = "And when do I get it?", True

    def __call__(self, body, number):
        prompt = last_message(body)
        shown = next(i for i, thing in enumerate(THINGS) if f"Text: The {thing} " in prompt)
        names = {"look": LOOKS[shown], "thing": THINGS[shown], "material": MADE_OF[shown], "figure": f"{shown + 1}35"}
        if NOTHING in prompt:
            quotation = f"{shown + 1}20 hours" if "Then: " in prompt else f"{shown + 1}35 crowns"
            return 200, completion(quotation if self.answerable and "repair" not in prompt else f'"{NOTHING}."'), {}
        text = (
            self.near
            if "does not answer" in prompt
            else self.follow_up
            if "what they ask next" in prompt
            else self.known
        )
        return 200, completion(text.format(**names)), {}


def drafted(reply, count=9, search=lambda question: PASSAGES, passages=PASSAGES):
    with endpoint(reply) as server:
        draft = draft_questions(passages, count, 1, "en", Endpoint(server.address, "m"), search)
    return draft, server


def of_kind(draft, kind):
    return [question for question in draft.questions if question.kind == kind]


def test_an_endpoint_writes_known_and_near_questions_and_follow_ups():
    draft, server = drafted(ModelVisitor())
    assert check_questions(draft.questions, PASSAGES) == []
    known, near, follow_ups = (of_kind(draft, kind) for kind in ("known", "near", "follow_up"))
    assert len(known) == 9 and {question.origin for question in (*known, *near, *follow_ups)} == {"endpoint"}
    for question in known:
        assert question.question == f"how much for the one made of {MADE_OF[int(question.id[1:]) - 1]}?"
    assert [question.question for question in follow_ups] == ["And when do I get it?"] * 3
    assert {question.previous[0] for question in follow_ups} == {question.question for question in known[:3]}
    assert len(near) == 3 and all(question.question.startswith("Do you repair") for question in near)
    assert {question.origin for question in (*of_kind(draft, "far"), *of_kind(draft, "hostile"))} == {"rules"}
    assert draft.written == 9 + 3 + 3 and not draft.dropped and not draft.notes
    assert len(server.requests) == 2 * draft.written


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (" ", "empty"),
        ("What is it? And why?", "several questions"),
        ("Here is a question:\nHow much is it?", "several questions"),
        ("what is it " * 40 + "?", "too long"),
        ("The shop of the town has a lot of nice things which all of us like.", "not a question"),
        ("Сколько стоит?", "in another language"),
        ("What does the {look} {thing} cost?", "repeats the title"),
        ("Is the one made of {material} really {figure} crowns?", "states a figure of the answer"),
        ("how much for one?", "repeats another one"),
    ],
)
def test_a_question_that_fails_a_check_is_dropped_and_counted(known, reason):
    draft, _ = drafted(ModelVisitor(known))
    assert draft.dropped[reason] == (8 if reason == "repeats another one" else 9)
    assert any(f"{reason} ({draft.dropped[reason]})" in note for note in draft.notes)


def test_rules_make_the_known_questions_if_too_few_were_written():
    draft, _ = drafted(ModelVisitor(""))
    assert len(of_kind(draft, "known")) > 5 and {question.origin for question in of_kind(draft, "known")} == {"rules"}
    assert draft.notes[0] == "only 0 written questions passed the checks, so rules made the known ones"


def test_a_wording_that_the_search_uses_is_not_a_question_to_measure_by():
    worded = [replace(passage, wordings=("HOW MUCH for the one made of oak ?",)) for passage in PASSAGES]
    draft, _ = drafted(ModelVisitor("how much for the one made of oak ?"), passages=worded)
    assert draft.dropped["repeats a wording"] == 9 and any("same model wrote both" in note for note in draft.notes)
    assert not any("same model" in note for note in drafted(ModelVisitor())[0].notes)


def test_a_known_question_needs_an_answer_in_its_passage():
    visitor = ModelVisitor()
    visitor.answerable = False
    assert drafted(visitor)[0].dropped["no answer in the passage"] == 9

    def invents(body, number):
        status, content, headers = ModelVisitor()(body, number)
        return status, completion("about 77 crowns") if NOTHING in last_message(body) else content, headers

    draft, _ = drafted(invents)
    assert draft.dropped["no answer in the passage"] == 9
    assert draft.dropped["may have an answer"] == 3, "an invented quotation leaves it open"


def test_a_near_question_that_another_passage_answers_is_dropped():
    draft, _ = drafted(ModelVisitor(near="What is the delivery time for {material}?"))
    assert of_kind(draft, "near") == [] and draft.dropped["may have an answer"] == 3
    draft, _ = drafted(ModelVisitor(), search=None)
    assert of_kind(draft, "near") == []


def test_a_follow_up_that_names_its_topic_is_dropped():
    visitor = ModelVisitor()
    visitor.follow_up = "And when do I get the {thing}?"
    draft, _ = drafted(visitor)
    assert of_kind(draft, "follow_up") == [] and draft.dropped["makes sense alone"] == 3
    visitor.follow_up = visitor.known
    draft, _ = drafted(visitor)
    assert of_kind(draft, "follow_up") == [] and draft.dropped["makes sense alone"] == 3


def test_replies_are_cleaned_of_what_models_add():
    assert cleaned('<think>hm\n</think>\n\n Question: "How much?" ') == "How much?"
    assert cleaned("**how much is it?**") == "how much is it?"
    assert cleaned("<think>they may ask\nhow much is it?") == "", "the limit came before the reply"
    assert cleaned("so they ask...</think>how much?") == "how much?"


def test_a_language_is_known_by_its_letters_and_short_words():
    short = "how much does it cost to get one in the shop and who will send mine if i am ill at home"
    filler = " ".join(
        f"{first}{second}{third}ingen" for first in "bdfgk" for second in "aeiou" for third in "lmnprstvxzbdfgkc"
    )
    checks = Checks([Passage("d", "document", "Frakt", f"{short} {filler} å ä ö", Source("a", ""))])
    one = Passage("p", "answer", "Prices", "35 crowns", Source("a", ""))
    assert checks.problem("who can tell me what it will cost", one) == ""
    assert checks.problem("vad tar ni för att laga den här", one) == "in another language"
    assert checks.problem("laga teburkar", one) == "", "too short to tell"
    assert checks.problem("なぜ?", one) == "in another language"
    few = Checks([Passage("d", "document", "Frakt", f"{short} å ä ö", Source("a", ""))])
    assert few.problem("vad tar ni för att laga den här", one) == "", "few texts prove nothing"


def test_every_style_of_prompt_ends_with_the_passage():
    for style in range(len(STYLES)):
        prompt = known_prompt(PASSAGES[0], style)
        assert [message.role for message in prompt] == ["user", "assistant", "user", "assistant", "user"]
        assert PASSAGES[0].text in prompt[-1].content and STYLES[style] in prompt[-1].content
    long = Passage("l", "document", "T", "word " * 5000, Source("a", ""))
    assert len(known_prompt(long)[-1].content) < 3500


def test_the_owner_is_told_where_their_texts_go(tmp_path):
    address = "https://tea.example/v1"
    writer = open_writer(AnswersConfig(writer=address, writer_model="m"), tmp_path)
    line = disclosure(writer, 7)
    assert "7 passages" in line and address in line and "answers.writer" in line
    local = open_writer(AnswersConfig(writer="http://127.0.0.1:1/v1", writer_model="m"), tmp_path)
    assert "on this machine" in disclosure(local, 7)
    assert open_writer(AnswersConfig(), tmp_path) is None
    assert disclosure(open_writer(AnswersConfig(writer="base"), tmp_path), 7) == ""


def test_a_tiny_base_writes_and_rules_fill_in(tiny_llama):
    writer = BaseWriter(tiny_llama)
    draft = draft_questions(PASSAGES, 6, 1, "en", writer)
    again = draft_questions(PASSAGES, 6, 1, "en", BaseWriter(tiny_llama))
    assert draft.questions == again.questions and draft.dropped == again.dropped
    assert draft.written == 6 and draft.notes[-1].startswith(f"{draft.dropped.total()} of 6 written questions")
    assert len(of_kind(draft, "known")) >= 5 and check_questions(draft.questions, PASSAGES) == []


def test_likelihoods_are_those_of_the_plain_model(tiny_llama):
    import torch

    writer = BaseWriter(tiny_llama)
    asked, texts = ["What does it cost?", "Why?", "Where do you ship it to?"], ["Rp 32k", "We ship to Bandung.", "No"]
    for question, text, batched in zip(asked, texts, writer.likelihoods(asked, texts), strict=True):
        tokenizer = writer._tokenizer.tokenizer
        prompt = tokenizer(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
            ),
            add_special_tokens=False,
        )["input_ids"]
        reply = tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logits = writer._model(torch.tensor([[*prompt, *reply]])).logits[0].float().log_softmax(-1)
        expected = sum(logits[len(prompt) - 1 + at, token].item() for at, token in enumerate(reply))
        assert batched == pytest.approx(expected, rel=0.02)


class Judge:
    """Likelihoods that depend on how many words question and text share."""

    def likelihoods(self, questions, texts):
        return [4.0 * len(set(q.split()) & set(t.split())) for q, t in zip(questions, texts, strict=True)]


def test_a_specific_question_fits_its_passage_better_than_others_do():
    passages = [
        Passage(str(i), "answer", "", text, Source("a", "")) for i, text in enumerate(("a b c", "d e f", "g h i"))
    ]
    assert are_specific(Judge(), ["a b", "x", "g"], passages) == [True, False, False]
    assert are_specific(Judge(), ["a b c"], passages[:1]) == [False]


def test_a_reply_without_an_end_stops_at_its_question_mark():
    assert _first_question("How much? User: and") == "How much?" and _first_question("on and on") == ""


def test_the_sample_is_drawn_by_the_seed():
    def first_prompt(seed):
        with endpoint(ModelVisitor()) as server:
            draft_questions(PASSAGES, 1, seed, "en", Endpoint(server.address, "m"), None)
        return last_message(server.requests[0])

    assert len({first_prompt(seed) for seed in range(6)}) > 1
