"""Chat completions from an OpenAI-compatible endpoint: its address and key, time limits, retries and errors."""

import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, cast

from tqdm import tqdm

from tinsmith.core.errors import EndpointError
from tinsmith.core.writers import is_loopback
from tinsmith.model.conversations import Message

KEY_VARIABLE = "TINSMITH_WRITER_KEY"
"""Environment variable with the endpoint's key. It is sent to the endpoint and appears nowhere else."""

_RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
_PAUSES_SECONDS = (1.0, 4.0, 15.0)
"""Pauses between attempts, unless the endpoint asks for a longer one."""
_MAX_PAUSE_SECONDS = 30.0
_TIMEOUT_SECONDS = 60.0
"""Time limit for a connection and for each read."""
_REPLY_SECONDS = 120.0
"""Time limit for a whole reply that arrives piece by piece."""
_PIECE_BYTES = 1 << 16
_MAX_REPLY_BYTES = 1 << 20
_THOUGHT_TOKENS = 1000
"""Room for models that think before they reply."""
_LIMIT_NAMES = ("max_tokens", "max_completion_tokens")
"""Field for the longest reply: the usual one, and that of models that accept no other."""
_SECRET_CHARACTERS = 16
"""A shorter key is no secret. Local servers accept any, such as `none`, which also occurs in replies."""
_MAX_CONCURRENT_REQUESTS = 4
_SHOWN_CHARACTERS = 200


