"""Two frequent forms of one name are found, and words that only look alike are not."""

from tinsmith.data.spellings import find_spellings
from tinsmith.model.conversations import Conversation, Message


def found(*texts, language="en"):
    conversations = [
        Conversation(str(n), "c", (Message("user", "Q"), Message("assistant", text)), {"file": "f", "position": str(n)})
        for n, text in enumerate(texts)
    ]
    spellings = find_spellings(lambda: iter(conversations), language)
    return [[(form.text, form.count, form.position) for form in one.forms] for one in spellings]


def test_accents_and_capitals():
    texts = ["Try **Kiyō** now."] * 7 + ["Our Kiyo, our Kiyo!"] * 9 + ["Use GitHub."] * 5 + ["Use Github."] * 6
    assert found(*texts) == [[("Kiyo", 9, "7"), ("Kiyō", 7, "0")], [("Github", 6, "21"), ("GitHub", 5, "16")]]


def test_words_that_are_no_names_or_rare_forms_are_left():
    assert found(*["One café. Café is open."] * 9, *["A cafe. Cafe is open."] * 9) == []
    assert found(*["In Malmö"] * 9, *["In Malmo"] * 4) == []
    assert found(*["In Malmö"] * 90, *["In Malmo"] * 9) == []
    assert found(*["An iPhone. An iPhone"] * 9, *["The Phone"] * 9, *["MiPhone"] * 9) == []
    assert found(*["The KIYO tea"] * 9, *["The Kiyo tea"] * 9, *["a kiyo tea"]) == []


def test_german_plurals_are_other_words():
    texts = ["Der Vater fragt."] * 9 + ["Die Väter fragen."] * 9
    assert found(*texts, language="de") == []
    assert len(found(*texts, language="sv")) == 1
