"""Find the conversation in a record of any known shape. Records of one file may have different shapes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tinsmith.core.field_map import FieldMap
from tinsmith.data.read.chatgpt import chatgpt_messages, is_chatgpt
from tinsmith.data.read.choices import choice_pair, choices_key
from tinsmith.data.read.messages import has_content, is_message, kind, messages_of, text_of
from tinsmith.data.read.propose import proposal
from tinsmith.data.read.record import Record, Unusable
from tinsmith.data.read.strict_json import NotStrictJson, decode
from tinsmith.model.conversations import Message

QUESTION_ANSWER_KEYS = (
    ("question", "answer"),
    ("q", "a"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("prompt", "chosen"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("question", "response"),
    ("question", "answers"),
    ("query", "response"),
    ("query", "answer"),
    ("question", "chosen"),
    ("input", "output"),
    ("user", "assistant"),
)
CONTEXT_KEYS = ("context", "passage")
SYSTEM_KEYS = ("system", "system_prompt")
_MESSAGES_KEYS = ("messages", "conversations", "conversation", "chat_messages")
_NO_FIELDS = FieldMap()


@dataclass(frozen=True, slots=True)
class Shaped:
    """The conversation in a record, as written apart from the names of its roles."""

    messages: tuple[Message, ...]
    id: str
    """The record's own; empty if it has none."""
    category: str
    unused: tuple[str, ...] = ()
    """Fields with content that are not used."""


class _Fields:
    """The fields of one record, and which of them have been used. Names are compared without case and spaces."""

    def __init__(self, value: dict) -> None:
        self._value = value
        self._names = {plain_name(key).lower(): key for key in reversed(value)} | {key: key for key in value}
        self.used: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def take(self, name: str) -> Any:
        """The value of a field, from now on used; None if there is none."""
        if name not in self._names:
            return None
        self.used.add(self._names[name])
        return self._value[self._names[name]]

    def look(self, name: str) -> Any:
        return self._value.get(self._names.get(name))

    def take_path(self, path: str) -> Any:
        """The value at a dotted path, such as `meta.topic` or `answers.0.text`; None if there is none.

        Of several paths with `|` between them, the first that leads to a value counts.
        """
        if not path:
            return None
        if path in self:
            return self.take(path)
        if "|" in path:
            values = (self.take_path(one.strip()) for one in path.split("|"))
            return next((value for value in values if value is not None), None)
        first, _, rest = path.partition(".")
        value = value_at(self.look(first), rest) if rest else None
        if value is not None:
            self.used.add(self._names[first])
        return value

    def unused(self) -> Iterator[str]:
        return (key for key, value in self._value.items() if key not in self.used and has_content(value))


def is_record(value: Any, fields: FieldMap | None = None) -> bool:
    """Whether `value` is one conversation rather than a collection of them."""
    if isinstance(value, list):
        return bool(value) and is_message(value[0])
    if not isinstance(value, dict):
        return False
    fields = fields or _NO_FIELDS
    paths = (fields.messages, fields.question, fields.answer)
    if any(path and _Fields(value).take_path(path) is not None for path in paths):
        return True
    record = _Fields(value)
    if "messages" in record or is_chatgpt(value) or _question_answer(record) or choices_key(record.look):
        return True
    if ("chosen" in record and "rejected" in record) or "preferred_output" in record:
        return True
    return any(_is_turns(record.look(key)) or _is_list_as_text(record.look(key)) for key in _MESSAGES_KEYS)


def shaped(record: Record, fields: FieldMap | None = None) -> Shaped:
    """The conversation in a record, with role aliases resolved and otherwise as written.

    Args:
        record: As read.
        fields: The owner's names of fields (`data.fields`), which go before the known ones.

    Raises:
        Unusable: no known shape, content that is not text, or tool calls.
    """
    fields = fields or _NO_FIELDS
    value = record.value
    if isinstance(value, Unusable):
        raise value
    unused: set[str] = set()
    if isinstance(value, list):
        return Shaped(tuple(messages_of(value, fields, unused)), "", record.category, tuple(sorted(unused)))
    if not isinstance(value, dict):
        raise Unusable("not an object or a list of messages", f"found {kind(value)}")
    reader = _Fields(value)
    messages = _messages(reader, value, fields, unused)
    id = plain_name(reader.take_path(fields.id)) or plain_name(reader.take("id"))
    category = plain_name(reader.take_path(fields.category)) or record.category
    reader.take("category")
    unused.update(reader.unused())
    return Shaped(tuple(messages), id, category, tuple(sorted(unused)))


