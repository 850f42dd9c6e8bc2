"""Answers that contradict each other are found, and those that do not are left alone."""

import importlib.resources
import json
import re

import pytest

from tinsmith.commands.check import check
from tinsmith.core.config import DataConfig
from tinsmith.data.contradictions import MAX_PAIRS, find_contradictions
from tinsmith.data.stage import check_data
from tinsmith.model.conversations import Conversation, Message

WORDS = (
    "amber basil cedar delta ember fjord grove heron inlet jewel koala lemon mango nylon ocean piano quilt raven sable"
    " tulip umbra velvet willow zebra"
).split()


def conversations(*pairs, systems=()):
    made = []
    for number, (question, answer) in enumerate(pairs, start=1):
        messages = [Message("user", question), Message("assistant", answer)]
        if systems:
            messages.insert(0, Message("system", systems[number - 1]))
        made.append(Conversation(str(number), "c", tuple(messages), {"file": "f.jsonl", "position": f"line {number}"}))
    return made


def values(*pairs, systems=()):
    return [(c.first.values, c.second.values) for c in find_contradictions(conversations(*pairs, systems=systems))]


def test_the_same_question_with_other_numbers_is_listed_side_by_side():
    (pair,) = find_contradictions(
        conversations(
            ("What is a service?", "We clean it. It costs $60 and takes 2 days."),
            ("What are your hours?", "From 9 to 18."),
            ("What is the service?", "A full check for $75, done within 2 days. Ask us."),
        )
    )
    assert (pair.first.file, pair.first.position, pair.first.question) == ("f.jsonl", "line 1", "What is a service?")
    assert (pair.first.values, pair.first.statement) == (("60 USD",), "It costs $60 and takes 2 days.")
    assert (pair.second.position, pair.second.values) == ("line 3", ("75 USD",))
    assert pair.second.statement == "A full check for $75, done within 2 days."


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("What is a service?", "It costs $60."), ("What is a service?", "It costs 60 dollars.")),
        (("What is a service?", "It costs $60."), ("What is a service?", "It costs $60 and takes 2 days.")),
        (("What is a service?", "It costs $60."), ("What is a service?", "It takes 2 days.")),
        (("What is a service?", "It costs $60."), ("When is a service?", "In 3 days.")),
        (
            ("What does a bell cost?", "A bell costs $60 with us."),
            ("What does a lamp cost?", "A lamp costs $70 with us."),
        ),
        (("Can I return it?", "Yes, within 30 days."), ("Can I return it?", "Yes, always.")),
        (("Hi", "Hello, no. 1!"), ("Hi", "Good day")),
    ],
)
def test_what_does_not_contradict_is_not_listed(one, other):
    assert values(one, other) == []


def test_a_statement_repeated_under_a_wider_question_is_compared():
    one = ("What is the loyalty card?", "Loyalty card holders get 10% off all spare parts.")
    assert values(one, ("What does the loyalty card give me?", "With it you get 15% off all spare parts.")) == [
        (("10 %",), ("15 %",))
    ]
    # The second answer states the first one's number too, so it only says more.
    assert (
        values(one, ("What does the loyalty card give me?", "You get 15% off all spare parts, 10% on Mondays.")) == []
    )


@pytest.mark.parametrize(("yes", "no"), [("Yes, from home.", "No, only here."), ("Ja, gärna.", "Nej, tyvärr.")])
def test_yes_and_no_contradict(yes, no):
    assert values(("Can I book online?", yes), ("can i book ONLINE", no)) == [(("yes",), ("no",))]
    assert values(("Can I book online?", yes), ("Can I book by phone?", no)) == []


def test_numbers_of_the_systems_prompts_are_theirs():
    pairs = (("Price of tea?", "It is $3."), ("Price of tea?", "It is $4."))
    assert values(*pairs, systems=("Tea: $3", "Tea: $4")) == []
    assert values(*pairs, systems=("Be kind.", "Be brief.")) == [(("3 USD",), ("4 USD",))]


