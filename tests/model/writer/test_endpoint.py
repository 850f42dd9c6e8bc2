"""Requests have the right format, are retried where that helps, and neither send nor show more than they should."""

import time

import pytest

from endpoint import KEY, completion, endpoint, last_message
from tinsmith.core.config_file import validate_config
from tinsmith.core.errors import ConfigError, EndpointError
from tinsmith.model.conversations import Message
from tinsmith.model.writer import endpoint as module
from tinsmith.model.writer.endpoint import KEY_VARIABLE, Endpoint


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "_PAUSES_SECONDS", (0.0, 0.0, 0.0))
    monkeypatch.setenv(KEY_VARIABLE, KEY)


def asked(address, *texts):
    return Endpoint(address, "writer-1").replies([[Message("user", text)] for text in texts], 40, "test")


def failure(address):
    with pytest.raises(EndpointError) as raised:
        asked(address, "a")
    assert KEY not in f"{raised.value.message} {raised.value.hint}"
    assert address in raised.value.message and raised.value.hint
    return f"{raised.value.message} | {raised.value.hint}"


def always(status, content, **headers):
    return lambda body, number: (status, content, headers)


def test_replies_come_in_the_order_of_the_prompts_with_key_and_model():
    def reply(body, number):
        time.sleep(0.05 if last_message(body) == "q0" else 0)
        return 200, completion(f"re: {last_message(body)}"), {}

    with endpoint(reply) as server:
        texts = [f"q{number}" for number in range(9)]
        assert asked(server.address + "/", *texts) == [f"re: {text}" for text in texts]
    first = server.requests[0]
    assert first["path"] == "/v1/chat/completions" and first["model"] == "writer-1"
    assert "temperature" not in first, "some models take no other than their own"
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}


def test_without_a_key_none_is_sent(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE)
    with endpoint(always(200, completion("ok"))) as server:
        assert asked(server.address, "a") == ["ok"]
    assert "Authorization" not in server.headers[0]


def test_a_key_as_short_as_local_servers_take_may_occur_in_replies(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "none")
    with endpoint(always(200, completion("there is none"))) as server:
        assert asked(server.address, "a") == ["there is none"]


def test_a_model_that_names_its_limit_otherwise_is_asked_its_way():
    def reply(body, number):
        if "max_tokens" in body:
            return 400, b"Unsupported parameter: use 'max_completion_tokens' instead.", {}
        return 200, completion("ok"), {}

    with endpoint(reply) as server:
        assert asked(server.address, "a", "b") == ["ok", "ok"]
    assert server.requests[-1]["max_completion_tokens"] == 1040


def test_a_prompt_that_a_filter_declines_costs_no_other_reply():
    def reply(body, number):
        return (400, b"filtered", {}) if last_message(body) == "q7" else (200, completion(last_message(body)), {})

    with endpoint(reply) as server:
        texts = [f"q{number}" for number in range(9)]
        assert asked(server.address, *texts) == [text if text != "q7" else "" for text in texts]
    with endpoint(always(400, b"filtered")) as server:
        assert "HTTP 400 Bad Request: filtered" in failure(server.address)


