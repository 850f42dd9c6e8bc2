"""Answers that contradict each other are found, and those that do not are left alone."""

import hashlib
import importlib.resources
import json
import random
import re
from pathlib import Path

import numpy as np
import pytest

from made_up_questions import words
from tinsmith.commands.check import check
from tinsmith.core.config import DataConfig
from tinsmith.data import candidates, contradictions
from tinsmith.data.candidates import find_candidates
from tinsmith.data.contradictions import MAX_PAIRS, comparing, contradictions_of
from tinsmith.data.duplicates import near_duplicates, signatures
from tinsmith.data.questions import topic_words
from tinsmith.data.stage import check_data
from tinsmith.data.statements import WIDTH, polarity, statements
from tinsmith.model.conversations import Conversation, Message

PAIRS = [
    json.loads(line)
    for line in (Path(__file__).parent / "contradiction_pairs.jsonl").read_text(encoding="utf-8").splitlines()
]
WORDS = (
    "amber basil cedar delta ember fjord grove heron inlet jewel koala lemon mango nylon ocean piano quilt raven sable"
    " tulip umbra velvet willow zebra"
).split()


def conversation(number, *texts, system=""):
    roles = ("user", "assistant") * (len(texts) // 2)
    messages = [Message("system", system)] * bool(system) + list(map(Message, roles, texts))
    return Conversation(str(number), "c", tuple(messages), {"file": "f.jsonl", "position": f"line {number}"})


def find(conversations):
    rows = [statements(one) for one in conversations]
    owners = np.repeat(np.arange(len(rows)), [len(some) for some in rows])
    questions = [one.question for one in conversations]
    clusters = near_duplicates(signatures(questions), questions.__getitem__)
    pairs = find_candidates(np.concatenate(rows), owners, clusters)
    with comparing(pairs, conversations.__getitem__) as conflicts:
        return contradictions_of(pairs, conflicts, conversations.__getitem__)


def values(*texts, systems=("", "")):
    found = find(
        [conversation(n, *pair, system=system) for n, (pair, system) in enumerate(zip(texts, systems, strict=True))]
    )
    return [(one.first.values, one.second.values) for one in found]


def test_the_same_question_with_other_values_is_listed_side_by_side():
    (pair,) = find(
        [
            conversation(1, "What is a bike service?", "We clean it. It costs $60 and takes 2 days."),
            conversation(2, "What are your hours?", "From 9 to 18."),
            conversation(3, "What is the bike service?", "A full check for $75, done within 2 days. Ask us."),
        ]
    )
    assert (pair.first.file, pair.first.position, pair.first.question) == (
        "f.jsonl",
        "line 1",
        "What is a bike service?",
    )
    assert (pair.first.values, pair.first.statement) == (("$60",), "It costs $60 and takes 2 days.")
    assert (pair.second.position, pair.second.values) == ("line 3", ("$75",))
    assert pair.second.statement == "A full check for $75, done within 2 days."


@pytest.mark.parametrize(
    ("half", "least"), [("tuning", 0.8), ("final", 0.95), ("second", 0.75), ("second controls", 0)]
)
def test_of_planted_pairs_most_contradictions_are_listed_and_nothing_else(half, least):
    """The rules were written on the first two; of the second set, 18 of 24 were found when it was measured first."""
    pairs = [pair for pair in PAIRS if pair["half"] == half]
    found = find(
        [conversation(number, *pair[side]) for number, pair in enumerate(pairs) for side in ("first", "second")]
    )
    places = [{int(side.position.split()[1]) for side in (one.first, one.second)} for one in found]
    right = [place for place in places if len(place) == 1 and pairs[min(place)]["contradict"]]
    assert len(right) >= least * sum(pair["contradict"] for pair in pairs)
    assert len(places) == len(right)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("What is a bike service?", "It costs $60."), ("What is a bike service?", "It costs 60 dollars.")),
        (("What is a bike service?", "It costs $60."), ("What is a bike service?", "It costs $60 and takes 2 days.")),
        (("What is a bike service?", "It costs $60."), ("What is a bike service?", "It takes 2 days.")),
        (
            ("What does a bell cost?", "A bell costs $60 with us."),
            ("What does a lamp cost?", "A lamp costs $70 with us."),
        ),
        (("Can I return the bell?", "Yes, within 30 days."), ("Can I return the bell?", "Yes, always.")),
        (
            ("How long is the bell's warranty?", "2 years."),
            ("How long is the bell's warranty?", "2 years and an additional 3 years for members."),
        ),
        (("Hi", "Hello, no. 1!"), ("Hi", "Good day")),
        (("Which rules apply to noise?", "AFS 2005:16."), ("Which rules apply to noise?", "SS 25267:2015 and 30 dB.")),
        (("How do I reset it?", "Step 1 is the switch."), ("How do I reset it?", "Step 2 is the fuse.")),
        (("How wide is the tall desk?", "It is 80 cm."), ("How deep is the tall desk?", "It is 60 cm.")),
        (("Price for a short cut?", "A cut is $30."), ("Price for a long cut?", "A cut is $45.")),
        (("Price below 10 tiles?", "A tile is $30."), ("Price above 10 tiles?", "A tile is $25.")),
        (("Who is the vet?", "Dr Ana Gil."), ("Who is the vet?", "Ana Gil Ruiz.")),
        (("Who are the vets?", "Ana Gil and Tom Lee."), ("Who are the vets?", "Eva Berg.")),
        (("What is the energy number?", "At most 95 kWh."), ("What is the energy number?", "A good value is 75 kWh.")),
        (("How long until a complaint?", "A few weeks."), ("How long until a complaint?", "3 days.")),
        (("Must I book a table?", "No, just come."), ("May I book a table?", "Yes, by phone.")),
        (("Can I return shoes?", "Yes, except shoes on sale."), ("Can I return shoes on sale?", "No, never.")),
    ],
)
def test_what_does_not_contradict_is_not_listed(one, other):
    assert values(one, other) == []