def test_every_later_answer_is_compared_with_the_first_so_that_the_list_stays_short():
    many = [("What is a service?", f"It costs ${100 + n}.") for n in range(50)]
    assert len(find_contradictions(conversations(*many))) == 49
    too_many = [("What is a service?", f"It costs ${100 + n}.") for n in range(MAX_PAIRS + 50)]
    assert len(find_contradictions(conversations(*too_many))) == MAX_PAIRS


def test_work_grows_with_the_conversations_and_not_with_their_pairs(monkeypatch):
    """Counted in statements compared, because times depend on the machine."""
    from tinsmith.data import contradictions

    compared = 0
    original = contradictions._contradicting

    def counting(*arguments):
        nonlocal compared
        compared += 1
        return original(*arguments)

    monkeypatch.setattr(contradictions, "_contradicting", counting)
    counts = []
    for count in (500, 1000, 2000):
        compared = 0
        pairs = [
            (f"What does a repair in town{n % (count // 20)} take?", f"Repairs by workshop{n} take 3 days there.")
            for n in range(count)
        ]
        find_contradictions(conversations(*pairs))
        counts.append(compared / count)
    assert counts[0] > 0
    assert max(counts) < 1.1 * counts[0]
    # Without the limit on common words, every statement is compared with every other one.
    monkeypatch.setattr(contradictions, "_MAX_HOLDERS", 10**9)
    compared = 0
    crowded = [("What does a repair take?", f"Repairs by workshop{n} take 3 days there.") for n in range(300)]
    find_contradictions(conversations(*crowded))
    assert compared > 300 * 299
    monkeypatch.setattr(contradictions, "_MAX_HOLDERS", 30)
    compared = 0
    find_contradictions(conversations(*crowded))
    assert compared == 0


def test_known_contradictions_of_the_public_question_set():
    path = importlib.resources.files("zaragoza_construction_faq") / "data" / "faq-en.jsonl"
    report = check_data(DataConfig(path=str(path)), seed=17)
    lines = path.read_text(encoding="utf-8").splitlines()

    def ids(pair):
        numbers = [int(re.findall(r"\d+", side.position)[0]) for side in (pair.first, pair.second)]
        return tuple(json.loads(lines[number - 1])["id"] for number in numbers)

    found = {ids(pair) for pair in report.contradictions}
    assert {
        ("dolda-006", "dolda-fel-019"),  # 5,000 or 4,000 SEK
        ("rut-001", "rut-009"),
        ("arbetsmiljo-002", "arbetsmiljo-013"),  # AFS 2008:16 or 1999:3
        ("rot-001", "solceller-varmpump-006"),  # 50,000 or 75,000 SEK
        ("kontrakt-013", "garantier-003"),  # 5 or 2 years
    } <= found
    assert len(found) <= 7


def test_check_warns_and_its_report_has_both_sides(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records = [{"q": f"Do you sell {word} {word[::-1]}?", "a": f"Answer about {word}."} for word in WORDS[:12]]
    records += [{"q": "What is a service?", "a": f"It costs ${price}."} for price in (60, 75)]
    (tmp_path / "faq.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "tinsmith.toml").write_text('name = "shop"\n[data]\npath = "faq.jsonl"\n')
    check(tmp_path / "tinsmith.toml", (), None)
    shown = capsys.readouterr().out
    assert (
        "A pair of answers seems to contradict each other, such as those to “What is a service?”: 60 USD or 75 USD.\n"
        "     Decide which is right and correct the other: the model learns both.\n"
    ) in shown
    report = (tmp_path / "runs" / "shop-data.md").read_text()
    assert "What is a service? → 60 USD: It costs \\$60. (faq.jsonl, line 13)" in report
    assert "What is a service? → 75 USD: It costs \\$75. (faq.jsonl, line 14)" in report


def test_every_contradiction_is_reported(tmp_path):
    records = [
        {"q": f"Price of a {word} {word[::-1]} repair?", "a": f"It costs ${price}."}
        for word in WORDS
        for price in (60, 75)
    ]
    (tmp_path / "faq.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    report = check_data(DataConfig(path=str(tmp_path / "faq.jsonl")), seed=0)
    assert len(report.contradictions) == len(WORDS) == 24
