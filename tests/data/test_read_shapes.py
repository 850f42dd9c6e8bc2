"""Records of every shape that people have, each told apart, with every field that is not used named."""

import json
import tomllib

import pytest

from reading import conversations, items
from tinsmith.core.field_map import FieldMap
from tinsmith.data.read.propose import proposal
from tinsmith.data.read.record import Record, Unusable
from tinsmith.data.read.shapes import is_record, shaped


def shape(value, fields=None):
    return shaped(Record("f.jsonl", "line 1", value, "c"), fields)


def turns(value, fields=None):
    return [(message.role, message.content) for message in shape(value, fields).messages]


def chat(*texts, **more):
    roles = ("user", "assistant") * len(texts)
    return [{"role": role, "content": text, **more} for role, text in zip(roles, texts, strict=False)]


HI = [("user", "Hi"), ("assistant", "Hello")]
NO_ANSWER = ("assistant", "")
SHAPES = {
    "openai": ({"messages": chat("Hi", "Hello")}, HI, ()),
    "openai fine-tuning with tools that nobody calls": (
        {"messages": chat("Hi", "Hello"), "tools": [{"type": "function"}], "parallel_tool_calls": False},
        HI,
        ("parallel_tool_calls", "tools"),
    ),
    "names of speakers": ({"messages": chat("Hi", "Hello", name="Ann")}, HI, ("messages.name",)),
    "reasoning": (
        {"messages": [*chat("Hi"), {"role": "assistant", "content": "Hello", "reasoning_content": "They greet."}]},
        HI,
        ("messages.reasoning_content",),
    ),
    "a refusal is an answer": (
        {"messages": [*chat("Hi"), {"role": "assistant", "content": None, "refusal": "Hello"}]},
        HI,
        (),
    ),
    "developer is system": (
        {"messages": [{"role": "developer", "content": "Be kind."}, *chat("Hi", "Hello")]},
        [("system", "Be kind."), *HI],
        (),
    ),
    "parts": (
        {"messages": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}, *chat("Hi", "Hello")[1:]]},
        HI,
        (),
    ),
    "weight 0 at the end": (
        {"messages": [*chat("Hi", "Hello"), *chat("Bye", "Go away", weight=0)]},
        HI,
        ("messages: answers of weight 0 at the end",),
    ),
    "preference of OpenAI": (
        {
            "input": {"messages": chat("Hi"), "tools": [{"x": 1}]},
            "preferred_output": chat("", "Hello")[1:],
            "non_preferred_output": chat("", "Go")[1:],
        },
        HI,
        ("input.tools", "non_preferred_output"),
    ),
    "sharegpt with system": (
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}], "system": "Be kind."},
        [("system", "Be kind."), *HI],
        (),
    ),
    "system_prompt": ({"question": "Hi", "answer": "Hello", "system_prompt": "S"}, [("system", "S"), *HI], ()),
    "dolly": (
        {"instruction": "When?", "context": "Open at nine.", "response": "At nine.", "category": "closed_qa"},
        [("user", "When?\n\nOpen at nine."), ("assistant", "At nine.")],
        (),
    ),
    "dolly without context": ({"instruction": "Hi", "context": "", "response": "Hello"}, HI, ()),
    "alpaca": ({"instruction": "Hi", "input": "", "output": "Hello", "text": "all of it"}, HI, ("text",)),
    "squad": (
        {
            "id": "5",
            "title": "Tea",
            "context": "Tea is a leaf.",
            "question": "What is tea?",
            "answers": {"text": ["a leaf", "a leaf", "leaf"], "answer_start": [7, 7, 9]},
        },
        [("user", "What is tea?\n\nTea is a leaf."), ("assistant", "a leaf")],
        ("answers: all but the first", "title"),
    ),
    "arc": (
        {"question": "Which?", "choices": {"text": ["tea", "mud"], "label": ["A", "B"]}, "answerKey": "A"},
        [("user", "Which?\n\nA. tea\nB. mud"), ("assistant", "A. tea")],
        (),
    ),
    "mmlu": (
        {"question": "Which?", "choices": ["mud", "tea"], "answer": 1, "subject": "drinks"},
        [("user", "Which?\n\nA. mud\nB. tea"), ("assistant", "B. tea")],
        ("subject",),
    ),
    "choices as objects": (
        {"question": "Which?", "choices": [{"label": "a", "text": "tea"}, {"label": "b", "text": "mud"}], "label": "b"},
        [("user", "Which?\n\na. tea\nb. mud"), ("assistant", "b. mud")],
        (),
    ),
    "choices by their labels": (
        {"question": "Which?", "options": {"X": "tea", "Y": "mud"}, "correct_answer": " tea "},
        [("user", "Which?\n\nX. tea\nY. mud"), ("assistant", "X. tea")],
        (),
    ),
    "labels that are no texts": (
        {"question": "Which?", "choices": {"text": ["tea", "mud"], "label": [1, 2]}, "answer_index": 0},
        [("user", "Which?\n\nA. tea\nB. mud"), ("assistant", "A. tea")],
        (),
    ),
    "choices beside how many they are": (
        {"question": "Which?", "choices": 2, "options": ["tea", "mud"], "answer_idx": 1},
        [("user", "Which?\n\nA. tea\nB. mud"), ("assistant", "B. mud")],
        ("choices",),
    ),
    "26 choices and a passage": (
        {"question": "Which?", "passage": "Read.", "choices": [f"tea {n}" for n in range(26)], "answer_key": "Z"},
        [
            ("user", "\n".join(["Which?\n", *(f"{chr(65 + n)}. tea {n}" for n in range(26))]) + "\n\nRead."),
            ("assistant", "Z. tea 25"),
        ],
        (),
    ),
    "preference pair": ({"prompt": "Hi", "chosen": "Hello", "rejected": "Go"}, HI, ("rejected",)),
    "preference pair of messages": (
        {"prompt": "Hi", "chosen": chat("Hi", "Hello"), "rejected": chat("Hi", "Go")},
        HI,
        ("rejected",),
    ),
    "preference pair with both sides whole": (
        {"chosen": chat("Hi", "Hello"), "rejected": chat("Hi", "Go")},
        HI,
        ("rejected",),
    ),
    "a better answer as a message": (
        {
            "conversations": [{"from": "human", "value": "Hi"}],
            "chosen": {"from": "gpt", "value": "Hello"},
            "rejected": {"from": "gpt", "value": "Go"},
        },
        HI,
        ("rejected",),
    ),
    "a better answer beside one in the list": (
        {"messages": chat("Hi", "Hello"), "chosen": {"role": "assistant", "content": "Go"}},
        HI,
        ("chosen",),
    ),
    "a better answer as a list": (
        {"prompt": "Hi", "chosen": [{"role": "assistant", "content": "Hello"}], "rejected": "Go"},
        HI,
        ("rejected",),
    ),
    "answers as text": ({"question": "Hi", "answers": "Hello"}, HI, ()),
    "answers as a list": ({"question": "Hi", "answers": ["Hello", "Hello"]}, HI, ()),
    "one text in the answers": ({"question": "Hi", "answers": {"text": "Hello"}}, HI, ()),
    "earlier turns and an input": (
        {"instruction": "Say", "input": "Hi", "output": "Hello", "history": [["a", "b"], ["c", "d"]]},
        [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"), ("user", "Say\n\nHi"), HI[1]],
        (),
    ),
    "the first of two systems": (
        {"messages": [{"role": "system", "content": "A"}, *chat("Hi", "Hello")], "system": "B"},
        [("system", "A"), *HI],
        ("system",),
    ),
    "an empty system": ({"q": "Hi", "a": "Hello", "system": " ", "system_prompt": "S"}, [("system", "S"), *HI], ()),
    "content that is no text is not used": ({"q": "Hi", "a": "Hello", "x": 0, "y": [], "z": {}, "n": None}, HI, ("x",)),
    "transcript": (
        {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello\n\nthere", "rejected": "\n\nHuman: Hi\n\nAssistant: Go"},
        [("user", "Hi"), ("assistant", "Hello\n\nthere")],
        ("rejected",),
    ),
    "prompt and completion as messages": (
        {"prompt": chat("Hi"), "completion": [{"role": "assistant", "content": "Hello"}]},
        HI,
        (),
    ),
    "an object of lists": (
        {"conversations": {"from": ["human", "gpt"], "value": ["Hi", "Hello"]}},
        HI,
        (),
    ),
    "capital letters": ({"Question": "Hi", "Answer ": "Hello", "Category": "greetings"}, HI, ()),
    "support chat": (
        {"messages": [{"role": "Customer", "content": "Hi"}, {"role": "agent", "content": "Hello"}]},
        HI,
        (),
    ),
    "messages as text": ({"messages": json.dumps(chat("Hi", "Hello"))}, HI, ()),
    "conversations as text": ({"conversations": " " + json.dumps(chat("Hi", "Hello")), "n": 1}, HI, ("n",)),
    "claude export": (
        {"uuid": "7", "chat_messages": [{"sender": "human", "text": "Hi"}, {"sender": "assistant", "text": "Hello"}]},
        HI,
        ("uuid",),
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_record_and_what_of_it_is_not_used(name, tmp_path):
    value, expected, unused = SHAPES[name]
    assert turns(value) == expected
    assert shape(value).unused == unused
    path = tmp_path / "f.jsonl"
    path.write_text(json.dumps(value) + "\n" + json.dumps(value))
    assert [record.value for record in items(path, Record)] == [value, value], "found whole in a file"


@pytest.mark.parametrize("name", sorted(SHAPES.keys() - {"an object of lists"}))
def test_a_record_is_told_from_a_list_of_records(name):
    value, *_ = SHAPES[name]
    assert is_record(value)
    assert not is_record([value]) and not is_record({"rows": [value]})


@pytest.mark.parametrize(
    "value", [None, 5, "text", [], [5], {}, {"q": "Hi"}, {"chosen": "Hi"}, {"mapping": {}}, {"question": "Hi", "n": 5}]
)
def test_what_is_no_record(value):
    assert not is_record(value)


def test_a_record_is_what_the_owner_names():
    assert is_record({"frage": "Hi"}, FieldMap(question="frage"))
    assert is_record({"antwort": {"de": "Hi"}}, FieldMap(question="frage", answer="antwort.de"))
    assert is_record({"log": []}, FieldMap(messages="log"))
    assert not is_record({"log": None, "id": 1}, FieldMap(messages="log", id="id"))


PAIRS = (
    "question answer, q a, prompt completion, prompt response, prompt chosen, instruction output, instruction response,"
    "question response, question answers, query response, query answer, question chosen, input output, user assistant"
)


@pytest.mark.parametrize("pair", PAIRS.split(","))
def test_names_of_questions_and_answers(pair):
    question, answer = pair.split()
    assert turns({question: "Hi", answer: "Hello"}) == HI
    assert is_record({question: "Hi", answer: "Hello"})


@pytest.mark.parametrize("role_key", ["role", "from", "sender"])
@pytest.mark.parametrize("content_key", ["content", "value", "text"])
def test_names_of_roles_and_contents(role_key, content_key):
    for name, role in {
        "Human": "user",
        "GPT": "assistant",
        "chatgpt": "assistant",
        "model": "assistant",
        "bot": "assistant",
        " ai ": "assistant",
    }.items():
        other = "assistant" if role == "user" else "user"
        value = [{role_key: other, content_key: "Hi"}, {role_key: name, content_key: "Hello"}]
        assert turns({"messages": value}) == [(other, "Hi"), (role, "Hello")]


REFUSED = {
    "every answer has weight 0": (
        {"messages": chat("Hi", "Hello", weight=0)},
        "every answer has weight 0, so there is nothing to learn",
    ),
    "weight 0 in the middle": (
        {"messages": [*chat("Hi", "No", weight=0), *chat("Hi", "Hello")]},
        "an answer of weight 0 before one to learn, which is not supported (message 2)",
    ),
    "answers of another type": (
        {"question": "Hi", "answers": True},
        "'answers' is neither text nor a list (found true or false)",
    ),
    "messages as broken text": (
        {"messages": "[{'role'"},
        "the messages are text that is no JSON ('messages': not JSON: Expecting property name enclosed in double "
        "quotes, found \"'role'\")",
    ),
    "messages as long text": (
        {"messages": "[" * 200},
        "the messages are text that is no JSON ('messages': not usable: more than 100 lists or objects inside each "
        "other)",
    ),
    "messages as two texts": (
        {"messages": "[] []"},
        "the messages are text that is no JSON ('messages': not JSON: Extra data, found '[]')",
    ),
    "unanswerable": ({"question": "Hi", "answers": {"text": [], "answer_start": []}}, "a question without an answer"),
    "no answers": ({"question": "Hi", "answers": None}, "a question without an answer"),
    "no such choice": (
        {"question": "Hi", "choices": ["a", "b"], "answer": 2},
        "the answer is none of the choices ('answer' is 2)",
    ),
    "a choice before the first": (
        {"question": "Hi", "choices": ["a", "b"], "answer": -1},
        "the answer is none of the choices ('answer' is -1)",
    ),
    "no such label": (
        {"question": "Hi", "choices": ["a", "b"], "answerKey": "C"},
        "the answer is none of the choices ('answerKey' is 'C')",
    ),
    "no choices": (
        {"question": "Hi", "choices": {"text": [], "label": []}, "answer": "A"},
        "a question with no choices, or more than letters (it has 0)",
    ),
    "more choices than letters": (
        {"question": "Hi", "choices": ["x"] * 27, "answer": 0},
        "a question with no choices, or more than letters (it has 27)",
    ),
    "choices that are no texts": (
        {"question": "Hi", "choices": ["a", 5], "answer": 0},
        "expected text (a choice is a number)",
    ),
    "a choice by truth": (
        {"question": "Hi", "choices": ["a", "b"], "answer": True},
        "the answer is none of the choices ('answer' is True)",
    ),
    "a choice by object": (
        {"question": "Hi", "choices": ["a", "b"], "answer": [1]},
        "the answer is none of the choices ('answer' is [1])",
    ),
    "choices without answer": ({"question": "Hi", "choices": ["a", "b"]}, "choices without an answer"),
    "audio": (
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, *chat("Hi", "x")[1:]]},
        "a part that is no text, such as a picture (content of message 1 has type 'input_audio')",
    ),
    "a part that is a number": (
        {"messages": [{"role": "user", "content": ["Hi", 5]}]},
        "a part that is no text, such as a picture (content of message 1 has a number)",
    ),
    "a part of a type that is no text": (
        {"messages": [{"role": "user", "content": [{"type": ["text"], "text": "Hi"}]}]},
        "a part that is no text, such as a picture (content of message 1 has type ['text'])",
    ),
    "tool calls": (
        {
            "messages": [
                *chat("Hi"),
                {"role": "assistant", "tool_calls": [{"id": "1"}]},
                {"role": "tool", "content": ""},
            ]
        },
        "a tool call or its result, which is not supported (message 2, role 'assistant')",
    ),
    "a message without role and content": (
        {"messages": [{}]},
        "a message has no role (message 1; its keys: none)",
    ),
    "a role that is no text": (
        {"messages": [{"role": 5, "content": "Hi"}]},
        "a message has no role (message 1; its keys: 'role', 'content')",
    ),
    "a conversation that is a number": ({"messages": 1.5}, "the messages are not a list ('messages' is a number)"),
    "a preference without messages": (
        {"input": {}, "preferred_output": chat("", "Hello")[1:]},
        "the messages are not a list ('input.messages' is null)",
    ),
    "a preference whose answer is no list": (
        {"input": {"messages": chat("Hi")}, "preferred_output": {}},
        "the messages are not a list ('preferred_output' is an object)",
    ),
    "a pair of worse and better numbers": (
        {"chosen": 5, "rejected": 6},
        "no conversation in it (its keys: 'chosen', 'rejected')",
    ),
    "a better answer that is no transcript": (
        {"chosen": "Hello", "rejected": "Go"},
        "no conversation in it (its keys: 'chosen', 'rejected'. Say which fields are which, in [data]: fields = "
        '{ question = "rejected", answer = "chosen" })',
    ),
    "nothing": ({}, "no conversation in it (its keys: none)"),
    "a past turn of three": (
        {"instruction": "Hi", "output": "Hello", "history": [["a", "b", "c"]]},
        "'history' is not a list of [question, answer] pairs (it holds a list)",
    ),
    "a question that is a number": ({"q": 5, "a": "Hello"}, "expected text ('q' is a number)"),
    "an input that is an object": (
        {"instruction": "Hi", "input": {"a": 1}, "output": "x"},
        "expected text ('input' is an object)",
    ),
    "a system prompt that is a number": ({"q": "Hi", "a": "x", "system": 5}, "expected text ('system' is a number)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_learned_is_refused_with_its_reason(name):
    value, reason = REFUSED[name]
    with pytest.raises(Unusable) as caught:
        shape(value)
    assert str(caught.value) == reason


def test_fields_that_the_owner_names_go_first():
    value = {"meta": {"topic": "tea"}, "frage": "Hi", "antwort": {"de": "Hello"}, "nr": 7, "q": "x", "a": "y"}
    fields = FieldMap(question="frage", answer="antwort.de", category="meta.topic", id="nr")
    found = shape(value, fields)
    assert turns(value, fields) == HI
    assert (found.category, found.id, found.unused) == ("tea", "7", ("a", "q"))


def test_one_named_field_without_the_other_hides_no_known_shape():
    assert turns({"q": "Hi", "a": "Hello", "frage": "x"}, FieldMap(question="frage")) == HI
    assert turns({"q": "Hi", "a": "Hello"}, FieldMap(question="frage", answer="antwort")) == HI
    assert turns({"q": "x", "a": "y", "frage": "Hi"}, FieldMap(question="frage", answer="antwort")) == [
        HI[0],
        NO_ANSWER,
    ]


def test_paths_lead_through_objects_and_lists_to_what_the_owner_names():
    value = {"meta": {"topic": " green\n tea "}, "about": "Mild.", "role": "Be kind.", "x": {"q": "Hi"}, "id": 5}
    value["turns"] = [{"a": "Go"}, {"a": "Hello"}]
    fields = FieldMap(
        question="x.q", answer="none.0|turns.9.a|turns.1.a", category="meta.topic", context="about", system="role"
    )
    found = shape(value, fields)
    assert [(message.role, message.content) for message in found.messages] == [
        ("system", "Be kind."),
        ("user", "Hi\n\nMild."),
        ("assistant", "Hello"),
    ]
    assert (found.id, found.category, found.unused) == ("5", "green tea", ())
    for path in ("x.q.y", "turns.-1.a", "turns.one.a", "meta.none", "none"):
        with pytest.raises(Unusable):
            shape({"x": {"q": "Hi"}, "turns": [{"a": "Hello"}], "meta": {}}, FieldMap(question=path, answer=path))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(" a\n b ", "a b"), (7, "7"), (0, "0"), (True, ""), (1.5, ""), (None, ""), (["a"], "")],
)
def test_ids_and_categories_are_one_line_of_text(value, shown):
    record = shape({"q": "Hi", "a": "Hello", "id": value, "kind": value}, FieldMap(category="kind"))
    assert (record.id, record.category) == (shown, shown or "c")


def test_fields_of_messages_and_who_answers():
    value = {"log": [{"who": "Customer", "says": "Hi"}, {"who": "Tea shop", "says": "Hello"}]}
    fields = FieldMap(messages="log", role="who", content="says", assistant="tea shop")
    assert turns(value, fields) == HI


def node(parent, role, *parts, **more):
    content = {"content_type": more.pop("content_type", "text"), "parts": list(parts)}
    return {"parent": parent, "message": {"author": {"role": role}, "content": content, **more}}


def test_chatgpt_follows_the_branch_that_was_shown_last():
    mapping = {
        "root": {"parent": None, "message": None},
        "s": node("root", "system", ""),
        "u": node("s", "user", "Hi"),
        "old": node("u", "assistant", "Go"),
        "think": node("u", "assistant", content_type="thoughts"),
        "new": node("think", "assistant", "Hel", "lo", recipient="all"),
    }
    value = {"title": "Greeting", "create_time": 1.5, "mapping": mapping, "current_node": "new", "id": "abc"}
    found = shape(value)
    assert [(m.role, m.content) for m in found.messages] == HI
    assert found.id == "abc"
    assert found.unused == ("mapping: branches that were replaced", "mapping: reasoning", "title")


def test_chatgpt_messages_that_the_person_did_not_see_are_named():
    hidden = {"is_visually_hidden_from_conversation": True}
    mapping = {
        "root": {"parent": None},
        "about": node("root", "user", content_type="user_editable_context"),
        "empty": node("about", "system", metadata=hidden),
        "u": node("empty", "user", "Hi", metadata={"is_visually_hidden_from_conversation": False}),
        "recap": node("u", "assistant", content_type="reasoning_recap"),
        "a": node("recap", "assistant", "Hello", metadata=None),
    }
    seen = shape({"mapping": mapping, "current_node": "a", "title": " "})
    assert [(m.role, m.content) for m in seen.messages] == HI
    assert seen.unused == ("mapping: messages that were hidden", "mapping: reasoning")
    del mapping["about"], mapping["recap"]
    mapping |= {"empty": node("root", "system", metadata=hidden), "a": node("u", "assistant", "Hello")}
    value = {"mapping": mapping, "current_node": "a"}
    assert shape(value).unused == (), "nothing was in the hidden one"
    mapping["empty"] = node("root", "system", "Be kind.", metadata=hidden)
    assert shape(value).unused == ("mapping: messages that were hidden",)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"new": node("u", "assistant", "x", recipient="browser")},
            "a tool call or its result, which is not supported (message 3, role 'assistant')",
        ),
        (
            {"new": node("u", "tool", "x")},
            "a tool call or its result, which is not supported (message 3, role 'tool')",
        ),
        (
            {"u": node("s", "user", {"asset_pointer": "x"}, content_type="multimodal_text")},
            "a part that is no text, such as a picture (message 2 has type 'multimodal_text')",
        ),
        ({"u": node("new", "user", "x")}, "a damaged tree of messages (at the node 'new')"),
        ({"u": node("missing", "user", "x")}, "a damaged tree of messages (at the node 'missing')"),
        ({"u": node(5, "user", "x")}, "a damaged tree of messages (at the node 5)"),
        ({"u": node("u", "user", "x")}, "a damaged tree of messages (at the node 'u')"),
    ],
)
def test_chatgpt_trees_that_cannot_be_used(change, reason):
    mapping = {"s": node(None, "system", ""), "u": node("s", "user", "Hi"), "new": node("u", "assistant", "Hello")}
    with pytest.raises(Unusable) as caught:
        shape({"mapping": mapping | change, "current_node": "new"})
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"author": "me"}, "a message is not an object with author and content (message 1)"),
        ({"author": {}, "content": "x"}, "a message is not an object with author and content (message 1)"),
        ({"author": {}, "metadata": [1]}, "a message is not an object with author and content (message 1)"),
        ({"author": {"role": "x"}}, "a message has no role (message 1 has 'x')"),
        (
            {"author": {"role": "user"}, "content": {"content_type": "image"}},
            "a part that is no text, such as a picture (message 1 has type 'image')",
        ),
        (
            {"author": {"role": "user"}, "content": {"content_type": "text", "parts": "x"}},
            "expected text (message 1 is text)",
        ),
    ],
)
def test_messages_of_chatgpt_that_are_none_are_refused(message, reason):
    with pytest.raises(Unusable) as caught:
        shape({"mapping": {"a": {"parent": None, "message": message}}, "current_node": "a"})
    assert str(caught.value) == reason


