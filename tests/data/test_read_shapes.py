"""Records of every shape that people have, each told apart, with every field that is not used named."""

import json
import tomllib

import pytest

from reading import conversations, items
from tinsmith.core.field_map import FieldMap
from tinsmith.data.read.propose import proposal
from tinsmith.data.read.record import Record, Unusable
from tinsmith.data.read.shapes import shaped


def shape(value, fields=None):
    return shaped(Record("f.jsonl", "line 1", value, "c"), fields)


def turns(value, fields=None):
    return [(message.role, message.content) for message in shape(value, fields).messages]


def chat(*texts, **more):
    roles = ("user", "assistant") * len(texts)
    return [{"role": role, "content": text, **more} for role, text in zip(roles, texts, strict=False)]


HI = [("user", "Hi"), ("assistant", "Hello")]
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
    "preference pair": ({"prompt": "Hi", "chosen": "Hello", "rejected": "Go"}, HI, ("rejected",)),
    "preference pair of messages": (
        {"prompt": "Hi", "chosen": chat("Hi", "Hello"), "rejected": chat("Hi", "Go")},
        HI,
        ("rejected",),
    ),
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


REFUSED = {
    "every answer has weight 0": ({"messages": chat("Hi", "Hello", weight=0)}, "every answer has weight 0"),
    "weight 0 in the middle": (
        {"messages": [*chat("Hi", "No", weight=0), *chat("Hi", "Hello")]},
        "an answer of weight 0 before one to learn",
    ),
    "messages as broken text": ({"messages": "[{'role'"}, r"the messages are text that is no JSON \('messages': "),
    "messages as long text": ({"messages": "[" * 200}, "the messages are text that is no JSON"),
    "answers of another type": ({"question": "Hi", "answers": True}, "'answers' is neither text nor a list"),
    "unanswerable": ({"question": "Hi", "answers": {"text": [], "answer_start": []}}, "a question without an answer"),
    "no such choice": ({"question": "Hi", "choices": ["a", "b"], "answer": 2}, "the answer is none of the choices"),
    "no choices": (
        {"question": "Hi", "choices": {"text": [], "label": []}, "answer": "A"},
        "a question with no choices",
    ),
    "more choices than letters": ({"question": "Hi", "choices": ["x"] * 27, "answer": 0}, "or more than letters"),
    "a choice by truth": ({"question": "Hi", "choices": ["a", "b"], "answer": True}, "the answer is none of the choi"),
    "a choice by object": ({"question": "Hi", "choices": ["a", "b"], "answer": [1]}, "the answer is none of the choi"),
    "choices without answer": ({"question": "Hi", "choices": ["a", "b"]}, "choices without an answer"),
    "audio": (
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, *chat("Hi", "x")[1:]]},
        "a part that is no text",
    ),
    "tool calls": (
        {
            "messages": [
                *chat("Hi"),
                {"role": "assistant", "tool_calls": [{"id": "1"}]},
                {"role": "tool", "content": ""},
            ]
        },
        "a tool call or its result",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_learned_is_refused_with_its_reason(name):
    value, reason = REFUSED[name]
    with pytest.raises(Unusable, match=reason):
        shape(value)


def test_fields_that_the_owner_names_go_first():
    value = {"meta": {"topic": "tea"}, "frage": "Hi", "antwort": {"de": "Hello"}, "nr": 7, "q": "x", "a": "y"}
    fields = FieldMap(question="frage", answer="antwort.de", category="meta.topic", id="nr")
    found = shape(value, fields)
    assert turns(value, fields) == HI
    assert (found.category, found.id, found.unused) == ("tea", "7", ("a", "q"))


def test_one_named_field_without_the_other_hides_no_known_shape():
    assert turns({"q": "Hi", "a": "Hello", "frage": "x"}, FieldMap(question="frage")) == HI


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


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"new": node("u", "assistant", "x", recipient="browser")}, "a tool call or its result"),
        ({"new": node("u", "tool", "x")}, "a tool call or its result"),
        ({"u": node("s", "user", {"asset_pointer": "x"}, content_type="multimodal_text")}, "a part that is no text"),
        ({"u": node("new", "user", "x")}, "a damaged tree"),
        ({"u": node("missing", "user", "x")}, "a damaged tree"),
    ],
)
def test_chatgpt_trees_that_cannot_be_used(change, reason):
    mapping = {"s": node(None, "system", ""), "u": node("s", "user", "Hi"), "new": node("u", "assistant", "Hello")}
    with pytest.raises(Unusable, match=reason):
        shape({"mapping": mapping | change, "current_node": "new"})


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"author": "me"}, "a message is not an object with author and content"),
        (
            {"author": {"role": "tool"}, "content": {"content_type": "text", "parts": ["x"]}},
            "a tool call or its result",
        ),
        ({"author": {"role": "user"}, "content": {"content_type": "image"}}, "a part that is no text"),
        ({"author": {"role": "user"}, "content": {"content_type": "text", "parts": "x"}}, "expected text"),
        ({"author": {"role": "x"}, "content": {"content_type": "text", "parts": ["x"]}}, "a message has no role"),
    ],
)
def test_messages_of_chatgpt_that_are_none_are_refused(message, reason):
    with pytest.raises(Unusable, match=reason):
        shape({"mapping": {"a": {"parent": None, "message": message}}, "current_node": "a"})


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
