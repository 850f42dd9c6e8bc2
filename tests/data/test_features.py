"""Each flag is raised by what it names, and by nothing that good data has."""

import time

import pytest

from tinsmith.data import features as features_module
from tinsmith.data.features import AI_HINTS, FEATURES, features, flags, quoted, shared_text
from tinsmith.data.language import language_of, same_language
from tinsmith.data.unicode import with_punctuation, without_hidden
from tinsmith.model.conversations import Conversation, Message


def conversation(answer, question="How do I get to the shop?", *more):
    roles = ("user", "assistant") * 4
    texts = (question, answer, *more)
    return Conversation("1", "c", tuple(Message(r, t) for r, t in zip(roles, texts, strict=False)))


def reasons(answer, question="How do I get to the shop?", *more):
    return [flag.reason for flag in flags(conversation(answer, question, *more))]


GARBLED = "garbled characters: the text was read in a wrong encoding"
HTML = "HTML in the text"
TOKEN = "text of a special token, read as plain text"
PLACEHOLDER = "placeholder that was never filled in"
CUT = "answer seems cut off"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("We open at <b>nine</b>.", HTML),
        ("First line<br/>second line.", HTML),
        ('See <a href="https://a.example">here</a>.', HTML),
        ("Fish &amp; chips&nbsp;for two.", HTML),
        ("Add <filename> to the list.", TOKEN),
        ("The end <pad><pad>.", TOKEN),
        ("[INST] Say hi [/INST] Hi.", TOKEN),
        ("Hello<|assistant|> there.", TOKEN),
        ("Dear {{customer_name}}, welcome.", PLACEHOLDER),
        ("Call us on [your phone number].", PLACEHOLDER),
        ("The price is [object Object].", PLACEHOLDER),
        ("Lorem ipsum dolor sit amet.", PLACEHOLDER),
        ("<think>The user wants the way.</think>Turn left.", "reasoning of a language model in an answer"),
        ("As an AI language model, I have no opinion.", "answer speaks as a language model"),
        ("I’m sorry, but I can’t assist with that.", "answer speaks as a language model"),
        ("Als KI-Sprachmodell kann ich das nicht.", "answer speaks as a language model"),
        ("Turn left at the station【4:0†source】.", "citation marks of a chat tool"),
        ("...", "answer has no content"),
        ("n/a", "answer has no content"),
        ("TODO", "answer has no content"),
        ("How do I get to the shop? Turn left.", "answer repeats its question"),
        ("Turn left at the station, then go straight ahead until you see the", CUT),
        ("Bring these things: a towel, soap,", CUT),
        ('Sure.\n<order>{"size": "large", "milk"</order>', "JSON at the end of an answer cannot be read"),
        ("caf\ufffd au lait", GARBLED),
    ],
)
def test_each_flag(answer, reason):
    assert reasons(answer) == [reason]


@pytest.mark.parametrize(
    "answer",
    [
        "Yes.",
        "42",
        "No, a < b and b > c.",
        "Use `<b>` for bold, and ```\n<div>{{name}}</div>\n``` around it.",
        "R&D and AT&T; fish & chips.",
        "See [our company page](https://a.example) or [Your account](/account).",
        "I can't help with the weather, but with matcha I can!",
        "Our shop has an AI guide, trained on our menu.",
        "Write to anna@shop.example",
        "Sizes:\n- small\n- medium, large",
        "Turn left at the station.\n\nBest wishes\nAnna",
        'Sure!\n\n<order>{"size": "large"}</order>',
        'Sure!\n```json\n{"size": "large"}\n```',
        "Set it to {low, high}",
    ],
)
def test_good_answers_are_not_flagged(answer):
    assert reasons(answer) == []


SENTENCES = (
    "Förmiddagens kaffe är färdigt, säger Åsa – “välkommen”!",
    "Das Café schließt früh, größere Gruppen bitte anmelden…",
    "L’été dernier, j’ai mangé une crème brûlée à 5 €.",
    "¿Cuándo abre mañana? ¡Señor, a las ocho!",
    "Zażółć gęślą jaźń, proszę Państwa.",
    "Привет, как пройти в магазин?",
    "抹茶は苦いですか？",
    "Enjoy 🍵 your tea",
)