def test_a_statement_repeated_under_a_wider_question_is_compared():
    one = ("What is the loyalty card?", "Loyalty card holders get 10% off all spare parts.")
    assert values(one, ("What does the loyalty card give me?", "With the card you get 15% off all spare parts.")) == [
        (("10%",), ("15%",))
    ]
    # The second answer states the first one's number too, so it only says more.
    more = "With the card you get 15% off all spare parts, 10% on Mondays."
    assert values(one, ("What does the loyalty card give me?", more)) == []


@pytest.mark.parametrize(
    ("one", "other", "stated"),
    [
        (
            ("Which rules apply to noise?", "AFS 2005:16 applies."),
            ("What rules apply to noise?", "Follow AFS 1999:3."),
            ("2005:16", "1999:3"),
        ),
        (
            ("Which Python does it need?", "Python 3.9 or later."),
            ("Which Python does it need?", "You need Python 3.11."),
            ("3.9", "3.11"),
        ),
        (
            ("Who is the head vet?", "Dr Ana Gil is the head vet."),
            ("Who is head vet?", "Our head vet is Tom Lee."),
            ("Ana Gil", "Tom Lee"),
        ),
        (
            ("Wie hoch sind die Versandkosten?", "Der Versand kostet 6,90 €."),
            ("Was kostet der Versand?", "4,90 €."),
            ("6,90 €", "4,90 €"),
        ),
        (
            ("Vilken yta har gården?", "Gården är 35 m2."),
            ("Hur stor är gården?", "Gårdens yta är 42 m2."),
            ("35 m2", "42 m2"),
        ),
        (
            ("How long is the warranty under BOX 18?", "The warranty is 2 years from delivery."),
            ("What if the maker closes?", "The 5-year warranty under BOX 18 stays in force."),
            ("2 years", "5-year"),
        ),
        (
            ("Can I bring my dog to the bar?", "Yes, dogs are welcome."),
            ("Are dogs allowed in the bar?", "No."),
            ("yes", "no"),
        ),
        (
            ("Do you take American Express?", "Yes, we take all cards."),
            ("Do you take American Express cards?", "No."),
            ("yes", "no"),
        ),
    ],
)
def test_a_question_in_other_words_is_the_same_question(one, other, stated):
    assert values(one, other) == [tuple((value,) for value in stated)]


