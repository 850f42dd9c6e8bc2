"""Ask a judge through Inspect: one sample for each call, with the model bound to the role `grader` and no other."""

import importlib.util
import os
import tempfile
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from tinsmith.assess.judge_calls import Call
from tinsmith.assess.judge_file import Reply
from tinsmith.assess.judge_prompts import INSTRUCTIONS, read_grade, reminder
from tinsmith.core.errors import EndpointError, MissingDependency, UserError
from tinsmith.core.writers import is_loopback

if TYPE_CHECKING:
    from inspect_ai.model import Model, ModelOutput
    from inspect_ai.solver import Generate, Solver, TaskState

KEY_VARIABLE = "TINSMITH_JUDGE_KEY"
"""Environment variable with the endpoint's key. It is sent to the endpoint and appears nowhere else."""

_NO_KEY = "none"
"""Sent to servers that take any key, because the client sends one in any case."""
_MAX_TOKENS = 1000
"""Longest reply, with room for models that think before they reply."""
_MAX_RETRIES = 4
_ATTEMPT_SECONDS = 120
_CALL_SECONDS = 300
"""Time limits of one attempt, and of a call with its retries."""
_CONNECTIONS = 4
_SHOWN_CHARACTERS = 200


def require_inspect() -> None:
    """Stop unless Inspect and the client it asks endpoints with are installed.

    Raises:
        MissingDependency: one of them is not.
    """
    for module in ("inspect_ai", "openai"):
        if importlib.util.find_spec(module) is None:
            raise MissingDependency(
                f"a judge is asked through Inspect, and the package {module} is not installed",
                "pip install 'tinsmith[judge]'",
            )


def ask_judge(address: str, model: str, calls: Sequence[Call], on_reply: Callable[[Reply], None]) -> None:
    """Ask every call once, equal ones together, and again if its reply has no grade.

    Args:
        address: Such as `https://api.example.com/v1`; `/chat/completions` is added. Nothing is sent anywhere else.
        model: Name of the model, as the endpoint knows it.
        calls: In the order to ask; several are under way at once.
        on_reply: Called with each reply as it arrives.

    Raises:
        EndpointError: the endpoint cannot be reached, refuses, or sends something other than a chat completion.
            Replies until then have been passed on.
    """
    from inspect_ai import Task, eval
    from inspect_ai.dataset import Sample

    key = os.environ.get(KEY_VARIABLE, "").strip()
    by_key = {call.key: call for call in calls}
    failures: list[Exception] = []
    with (
        tempfile.TemporaryDirectory(prefix="tinsmith-judge-") as log_dir,
        tqdm(total=len(by_key), desc="judge", unit="reply", delay=2) as progress,
    ):

        def passed_on(reply: Reply) -> None:
            on_reply(reply)
            progress.update()

        task = Task(
            dataset=[Sample(id=id, input=call.prompt) for id, call in by_key.items()],
            solver=_judging(by_key, passed_on, failures),
            name="judge",
        )
        log = eval(
            task,
            model=None,  # there is no model under test that could grade itself
            model_roles={"grader": _grader(address, model, key)},
            log_dir=log_dir,  # with the owner's texts, so it goes when the calls are done
            log_realtime=False,  # which would keep them elsewhere
            display="none",
            log_level="critical",
            score=False,
            fail_on_error=True,
            max_samples=_CONNECTIONS,
        )[0]
    if failures:
        first = failures[0]
        raise first if isinstance(first, UserError) else _problem(address, first, key) from None
    if log.status != "success":
        reason = log.error.message if log.error else log.status
        raise EndpointError(f"{address}: {_shown(reason, key)}", "Run the same command again to continue.")


def _grader(address: str, model: str, key: str) -> "Model":
    from inspect_ai.model import GenerateConfig, get_model
    from openai import DefaultAsyncHttpxClient

    return get_model(
        f"openai-api/judge/{model}",
        base_url=address,
        api_key=key or _NO_KEY,
        config=GenerateConfig(
            temperature=0,
            max_tokens=_MAX_TOKENS,
            max_retries=_MAX_RETRIES,
            attempt_timeout=_ATTEMPT_SECONDS,
            timeout=_CALL_SECONDS,
            max_connections=_CONNECTIONS,
        ),
        memoize=False,
        max_retries=0,  # the client's own; Inspect retries
        # A redirect, or a proxy before this machine's own address, would take the texts elsewhere.
        http_client=DefaultAsyncHttpxClient(follow_redirects=False, trust_env=not is_loopback(address)),
    )


def _judging(calls: dict[str, Call], on_reply: Callable[[Reply], None], failures: list[Exception]) -> "Solver":
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, get_model
    from inspect_ai.solver import solver

    @solver
    def judging() -> "Solver":
        async def solve(state: "TaskState", generate: "Generate") -> "TaskState":
            call = calls[str(state.sample_id)]
            grader = get_model(role="grader", required=True)
            messages = [ChatMessageSystem(content=INSTRUCTIONS), ChatMessageUser(content=call.prompt)]
            try:
                output = await grader.generate(messages, cache=False)
                if read_grade(call.criterion, output.completion) is None:
                    messages.append(ChatMessageAssistant(content=output.completion))
                    messages.append(ChatMessageUser(content=reminder(call.criterion)))
                    output = await grader.generate(messages, cache=False)
                on_reply(_reply(call, output))
            except Exception as error:
                failures.append(error)
                raise
            return state

        return solve

    return judging()


def _reply(call: Call, output: "ModelOutput") -> Reply:
    usage = output.usage
    tokens = (usage.input_tokens, usage.output_tokens) if usage else (0, 0)
    return Reply(call.key, output.completion, output.model, *tokens)


def _problem(address: str, error: Any, key: str) -> EndpointError:
    """The cause of a failed call, in words."""
    from openai import OpenAIError

    attempts = getattr(error, "last_attempt", None)
    causes = [attempts.exception() if attempts else error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    # The client's error has the endpoint's words; Inspect's has the request too, and httpx's only the status.
    cause = next((cause for cause in causes if isinstance(cause, OpenAIError)), causes[0])
    status = getattr(cause, "status_code", None)
    text = f"HTTP {status}: {cause}" if status else f"{type(cause).__name__}: {cause}"
    hints = {
        401: f"Set the environment variable {KEY_VARIABLE} to its key.",
        403: f"Set the environment variable {KEY_VARIABLE} to its key.",
        429: "It asks for a pause. Run the same command later; what it has judged is kept.",
    }
    hint = "Check --endpoint, which usually ends in /v1, and --model. Run the same command to continue."
    return EndpointError(f"{address}: {_shown(text, key)}", hints.get(status or 0, hint))


def _shown(text: str, key: str) -> str:
    """The beginning of a problem's text, as one line without the key."""
    plain = text.replace(key, "***") if key else text
    return " ".join(plain.split())[:_SHOWN_CHARACTERS]