@pytest.mark.parametrize("encoding", ["windows-1252", "latin-1"])
@pytest.mark.parametrize("text", SENTENCES)
def test_a_text_read_in_a_wrong_encoding_is_garbled(text, encoding):
    undefined = {code: chr(code) for code in (0x81, 0x8D, 0x8F, 0x90, 0x9D)} if encoding == "windows-1252" else {}
    garbled = "".join(undefined.get(byte) or bytes([byte]).decode(encoding) for byte in text.encode())
    repaired, _ = without_hidden(with_punctuation(garbled))
    assert GARBLED in reasons(repaired)


@pytest.mark.parametrize(
    "text", [*SENTENCES, "IRMÃ” É NÃO", "NESCAFÉ® und MENÜ“", "Ângela, São João, mañana", "hâ… så"]
)
def test_correct_accents_are_not_garbled(text):
    assert GARBLED not in reasons(text)


def test_a_reason_is_given_once_with_the_first_place():
    found = list(flags(conversation("One <b>bold</b> word.", "What <i>now</i>?", "And <p>more?", "No <br>.")))
    assert [(flag.reason, flag.detail) for flag in found] == [(HTML, "message 1: What <i>now</i>?")]


def test_quotes_are_one_line_cut_around_what_they_show():
    text = "".join(chr(97 + n % 26) for n in range(300))
    assert quoted("a\n  b ") == "a b"
    assert quoted(text[:140]) == text[:140] and quoted(text[:141]) == text[:140] + "..."
    assert quoted(text, 46) == text[:140] + "..." and quoted(text, 47) == "..." + text[1:141] + "..."
    assert quoted(text, 206) == "..." + text[160:300] and quoted(text, 299) == "..." + text[253:]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (
            ["Is <b>tea</b> &amp; cake in?", "Yes, <i>both</i> are, as `<b>` says. <pad>"],
            [
                (HTML, "message 1: Is <b>tea</b> &amp; cake in?"),
                (TOKEN, "message 2: Yes, <i>both</i> are, as `<b>` says. <pad>"),
            ],
        ),
        (
            ["What?", "Dear {{name}},"],
            [(PLACEHOLDER, "message 2: Dear {{name}},"), (CUT, "message 2: ...Dear {{name}},")],
        ),
        (
            ["Say <think>hm</think>", "No <thinking> here."],
            [("reasoning of a language model in an answer", "message 2: No <thinking> here.")],
        ),
        (
            ["What?", "Well. I’m just an AI, sorry."],
            [("answer speaks as a language model", "message 2: Well. I’m just an AI, sorry.")],
        ),
        (["I am just an AI, am I?", "No."], []),
        (
            ["How are you today?", "How are you TODAY? Fine."],
            [("answer repeats its question", "message 2: How are you TODAY? Fine.")],
        ),
        (["Are you open?", "Are you open? Yes."], []),
        (["A", "b", "How are you today?", " null "], [("answer has no content", "message 4: null")]),
        (["A", 'No answer\n{"a": 1}'], []),
        (["A", "answer here please"], []),
        (["A", "x " * 100 + "and\nthe next of\nall, the"], []),
        (
            ["A", "x " * 100 + "and\nthe next of all, the"],
            [(CUT, "message 2: ..." + ("x " * 100 + "and the next of all, the")[-70:])],
        ),
        (["A", "So (\n"], [(CUT, "message 2: ...So (")]),
        (["A", 'Yes.\n<order>["a",]</order>'], [("JSON at the end of an answer cannot be read", "message 2: Yes.")]),
        (
            ["caf\ufffd", "x【4:0†a】"],
            [(GARBLED, "message 1: caf\ufffd"), ("citation marks of a chat tool", "message 2: x【4:0†a】")],
        ),
    ],
)
def test_flags_say_where_and_quote(messages, expected):
    turns = tuple(Message(("user", "assistant")[n % 2], text) for n, text in enumerate(messages))
    assert [(flag.reason, flag.detail) for flag in flags(Conversation("1", "c", turns))] == expected