@pytest.mark.parametrize(
    ("yes", "no"), [("Yes, from home.", "No, only here."), ("Ja, gärna.", "Tyvärr inte."), ("Sí.", "no")]
)
def test_yes_and_no_contradict(yes, no):
    assert values(("Can I book online?", yes), ("can i book ONLINE", no)) == [(("yes",), ("no",))]
    assert values(("Can I book online?", yes), ("Can I book by phone?", no)) == []
    assert values(("Can I book online?", yes), ("Can I not book online?", no)) == []


@pytest.mark.parametrize(
    ("text", "stated"), [("Nobody can.", ""), ("Not yet", "no"), ("Unfortunately, no.", "no"), ("JA!", "yes"), ("", "")]
)
def test_yes_and_no_are_whole_first_words(text, stated):
    assert polarity(text) == stated


def test_later_turns_are_compared_too():
    late = conversation(1, "Hello there", "Hi!", "When does the shop close?", "The shop closes at 18:00.")
    (pair,) = find([late, conversation(2, "When does the shop close?", "The shop closes at 19:30.")])
    assert pair.first.question == "When does the shop close?"
    assert (pair.first.values, pair.second.values) == (("18:00",), ("19:30",))
    # Of one conversation, a later answer may correct an earlier one.
    own = ("When does the shop close?", "The shop closes at 18:00.", "When does the shop close?", "At 19:30.")
    assert find([conversation(1, *own), conversation(2, "Which tea?", "Any of our 3 teas.")]) == ()


def test_values_of_the_systems_prompts_are_theirs():
    pairs = (("Price of green tea?", "It is $3."), ("Price of green tea?", "It is $4."))
    assert values(*pairs, systems=("Tea: $3", "Tea: $4")) == []
    assert values(*pairs, systems=("Be kind.", "Be brief.")) == [(("$3",), ("$4",))]


def test_an_answer_is_listed_a_few_times_and_the_list_has_an_end(monkeypatch):
    many = [conversation(n, "What is a bike service?", f"It costs ${100 + n}.") for n in range(40)]
    assert 20 <= len(find(many)) <= 60
    monkeypatch.setattr(contradictions, "MAX_PAIRS", 7)
    assert len(find(many)) == 7 < MAX_PAIRS


def test_the_list_does_not_depend_on_the_order_of_the_data():
    data = [conversation(n, *pair[side]) for n, pair in enumerate(PAIRS[:60]) for side in ("first", "second")]
    data += [conversation(100 + n, "What is a bike service?", f"It costs ${100 + n}.") for n in range(30)]
    shuffled = random.Random(2).sample(data, len(data))

    def listed(conversations):
        return {frozenset((one.first, one.second)) for one in find(conversations)}

    assert listed(data) == listed(shuffled) != set()


def test_rows_are_the_same_on_every_machine_and_python():
    rows = statements(conversation(1, "What is the price of a bell?", "Yes. It costs $60, in 2 days for $70."))
    assert rows.shape == (3, WIDTH) and rows.dtype == np.uint32
    assert sorted(topic_words("What is the price of a bell (the shiny one), in 2026?")) == ["2026", "bell"]
    assert (
        hashlib.sha256(rows.astype("<u4").tobytes()).hexdigest()
        == "11f6e62774d96a34ed265dc6f513308e565c51ecc80b3b3f2eb36a5806c5aeca"
    )
    assert statements(conversation(1, "Hi", "Hello!")).shape == (0, WIDTH)