def test_a_line_that_the_limit_cut_is_no_reply():
    body = b'{"choices": [{"finish_reason": "length", "message": {"content": "How much?\\nAnd how lo"}}]}'
    with endpoint(always(200, body)) as server:
        assert asked(server.address, "a") == ["How much?"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
def test_a_retryable_status_is_retried(status):
    def reply(body, number):
        return (status, b"busy", {}) if number < 3 else (200, completion("ok"), {})

    with endpoint(reply) as server:
        assert asked(server.address, "a") == ["ok"]
    assert len(server.requests) == 4


def test_the_endpoint_may_ask_for_a_longer_pause_within_reason(monkeypatch):
    pauses = []
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    replies = iter([(429, b"", {"Retry-After": pause}) for pause in ("7", "9999", "soon")])
    with endpoint(lambda body, number: next(replies, (200, completion("ok"), {}))) as server:
        assert asked(server.address, "a") == ["ok"]
    assert pauses == [7, module._MAX_PAUSE_SECONDS, 0]


def test_lasting_errors_name_the_address_and_say_what_to_do():
    with endpoint(always(500, b"broken")) as server:
        assert "HTTP 500" in (text := failure(server.address)) and "4 times" in text
        assert len(server.requests) == 4
    assert "refused" in failure(server.address).lower(), "nothing listens there any more"


@pytest.mark.parametrize(
    ("status", "content", "problem"),
    [
        (401, f"wrong key {KEY}".encode(), KEY_VARIABLE),
        (404, b'{"error": "no model writer-1"}', "no model writer-1"),
        (400, f"bad request with {KEY}".encode(), "bad request with ***"),
        (400, b"x" * 190 + KEY.encode(), "xxx***"),
        (200, b"<html>Welcome</html>", "<html>Welcome</html>"),
        (200, b"", "(nothing)"),
        (200, b"\xff\xfe\x00", "not a chat completion"),
        (200, b'{"choices": []}', "not a chat completion"),
        (200, b'{"choices": [{"message": {"content": 7}}]}', "not a chat completion"),
        (200, b"[" * 100_000, "not a chat completion"),
        (200, completion("x" * 1_100_000), "more than 1 MB"),
        (404, b"y" * 2_000_000, "more than 1 MB"),
        (200, completion(f"Is {KEY} your key?"), "contains your key"),
    ],
)
def test_unusable_replies_are_not_retried(status, content, problem):
    with endpoint(always(status, content)) as server:
        assert problem in failure(server.address)
        assert len(server.requests) == 1


def test_a_redirect_is_not_followed():
    with endpoint(always(200, completion("stolen"))) as other:
        with endpoint(always(307, b"", Location=f"{other.address}/chat/completions")) as server:
            assert "redirects elsewhere" in failure(server.address)
        assert other.requests == []


def test_a_silent_endpoint_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT_SECONDS", 0.05)

    def reply(body, number):
        time.sleep(0.4)
        return 200, completion("late"), {}

    with endpoint(reply) as server:
        assert "timed out" in failure(server.address)
        assert len(server.requests) == 4


def test_a_reply_that_trickles_in_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "_REPLY_SECONDS", -1.0)
    with endpoint(always(200, completion("ok"))) as server:
        assert "took more than" in failure(server.address)


def test_a_reply_that_breaks_off_is_retried():
    def reply(body, number):
        whole = completion("ok")
        return (200, whole[:9], {"Content-Length": str(len(whole))}) if number == 0 else (200, whole, {})

    with endpoint(reply) as server:
        assert asked(server.address, "a") == ["ok"]


def test_no_text_is_an_empty_reply():
    with endpoint(always(200, completion(None))) as server:
        assert asked(server.address, "a") == [""]


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "nyckel\u00e5", "bell\x07"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(monkeypatch, key):
    monkeypatch.setenv(KEY_VARIABLE, key)
    with pytest.raises(EndpointError, match=KEY_VARIABLE) as raised:
        Endpoint("https://tea.example/v1", "m")
    assert key not in raised.value.message


def test_a_proxy_gets_nothing_that_is_meant_for_this_machine(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    with endpoint(always(200, completion("ok"))) as server:
        assert asked(server.address, "a") == ["ok"]


@pytest.mark.parametrize(
    ("writer", "problem"),
    [
        ("rule", "must be 'rules', 'base', or the http or https address"),
        ("ftp://tea.example/v1", "must be 'rules'"),
        ("https://", "must be 'rules'"),
        ("https://tea.example:99999/v1", "must be 'rules'"),
        ("http://tea.example/v1", "must start with https"),
        ("http://127.0.0.1.tea.example/v1", "must start with https"),
        ("http://192.168.0.7:8000/v1", "must start with https"),
        ("https://me:secret@tea.example/v1", "without a user"),
        ("https://tea.example/v1?key=1", "without a user"),
    ],
)
def test_only_safe_addresses_are_accepted(writer, problem):
    with pytest.raises(ConfigError, match=r"answers\.writer: ") as raised:
        validate_config({"answers": {"writer": writer, "writer_model": "m"}}, "x")
    assert problem in raised.value.message


@pytest.mark.parametrize(
    "writer", ["http://127.0.0.1:8000/v1", "http://localhost/v1", "http://[::1]:1/v1", "https://t.example/v1"]
)
def test_an_endpoint_needs_the_name_of_a_model(writer):
    assert validate_config({"answers": {"writer": writer, "writer_model": "m"}}, "x").answers.writer == writer
    with pytest.raises(ConfigError, match=r"answers\.writer_model: must name the endpoint's model"):
        validate_config({"answers": {"writer": writer}}, "x")