def test_messages_are_counted_with_the_system_prompt_and_it_is_no_question():
    turns = (
        Message("system", "You sell tea and <b>cake</b>."),
        Message("user", "Hi"),
        Message("assistant", "You sell tea and cake."),
    )
    assert [(flag.reason, flag.detail) for flag in flags(Conversation("1", "c", turns))] == [
        (HTML, "message 1: You sell tea and <b>cake</b>.")
    ]


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("We are open on all days of the week", True),
        ("We are open on all days of the", False),
        ("We are open on all days", False),
        ("We are open on all days of the week.", False),
        ("We are open on all days of the week 7", True),
        ("- We are open on all days of the week", False),
        ("2. We are open on all days of the week", False),
        ("Hours: we are open on all days of the week", False),
        ("Please write for all of this to anna@shop.example", False),
        ("More of this and other things is at shop.se", False),
        ("Full stop.\nWe are open on all days of the week\n", True),
        ("We are open on all days of the week\nAnna", False),
    ],
)
def test_an_answer_without_a_full_stop(text, is_open):
    assert features(conversation(text))["is_open"] is is_open


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Sure. <p>{"b": 1, "a": 2}</p> ', ("Sure.", "p", False, "a b", False)),
        ("Sure.\n<P>\n[1]\n</P>", ("Sure.", "P", True, "", False)),
        ("Sure. <p>text {</p>", ("Sure.", "p", False, "", False)),
        ("Sure. <p>{1}</p>", ("Sure.", "p", False, "", True)),
        ("Sure. <p>a <p>[]</p>", ("Sure. <p>a", "p", False, "", False)),
        ("Sure. </p>", ("Sure. </p>", "", False, "", False)),
        ('Sure.\n```json\n{"a": 1}\n```\n', ("Sure.", "{}", False, "a", False)),
        ("Sure.\n```\n[1,\n2]\n```", ("Sure.", "{}", True, "", False)),
        ('{"a": {}}', ("", "{}", False, "a", False)),
        ("[[1],\n[2]]", ("[[1],\n[2]]", "", False, "", False)),
        ('Sure. {"a": 1}', ('Sure. {"a": 1}', "", False, "", False)),
        ("Sure.\n{a}", ("Sure.\n{a}", "", False, "", False)),
        ("Use\n```\ncode\n```", ("Use\n```\ncode\n```", "", False, "", False)),
    ],
)
def test_the_block_at_the_end_of_an_answer(text, expected):
    answer = features_module._parsed(text)
    assert (answer.prose, answer.block, answer.is_long, answer.keys, answer.is_broken) == expected


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two? Three!\n\nFour; five", ["One.", "Two?", "Three!", "Four;", "five"]),
        ("Mr.X is 1.5 m.", ["Mr.X is 1.5 m."]),
        ("一。二？三！ four", ["一。", "二？", "三！", "four"]),
        ("Öppet. Ja", ["Öppet.", "Ja"]),
        (" \n ", [" \n "]),
        ("", [""]),
    ],
)
def test_sentences(text, sentences):
    assert [one.strip() or one for one in features_module._sentences(text)] == sentences


def test_every_number_of_a_conversation():
    long = "It costs five kronor today. **Thanks** for asking us 😀"
    one = conversation(long + '\n{"b": 1,\n"a": 2}', "How much is it?", "And for two?", "- Ten of them")
    assert features(one) == {
        "language": "",
        "shortest_answer": len("- Ten of them"),
        "longest_answer": len(long),
        "question": features_module._hash_text("how much is it"),
        "first_sentence": features_module._hash_text("it costs five kronor today"),
        "last_sentence": 0,
        "whole_answer": features_module._hash_text("it costs five kronor today thanks for asking us"),
        "answers": 2,
        "blocks": 1,
        "block_keys": features_module._hash_text("{} a b"),
        "is_open": False,
        "has_markdown": True,
        "has_emoji": True,
        "has_long_block": True,
    }
    assert features_module._hash_text("a") == 2_340_832_890_917_691_671
    assert features(conversation("Yes.", "Why so?"))["question"] == 0, "two words are too few"
    plain = features(conversation("Åh, ja. Det är öppet nu."))
    assert (plain["has_markdown"], plain["has_emoji"], plain["has_long_block"], plain["blocks"]) == (False,) * 3 + (0,)
    assert plain["last_sentence"] == features_module._hash_text("det är öppet nu") and plain["first_sentence"] == 0


def test_shared_texts_are_those_of_the_first_and_the_last_answer():
    one = conversation('Good day. We are open.\n{"a": 1}', "Hi", "And now?", "Yes. See you\nsoon.")
    assert [shared_text(one, name) for name in ("first_sentence", "last_sentence", "whole_answer")] == [
        *("Good day.", "soon.", "Good day. We are open.")
    ]


def test_each_text_of_a_conversation_counts_for_its_language():
    assert features_module._joined(["a" * 500]) == "a" * 400
    assert features_module._joined(["a" * 500, "b" * 500]) == "a" * 200 + "\n" + "b" * 199
    assert features_module._joined(["a" * 500, "b", "c" * 90, "d"]) == "a" * 100 + "\nb\n" + "c" * 90 + "\nd"
    many = features_module._joined([chr(97 + n) * 50 for n in range(20)])
    assert many == "\n".join(chr(97 + n) * 40 for n in range(20))[:400]