def test_work_grows_with_the_conversations_and_not_with_their_pairs(monkeypatch):
    """Counted in rows compared, because times depend on the machine."""
    compared = []
    original = candidates._may_differ
    monkeypatch.setattr(candidates, "_may_differ", lambda values: compared.append(values.shape[1]) or original(values))
    per_conversation = []
    for count in (300, 1200):
        compared.clear()
        chance = random.Random(count)
        towns = words(chance, count // 5)
        asked = [f"What does a repair in {chance.choice(towns)} cost?" for _ in range(count)]
        find(
            [
                conversation(n, one, f"A repair there costs {chance.randint(10, 99)} euros.")
                for n, one in enumerate(asked)
            ]
        )
        per_conversation.append(sum(compared) / count)
    assert 0 < per_conversation[1] < 4**0.1 * per_conversation[0] + 5


def test_known_contradictions_of_the_public_question_sets():
    folder = importlib.resources.files("zaragoza_construction_faq") / "data"

    def listed(name):
        path = folder / name
        report = check_data(DataConfig(path=str(path)), seed=17)
        ids = [json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()]
        pairs = ((pair.first, pair.second) for pair in report.contradictions)
        return {tuple(ids[int(re.findall(r"\d+", side.position)[0]) - 1] for side in pair) for pair in pairs}

    both = {
        ("dolda-006", "dolda-fel-019"),  # 5,000 or 4,000 SEK
        ("arbetsmiljo-002", "arbetsmiljo-013"),  # AFS 2008:16 or 1999:3
        ("rot-001", "solceller-varmpump-006"),  # 50,000 or 75,000 SEK
    }
    assert listed("faq.jsonl") == both
    assert listed("faq-en.jsonl") == both | {
        ("tillbyggnad-002", "rot-001"),  # 15,000 or 50,000 SEK
        ("rut-008", "rut-015"),  # raised in 2022 or in 2021
        ("dolda-fel-022", "garantier-003"),  # a warranty of 5 or 2 years
    }


def test_check_warns_and_its_report_has_both_sides(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records = [{"q": f"Do you sell {word} {word[::-1]}?", "a": f"Answer about {word}."} for word in WORDS[:12]]
    records += [{"q": "What is a bike service?", "a": f"It costs ${price}."} for price in (60, 75)]
    (tmp_path / "faq.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "tinsmith.toml").write_text('name = "shop"\n[data]\npath = "faq.jsonl"\n')
    check(tmp_path / "tinsmith.toml", (), None)
    shown = capsys.readouterr().out
    assert (
        "A pair of answers seems to contradict each other, such as those to “What is a bike service?”: $60 or $75.\n"
        "     Decide which is right and correct the other: the model learns both.\n"
    ) in shown
    report = (tmp_path / "runs" / "shop-data.md").read_text()
    assert "What is a bike service? → \\$60: It costs \\$60. (faq.jsonl, line 13)" in report
    assert "What is a bike service? → \\$75: It costs \\$75. (faq.jsonl, line 14)" in report


def test_every_contradiction_is_reported(tmp_path):
    records = [
        {"q": f"Price of a {word} {word[::-1]} repair?", "a": f"It costs ${price}."}
        for word in WORDS
        for price in (60, 75)
    ]
    (tmp_path / "faq.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    report = check_data(DataConfig(path=str(tmp_path / "faq.jsonl")), seed=0)
    assert len(report.contradictions) == len(WORDS) == 24


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a" * 160, "a" * 160), ("a" * 161, "a" * 157 + "..."), ("a" * 156 + " " + "b" * 9, "a" * 156 + "...")],
)
def test_long_quotes_are_cut_with_dots(text, shown):
    assert contradictions._cut(text) == shown


def test_bits_of_words_leave_no_candidate_out(monkeypatch):
    chance = random.Random(5)
    questions = [f"What does the {' '.join(chance.sample(WORDS, 3))} cost?" for _ in range(400)]
    answers = [f"The {' '.join(chance.sample(WORDS, 4))} is {chance.randint(10, 99)} euros." for _ in questions]
    rows = [statements(conversation(n, *turn)) for n, turn in enumerate(zip(questions, answers, strict=True))]
    owners = np.repeat(np.arange(len(rows)), [len(some) for some in rows])
    table = np.concatenate(rows)
    words, counts = candidates._word_counts(table[:, candidates.TOPIC.start : candidates.WORDS.stop])

    def pairs():
        return list(candidates._candidates(table, owners, np.arange(len(rows)), words, counts))

    expected = pairs()
    monkeypatch.setattr(candidates, "_masks", lambda cells: np.zeros(len(cells), np.uint64))
    assert len(expected) > 100
    assert pairs() == expected