class _Retryable(Exception):
    """A failure worth retrying, and its reason. `pause_seconds` is how long the endpoint asks to wait."""

    def __init__(self, reason: str, pause_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_seconds = pause_seconds


class _Declined(Exception):
    """The endpoint refuses a prompt. The text is the status, and `detail` the endpoint's explanation."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.detail = detail


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects, which would take passages to an address that the owner did not configure."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        return None


class Endpoint:
    """A writer that asks an endpoint. Requests go to the configured address and nowhere else."""

    origin = "endpoint"

    def __init__(self, address: str, model: str) -> None:
        """Read the key from the environment. Sends nothing.

        Args:
            address: Such as `https://api.example.com/v1`; `/chat/completions` is added.
            model: Name of the model, as the endpoint knows it.

        Raises:
            EndpointError: the key cannot be sent.
        """
        self.address = address.rstrip("/")
        self.model = model
        self._key = os.environ.get(KEY_VARIABLE, "").strip()
        if not (self._key.isascii() and self._key.isprintable()) or " " in self._key:
            raise EndpointError(
                f"{KEY_VARIABLE}: not a key (it has spaces, control characters or letters outside ASCII)",
                "Copy the key again.",
            )
        self._opener = _opener(self.address)
        self._limit_name = _LIMIT_NAMES[0]
        self._has_replied = False

    def replies(self, prompts: Sequence[Sequence[Message]], max_tokens: int, label: str) -> list[str]:
        """A reply to each prompt; empty where there is none. See `Writer.replies`.

        After a first reply, a prompt that the endpoint declines, as a content filter does, gets an empty one.

        Raises:
            EndpointError: the endpoint cannot be reached, refuses, or sends something other than a chat completion.
        """
        executor = ThreadPoolExecutor(_MAX_CONCURRENT_REQUESTS)
        try:
            replies = executor.map(lambda prompt: self._reply(prompt, max_tokens + _THOUGHT_TOKENS), prompts)
            return list(tqdm(replies, total=len(prompts), desc=label, unit="reply", delay=2))
        finally:
            executor.shutdown(cancel_futures=True)

    def _reply(self, prompt: Sequence[Message], max_tokens: int) -> str:
        """The text of one reply. Retries failures that may pass."""
        messages = [{"role": message.role, "content": message.content} for message in prompt]
        for pause_seconds in (*_PAUSES_SECONDS, None):
            limit = self._limit_name
            try:
                reply = self._content(self._send({"model": self.model, "messages": messages, limit: max_tokens}))
                self._has_replied = True
                return reply
            except _Declined as declined:
                if limit != _LIMIT_NAMES[1] and _LIMIT_NAMES[1] in declined.detail:
                    self._limit_name = _LIMIT_NAMES[1]
                elif self._has_replied:
                    return ""
                else:
                    self._fail(
                        f"{declined}: {declined.detail}",
                        "Check answers.writer, which usually ends in /v1, and answers.writer_model.",
                    )
            except _Retryable as problem:
                if pause_seconds is None:
                    self._fail(f"{problem}, {len(_PAUSES_SECONDS) + 1} times", "Check that it runs, or try later.")
                time.sleep(min(max(pause_seconds, problem.pause_seconds), _MAX_PAUSE_SECONDS))
        raise AssertionError("the last attempt returns or raises")

    def _send(self, body: dict[str, Any]) -> bytes:
        request = urllib.request.Request(
            f"{self.address}/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "tinsmith"},
        )
        if self._key:
            request.add_unredirected_header("Authorization", f"Bearer {self._key}")
        try:
            with self._opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
                return self._read(response)
        except urllib.error.HTTPError as error:
            with error:
                self._raise_for_status(error)
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            if isinstance(reason, ssl.SSLCertVerificationError):
                problem = f"its certificate is not trusted: {reason.verify_message}"
                self._fail(problem, "Name a file with its certificate in SSL_CERT_FILE.")
            raise _Retryable(f"{reason or type(error).__name__}") from error

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        deadline = time.monotonic() + _REPLY_SECONDS
        content = bytearray()
        while piece := response.read1(_PIECE_BYTES):
            content += piece
            if len(content) > _MAX_REPLY_BYTES:
                self._fail(f"it sent more than {_MAX_REPLY_BYTES >> 20} MB", "Check the address.")
            if time.monotonic() > deadline:
                raise _Retryable(f"a reply took more than {_REPLY_SECONDS:.0f} seconds")
        if response.length:
            raise _Retryable(f"the connection closed {response.length} bytes too early")
        return bytes(content)

    def _raise_for_status(self, error: urllib.error.HTTPError) -> NoReturn:
        """Raise `_Retryable` for a status worth retrying, `_Declined` for HTTP 400, and `EndpointError` for others."""
        reason = f"HTTP {error.code} {error.reason}"
        if error.code in _RETRYABLE_STATUSES:
            wait = error.headers.get("Retry-After", "")
            raise _Retryable(reason, float(wait) if wait.isdecimal() else 0.0)
        if error.code in (401, 403):
            self._fail(reason, f"Set the environment variable {KEY_VARIABLE} to its key.")
        if 300 <= error.code < 400:
            self._fail(f"{reason}: it redirects elsewhere", "Set answers.writer to an address that does not redirect.")
        try:
            detail = self._shown(self._read(cast(http.client.HTTPResponse, error.fp)))
        except (OSError, http.client.HTTPException, _Retryable):
            detail = "its explanation could not be read"
        if error.code == 400:
            raise _Declined(reason, detail)
        self._fail(
            f"{reason}: {detail}",
            "Check answers.writer, which usually ends in /v1, and answers.writer_model.",
        )

    def _content(self, body: bytes) -> str:
        """The text of a chat completion, without a last line that the limit cut; empty if the model gave none."""
        try:
            choice = json.loads(body)["choices"][0]
            content, is_cut = choice["message"]["content"], choice.get("finish_reason") == "length"
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            content, is_cut = body, False
        if content is None:
            return ""
        if not isinstance(content, str):
            self._fail(
                f"its reply is not a chat completion: {self._shown(body)}",
                "Set answers.writer to the address of an OpenAI-compatible API; it usually ends in /v1.",
            )
        if self._without_key(content) != content:
            self._fail("a reply contains your key", "Do not use this endpoint, and replace the key.")
        return content.rpartition("\n")[0] if is_cut else content

    def _shown(self, body: bytes) -> str:
        """The beginning of what the endpoint sent, as one line without the key."""
        text = " ".join(self._without_key(body.decode("utf-8", "replace")).split())
        return text[:_SHOWN_CHARACTERS] or "(nothing)"

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if len(self._key) >= _SECRET_CHARACTERS else text

    def _fail(self, problem: str, hint: str) -> NoReturn:
        raise EndpointError(f"answers.writer: {self.address}: {self._without_key(problem)}", hint) from None


def _opener(address: str) -> urllib.request.OpenerDirector:
    import certifi

    context = ssl.create_default_context()
    # Python on macOS may come without any certificates.
    context.load_verify_locations(certifi.where())
    handlers: list[urllib.request.BaseHandler] = [_NoRedirects(), urllib.request.HTTPSHandler(context=context)]
    if is_loopback(address):
        # A proxy would take the passages off this machine.
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)