def test_features_have_the_columns_they_promise():
    for text in ("Yes.", "a, b", '{"a": 1}', "长" * 50):
        values = features(conversation(text))
        assert {name: type(value) for name, value in values.items()} == FEATURES
        assert all(0 <= value < 2**63 for name, value in values.items() if name != "language")


def test_sentences_are_compared_by_their_words():
    one = features(conversation("Great question! Turn left at the station. Have a nice day!"))
    other = features(conversation("Turn right. have a nice day", "Where?", "And back?", "Walk on. HAVE A  NICE DAY"))
    assert one["last_sentence"] == other["last_sentence"] != 0
    assert one["first_sentence"] == 0 and one["whole_answer"] != 0
    assert shared_text(conversation("Walk on. Have a nice day!"), "last_sentence") == "Have a nice day!"


def test_a_closing_block_is_told_from_prose_and_compared_by_its_keys():
    tagged = features(conversation('Sure.\n\n<p>{"b": 1, "a": [2]}</p>'))
    again = features(conversation('Of course, here it is.\n<p>\n{"a": 3, "b": null}\n</p>\n'))
    other = features(conversation('Sure.\n<p>{"a": 3}</p>'))
    bare = features(conversation('Sure.\n{\n  "a": 3,\n  "b": {"c": 1}\n}'))
    assert tagged["block_keys"] == again["block_keys"] != other["block_keys"]
    assert [one["blocks"] for one in (tagged, again, other, bare)] == [1, 1, 1, 1]
    assert tagged["longest_answer"] == len("Sure.") and bare["longest_answer"] == len("Sure.")
    assert features(conversation("Sure. {not json}"))["blocks"] == 0


LANGUAGES = {
    "en": "You can pay with cash or card. We open at nine every morning, and the last guests leave at five.",
    "de": "Sie können bar oder mit Karte zahlen. Wir öffnen jeden Morgen um neun, die letzten Gäste gehen um fünf.",
    "sv": "Du kan betala kontant eller med kort. Vi öppnar klockan nio varje morgon, de sista gästerna går vid fem.",
    "fr": "Vous pouvez payer en espèces ou par carte. Nous ouvrons à neuf heures, les derniers clients partent à cinq.",
    "es": "Puede pagar en efectivo o con tarjeta. Abrimos a las nueve, y los últimos clientes salen a las cinco.",
    "id": "Anda bisa membayar dengan uang tunai atau kartu. Kami buka pukul sembilan pagi dan tutup pukul lima sore.",
    "ja": "現金でもカードでもお支払いいただけます。毎朝九時に開店し、最後のお客様は五時にお帰りになります。",
    "ru": "Вы можете заплатить наличными или картой. Мы открываемся в девять утра, а последние гости уходят в пять.",
}


@pytest.mark.parametrize("code", LANGUAGES)
def test_languages_are_told(code):
    assert same_language(language_of(LANGUAGES[code]), code)
    assert features(conversation(LANGUAGES[code], "?"))["language"] == language_of("?\n" + LANGUAGES[code])


def test_short_texts_have_no_language():
    assert language_of("Ja, gern!") == language_of("12 345 kr / m² " * 20) == ""


@pytest.mark.parametrize(
    "part", ["<a", "</a>", "{{", "[your ", "â€", "<p>{", "a,\n{", "```", "`", "&#", "【", "<think", "ÅÄ", "ã€", "a.b"]
)
def test_hostile_texts_take_time_that_grows_with_their_length(part):
    seconds = []
    for length in (40_000, 400_000):
        one = conversation(part * (length // len(part)))
        start = time.process_time()
        list(flags(one))
        features(one)
        seconds.append(time.process_time() - start)
    assert seconds[1] < 40 * seconds[0] + 0.5


def test_every_phrase_of_a_language_model_has_a_hint():
    phrases = features_module._AI_PHRASES
    assert len(phrases) > 30
    assert [phrase for phrase in phrases if not any(hint in phrase for hint in AI_HINTS)] == []
    for phrase in phrases:
        assert "answer speaks as a language model" in reasons(f"Well, {phrase} and so on, all day long.")


@pytest.mark.parametrize("text", ["One line.", "**Bold**", "- item", "Text\n1. item", "# Title", "a - b", " \n * x"])
def test_markdown_is_seen_in_one_line_and_in_several(text):
    assert features(conversation(text))["has_markdown"] == bool(features_module._MARKDOWN.search(text.rstrip()))