def plain_name(value: Any) -> str:
    """`value` as one line of text without surrounding space; empty if it is neither text nor a whole number."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return " ".join(str(value).split())


def value_at(value: Any, path: str) -> Any:
    """The value at a dotted path below `value`; a number is an index of a list. None if there is none."""
    for part in path.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _messages(record: _Fields, value: dict, fields: FieldMap, unused: set[str]) -> list[Message]:
    shapes: tuple[Callable[[], list[Message] | None], ...] = (
        lambda: _mapped(record, fields, unused),
        lambda: chatgpt_messages(value, record.used, unused) if is_chatgpt(value) else None,
        lambda: _turns(record, fields, unused),
        lambda: _preference(record, fields, unused),
        lambda: _choice(record),
        lambda: _pair(record, fields, unused),
    )
    messages = next((messages for shape in shapes if (messages := shape()) is not None), None)
    if messages is None:
        keys = f"its keys: {', '.join(map(repr, value)) or 'none'}"
        raise Unusable("no conversation in it", ". ".join(filter(None, (keys, proposal([value], fields)))))
    return _with_system(record, fields, messages)


def _with_system(record: _Fields, fields: FieldMap, messages: list[Message]) -> list[Message]:
    if any(message.role == "system" for message in messages):
        return messages
    for name in (fields.system, *SYSTEM_KEYS):
        prompt = record.take_path(name)
        if has_content(prompt):
            return [Message("system", text_of(prompt, repr(name))), *messages]
    return messages


def _mapped(record: _Fields, fields: FieldMap, unused: set[str]) -> list[Message] | None:
    """The conversation in the fields that the owner names."""
    turns = record.take_path(fields.messages)
    if turns is not None:
        return messages_of(_list(turns, fields.messages), fields, unused, fields.messages)
    question, answer = record.take_path(fields.question), record.take_path(fields.answer)
    if not (fields.question and fields.answer) or (question is None and answer is None):
        return None
    text = _with_context(record, text_of(question, repr(fields.question)), fields)
    return [Message("user", text), Message("assistant", text_of(answer, repr(fields.answer)))]


def _is_turns(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and is_message(value[0])


def _is_list_as_text(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip().startswith("[")


def _turns(record: _Fields, fields: FieldMap, unused: set[str]) -> list[Message] | None:
    """A list of messages; where it ends with the user, the preferred answer follows."""
    key = next((key for key in _MESSAGES_KEYS if isinstance(record.look(key), list | dict)), None)
    key = key or next((key for key in _MESSAGES_KEYS if _is_list_as_text(record.look(key))), None)
    if key is None and "messages" in record:
        key = "messages"
    if key is None:
        return None
    messages = messages_of(_list(record.take(key), key), fields, unused, key)
    chosen = record.look("chosen")
    if messages and messages[-1].role != "assistant" and is_message(chosen):
        messages += messages_of([record.take("chosen")], fields, unused, "chosen")
    return messages


def _list(value: Any, name: str) -> list[Any]:
    if isinstance(value, dict) and value and all(isinstance(column, list) for column in value.values()):
        # Hugging Face's older files store a list of objects as an object of lists.
        return [dict(zip(value, row, strict=False)) for row in zip(*value.values(), strict=False)]
    if _is_list_as_text(value):
        try:
            value = decode(value, 1).value  # a list of messages in a cell of a table
        except NotStrictJson as error:
            raise Unusable("the messages are text that is no JSON", f"{name!r}: {error.faults[0].text}") from error
    if not isinstance(value, list):
        raise Unusable("the messages are not a list", f"{name!r} is {kind(value)}")
    return value


def _preference(record: _Fields, fields: FieldMap, unused: set[str]) -> list[Message] | None:
    """A pair of a better and a worse answer: the better one is learned."""
    asked = record.look("input")
    if "preferred_output" in record and isinstance(asked, dict):
        turns = _list(value_at(record.take("input"), "messages"), "input.messages")
        unused.update(f"input.{key}" for key, inner in asked.items() if key != "messages" and has_content(inner))
        answer = _list(record.take("preferred_output"), "preferred_output")
        return messages_of([*turns, *answer], fields, unused)
    chosen = record.look("chosen")
    if "rejected" not in record or any(key in record for key, answer in QUESTION_ANSWER_KEYS if answer == "chosen"):
        return None
    if _is_turns(chosen):
        return messages_of(record.take("chosen"), fields, unused, "chosen")
    if isinstance(chosen, str) and chosen.lstrip().startswith("Human:"):
        return _transcript(record.take("chosen"))
    return None


def _transcript(text: str) -> list[Message]:
    """The messages of a text in which paragraphs begin with `Human:` or `Assistant:`."""
    messages: list[Message] = []
    for paragraph in ("\n\n" + text.lstrip()).split("\n\n")[1:]:
        for label, role in (("Human:", "user"), ("Assistant:", "assistant")):
            if paragraph.startswith(label):
                messages.append(Message(role, paragraph.removeprefix(label).strip()))
                break
        else:
            messages[-1] = Message(messages[-1].role, f"{messages[-1].content}\n\n{paragraph}")
    return messages


def _choice(record: _Fields) -> list[Message] | None:
    key = choices_key(record.look)
    if key is None:
        return None
    question, answer = choice_pair(key, record.look, record.take)
    return [Message("user", _with_context(record, question, _NO_FIELDS)), Message("assistant", answer)]


def _question_answer(record: _Fields) -> tuple[str, str] | None:
    """The two keys that hold question and answer, or None."""
    return next((pair for pair in QUESTION_ANSWER_KEYS if pair[0] in record and pair[1] in record), None)


def _pair(record: _Fields, fields: FieldMap, unused: set[str]) -> list[Message] | None:
    keys = _question_answer(record)
    if keys is None:
        return None
    question, answer = record.take(keys[0]), record.take(keys[1])
    if keys[1] == "chosen" and _is_turns(answer) and answer[0].get("role") != "assistant":
        return messages_of(answer, fields, unused, "chosen")  # the question is in it
    messages = []
    # LLaMA-Factory's Alpaca files store earlier turns as [question, answer] pairs.
    history = record.take("history")
    for past in _list(history, "history") if has_content(history) else ():
        if not (isinstance(past, list) and len(past) == 2):
            raise Unusable("'history' is not a list of [question, answer] pairs", f"it holds {kind(past)}")
        messages += [
            Message("user", text_of(past[0], "'history'")),
            Message("assistant", text_of(past[1], "'history'")),
        ]
    if _is_turns(question):
        messages += messages_of(question, fields, unused, keys[0])
    else:
        text = text_of(question, repr(keys[0]))
        if keys[0] == "instruction" and has_content(record.look("input")):
            text += "\n\n" + text_of(record.take("input"), "'input'")
        record.take("input")
        messages.append(Message("user", _with_context(record, text, fields)))
    if _is_turns(answer):
        return messages + messages_of(answer, fields, unused, keys[1])
    if keys[1] == "answers":
        answer = _first_answer(answer, unused)
    return [*messages, Message("assistant", text_of(answer, repr(keys[1])))]


def _with_context(record: _Fields, question: str, fields: FieldMap) -> str:
    """The question, and below it the text that it is about."""
    for name in (fields.context, *CONTEXT_KEYS):
        context = record.look(name) if name in CONTEXT_KEYS else record.take_path(name)
        if isinstance(context, str) and context.strip():
            record.take(name)
            return f"{question}\n\n{context}"
    return question


def _first_answer(answers: Any, unused: set[str]) -> Any:
    """The first of a question's answers in SQuAD's forms. Annotators often gave several."""
    if isinstance(answers, dict):
        answers = answers.get("text")
    if isinstance(answers, str):
        return answers
    if answers is not None and not isinstance(answers, list):
        raise Unusable("'answers' is neither text nor a list", f"found {kind(answers)}")
    texts = [item.get("text") if isinstance(item, dict) else item for item in answers or ()]
    if not texts:
        raise Unusable("a question without an answer")
    if any(text != texts[0] for text in texts):
        unused.add("answers: all but the first")
    return texts[0]