def test_squad_as_published_keeps_each_paragraphs_context(tmp_path):
    answers = [{"text": "a leaf", "answer_start": 7}]
    paragraph = {"context": "Tea is a leaf.", "qas": [{"id": "1", "question": "What is tea?", "answers": answers}]}
    (tmp_path / "s.json").write_text(
        json.dumps({"version": "1.1", "data": [{"title": "T", "paragraphs": [paragraph]}]})
    )
    (found,) = conversations(tmp_path)
    assert [m.content for m in found.messages] == ["What is tea?\n\nTea is a leaf.", "a leaf"]


@pytest.mark.parametrize(
    ("value", "proposed"),
    [
        ({"nr": 7, "titel": "Wann?", "text": "Um neun Uhr."}, 'fields = { question = "titel", answer = "text" }'),
        ({"antwort": "Um neun.", "frage": "Wann?"}, 'fields = { question = "frage", answer = "antwort" }'),
        (
            {"meta": {"lang": "en"}, "ticket": {"subject": "Open?", "reply": {"body": "At nine."}}},
            'fields = { question = "ticket.subject", answer = "ticket.reply.body" }',
        ),
        (
            {"log": [{"who": "Ann", "says": "Hi"}, {"who": "Shop", "says": "Hello"}], "n": "x"},
            'fields = { messages = "log", role = "who", content = "says", assistant = "Shop" }',
        ),
    ],
)
def test_an_unknown_record_proposes_the_line_that_makes_it_readable(value, proposed):
    with pytest.raises(Unusable, match="no conversation in it") as caught:
        shape(value)
    assert caught.value.detail.endswith(f"in [data]: {proposed}")
    settings = tomllib.loads(proposed)["fields"]
    assert [role for role, _ in turns(value, FieldMap(**settings))] == ["user", "assistant"]


