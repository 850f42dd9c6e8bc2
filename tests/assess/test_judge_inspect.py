"""Inspect asks a stand-in for an endpoint on this machine: good, lazy and broken ones, and nothing else.

Needs the extra `judge`: pip install 'tinsmith[judge]'.
"""

import json
import time

import pytest

import judges

pytest.importorskip("inspect_ai", reason="needs the extra `judge`: pip install 'tinsmith[judge]'")

from endpoint import KEY, endpoint, last_message
from tinsmith.assess import judge_inspect as module
from tinsmith.assess.items import read_items
from tinsmith.assess.judge_calls import planned_calls
from tinsmith.assess.judge_inspect import KEY_VARIABLE, ask_judge
from tinsmith.core.errors import EndpointError, UserError
from tinsmith.model.replies.asked import GROUPS


@pytest.fixture
def calls(tmp_path):
    judges.write_answers(tmp_path, judges.answers(4))
    return planned_calls(read_items(tmp_path), GROUPS, 4, seed=3)[:12]


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_MAX_RETRIES", 1)
    monkeypatch.setattr(module, "_ATTEMPT_SECONDS", 2)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.setenv("INSPECT_EVAL_MODEL", "mockllm/model")  # must not grade instead
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)


def completion(text, model="big-1-2026"):
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 400, "completion_tokens": 30, "total_tokens": 430}
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": usage}
    return json.dumps(body).encode()


def replies_of(judge):
    return lambda body, number: (200, completion(judge(last_message(body))), {"Content-Type": "application/json"})


def asked(address, calls):
    replies = []
    ask_judge(address, "big-1", calls, replies.append)
    return {reply.key: reply for reply in replies}


def failure(reply, calls):
    kept = []
    with endpoint(reply) as server, pytest.raises(EndpointError) as raised:
        ask_judge(server.address, "big-1", calls, kept.append)
    text = f"{raised.value.message} | {raised.value.hint}"
    assert KEY not in text and server.address in text
    return text, kept, server


def test_every_call_is_asked_at_temperature_0_with_key_and_model(calls, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    with endpoint(replies_of(judges.good)) as server:
        replies = asked(server.address, calls)
    assert {key: reply.text for key, reply in replies.items()} == {c.key: judges.good(c.prompt) for c in calls}
    assert {last_message(body) for body in server.requests} == {call.prompt for call in calls}
    assert {(body["path"], body["model"], body["temperature"]) for body in server.requests} == {
        ("/v1/chat/completions", "big-1", 0)
    }
    assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    one = next(iter(replies.values()))
    assert (one.answered_as, one.input_tokens, one.output_tokens) == ("big-1-2026", 400, 30)
    assert sorted(tmp_path.rglob("*")) == before, "no log with the owner's texts is left"


def test_a_reply_without_a_grade_is_asked_for_once_more(calls):
    def reply(body, number):
        is_first = len(body["messages"]) == 2
        text = "It is fine." if is_first else "Grade: yes"
        return 200, completion(text), {"Content-Type": "application/json"}

    with endpoint(reply) as server:
        replies = asked(server.address, calls[:2])
    assert [len(body["messages"]) for body in server.requests].count(4) == 2 and len(server.requests) == 4
    assert {reply.text for reply in replies.values()} == {"Grade: yes"}
    with endpoint(replies_of(judges.mute)) as server:
        replies = asked(server.address, calls[:2])
    assert {reply.text for reply in replies.values()} == {judges.mute("")} and len(server.requests) == 4


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_failure_that_passes_is_retried(calls, status):
    def reply(body, number):
        return (status, b"later", {"Retry-After": "0"}) if number == 0 else replies_of(judges.good)(body, number)

    with endpoint(reply) as server:
        assert len(asked(server.address, calls[:3])) == 3
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("status", "content", "says"),
    [
        (500, b"oops", "HTTP 500"),
        (429, b"slow down", "It asks for a pause"),
        (401, b"no", f"Set the environment variable {KEY_VARIABLE}"),
        (404, b"not here", "usually ends in /v1"),
        (400, b'{"error": {"message": "no such model", "type": "invalid"}}', "no such model"),
        (200, b"<html>", "Run the same command to continue"),
        (200, b'{"choices": []}', "Run the same command to continue"),
    ],
)
def test_a_broken_endpoint_ends_in_a_message(calls, status, content, says):
    text, kept, _ = failure(lambda body, number: (status, content, {}), calls[:2])
    assert says in text and not kept


def test_a_slow_endpoint_is_given_up(calls):
    def reply(body, number):
        time.sleep(4)
        return 200, completion("Grade: yes"), {}

    text, kept, _ = failure(reply, calls[:1])
    assert "Timeout" in text and not kept


def test_a_redirect_is_not_followed(calls):
    with endpoint(replies_of(judges.good)) as elsewhere:
        target = f"{elsewhere.address}/chat/completions"
        text, _, _ = failure(lambda body, number: (307, b"", {"Location": target}), calls[:1])
    assert "307" in text and not elsewhere.requests


def test_what_arrived_before_a_failure_is_kept(calls):
    def reply(body, number):
        return replies_of(judges.good)(body, number) if number < 5 else (401, b"used up", {})

    _, kept, _ = failure(reply, calls)
    assert 1 <= len(kept) <= 5


def test_who_refuses_a_reply_stops_the_calls(calls):
    def refuse(reply):
        raise UserError("not this one", "Name another.")

    with endpoint(replies_of(judges.good)) as server, pytest.raises(UserError, match="not this one"):
        ask_judge(server.address, "big-1", calls, refuse)
    assert len(server.requests) < len(calls)


def test_without_a_key_the_servers_own_is_sent(calls, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE)
    with endpoint(replies_of(judges.good)) as server:
        asked(server.address, calls[:1])
    assert server.headers[0]["authorization"] == "Bearer none"