@pytest.mark.parametrize("name", ["\x02frage", "\ud800frage", "f" * 20_001])
def test_names_that_a_configuration_cannot_hold_are_not_proposed(name):
    with pytest.raises(Unusable) as caught:
        shaped(Record("a.json", "record 1", {name: "Is it open?", "antwort": "Yes, until nine."}, ""))
    assert caught.value.reason == "no conversation in it" and "fields =" not in caught.value.detail


def test_a_field_may_have_one_of_two_names_and_the_proposal_keeps_the_names_that_others_need():
    known = FieldMap(question="titel", answer="text")
    with pytest.raises(Unusable) as caught:
        shape({"fraga": "När öppnar ni?", "svar_reply": "Klockan nio."}, known)
    settings = tomllib.loads(caught.value.detail.partition("[data]: ")[2])["fields"]
    assert settings == {"question": "titel|fraga", "answer": "text|svar_reply"}
    both = FieldMap(**settings)
    assert turns({"fraga": "När?", "svar_reply": "Nio."}, both) == [("user", "När?"), ("assistant", "Nio.")]
    assert turns({"titel": "Wann?", "text": "Um neun."}, both) == [("user", "Wann?"), ("assistant", "Um neun.")]
    assert turns({"titel|fraga": "a", "text": "b"}, both)[0] == ("user", "a"), "a name with a bar of its own"
    log = [{"who": "Ann", "says": "Hi"}, {"who": "Shop", "says": "Hello there."}]
    assert proposal([{"log": log}], FieldMap(messages="chat", role="from", content="says", assistant="Shop")) == ""
    assert "messages = " in proposal([{"log": log}], known)
