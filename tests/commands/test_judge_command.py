"""`tinsmith judge`: what is sent is shown and agreed to first, nothing is asked twice, and no model judges itself."""

import json

import pytest
from click.testing import CliRunner

import judges
from fake_run import write_run
from tinsmith.assess.judge_file import Judgements, Reply
from tinsmith.assess.judge_identity import is_same_model
from tinsmith.cli import main
from tinsmith.commands import judge as command
from tinsmith.core.errors import EndpointError

LOCAL = "http://127.0.0.1:9/v1"
ALL = ("--group", "trained", "--group", "held_out")
AWAY = "https://api.example.com/v1"


class Asked:
    """Stands for Inspect: the calls that reach the endpoint, answered by a judge of a few lines."""

    def __init__(self, judge, model="big-1", until=10**6):
        self.judge, self.model, self.until = judge, model, until
        self.calls = []

    def __call__(self, address, model, calls, on_reply):
        for call in calls:
            if len(self.calls) == self.until:
                raise EndpointError(f"{address}: HTTP 500", "Run the same command again to continue.")
            self.calls.append(call)
            on_reply(Reply(call.key, self.judge(call.prompt), self.model, 400, 30))


@pytest.fixture
def run(tmp_path, monkeypatch):
    run = write_run(tmp_path / "tea-bot")
    judges.write_answers(run.stage("evaluate"), judges.answers(40))
    monkeypatch.setattr(command, "require_inspect", lambda: None)
    monkeypatch.setattr(command, "run_and_report", lambda config, run, options: print(f"from {options.first}"))
    return run


def invoke(run, monkeypatch, asked, *options, address=LOCAL, model="big-1", typed=None):
    monkeypatch.setattr(command, "ask_judge", asked)
    return CliRunner().invoke(
        main, ["judge", str(run.root), "--endpoint", address, "--model", model, *ALL, *options], input=typed
    )


def test_on_this_machine_nobody_is_asked_and_the_card_follows(run, monkeypatch):
    asked = Asked(judges.good)
    done = invoke(run, monkeypatch, asked)
    assert done.exit_code == 0, done.output
    assert "from judge" in done.stdout and "on this machine" in done.stdout
    assert "big-1 at http://127.0.0.1:9/v1 judges 40 questions (trained, held_out)" in done.stdout
    replies = Judgements(run.judgements).replies()
    assert len(asked.calls) == len(replies) == len({call.key for call in asked.calls})
    judge = Judgements(run.judgements).judge()
    assert (judge.model, judge.host, judge.items, judge.answered_as) == ("big-1", "this machine", 50, ("big-1",))


def test_what_leaves_the_machine_is_said_and_needs_a_yes(run, monkeypatch):
    asked = Asked(judges.good)
    refused = invoke(run, monkeypatch, asked, address=AWAY)
    assert refused.exit_code == 2 and "no terminal to ask at" in refused.stderr and not asked.calls
    assert "their reference answers, and the replies to them, which may keep them" in refused.stdout
    assert not run.judgements.exists()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    agreed = invoke(run, monkeypatch, asked, "--yes", address=AWAY)
    assert agreed.exit_code == 0 and asked.calls
    assert Judgements(run.judgements).judge().host == "api.example.com"


@pytest.mark.parametrize(("typed", "is_sent"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_no_is_the_default_at_a_terminal(run, monkeypatch, typed, is_sent):
    asked = Asked(judges.good)
    monkeypatch.setattr(command, "_is_terminal", lambda: True)
    done = invoke(run, monkeypatch, asked, address=AWAY, typed=typed)
    assert done.exit_code == 0 and bool(asked.calls) == is_sent
    assert "Send these texts to api.example.com?" in done.stderr


def test_the_cost_is_shown_before_and_a_dry_run_sends_nothing(run, monkeypatch):
    asked = Asked(judges.good)
    dry = invoke(run, monkeypatch, asked, "--dry-run", address=AWAY)
    assert dry.exit_code == 0 and not asked.calls and "nothing was sent" in dry.stderr
    line = next(line for line in dry.stdout.splitlines() if " calls, about " in line)
    calls, to_it, from_it = (
        int(line.split(mark)[0].split()[-1].replace(",", "")) for mark in (" calls", " tokens", " from")
    )
    invoke(run, monkeypatch, asked)
    assert calls == len(asked.calls) and from_it == 60 * calls
    assert to_it == pytest.approx(sum(len(call.prompt) for call in asked.calls) / 4, rel=0.6)


def test_what_was_judged_before_a_failure_is_not_asked_again(run, monkeypatch):
    first = Asked(judges.good, until=300)
    failed = invoke(run, monkeypatch, first)
    assert failed.exit_code == 2 and "HTTP 500" in failed.stderr and "to continue" in failed.stderr
    assert "from judge" not in failed.output
    second = Asked(judges.good)
    assert invoke(run, monkeypatch, second).exit_code == 0
    assert not {call.key for call in first.calls} & {call.key for call in second.calls}
    third = Asked(judges.good)
    assert invoke(run, monkeypatch, third).exit_code == 0 and not third.calls


def test_a_judge_who_accepts_everything_is_not_asked_further(run, monkeypatch):
    asked = Asked(judges.lazy)
    done = invoke(run, monkeypatch, asked)
    assert done.exit_code == 0 and all(call.control for call in asked.calls)
    assert "big-1 is not asked further: it accepts 100% of replies with swapped facts" in done.stderr


def test_of_one_question_nothing_is_known_and_nothing_is_asked(run, monkeypatch):
    asked = Asked(judges.good)
    done = invoke(run, monkeypatch, asked, "--items", "1")
    assert done.exit_code == 0 and not asked.calls
    assert "not asked further: it was asked about too few replies with swapped facts: 0" in done.stderr


@pytest.mark.parametrize("model", ["someone/base-1B-q4_0.gguf", "Tea-Bot", "base-1b-instruct"])
def test_no_model_judges_itself(run, monkeypatch, model):
    base = json.loads((run.stage("base") / "base.json").read_text()) | {"id": "org/Base-1B"}
    (run.stage("base") / "base.json").write_text(json.dumps(base))
    config = json.loads(run.config.read_text()) | {"name": "tea-bot"}
    run.config.write_text(json.dumps(config))
    asked = Asked(judges.good)
    refused = invoke(run, monkeypatch, asked, model=model)
    assert refused.exit_code == 2 and "a model does not judge itself" in refused.stderr and not asked.calls
    # The endpoint may serve it under the name that was asked for, and say so in its replies.
    served = invoke(run, monkeypatch, Asked(judges.good, model=model))
    assert served.exit_code == 2 and "a model does not judge itself" in served.stderr
    assert not Judgements(run.judgements).replies()


def test_another_judge_is_refused_even_when_all_is_judged(run, monkeypatch):
    assert invoke(run, monkeypatch, Asked(judges.good)).exit_code == 0
    other = invoke(run, monkeypatch, Asked(judges.good), model="big-2")
    assert other.exit_code == 2 and "big-1 on this machine has judged this run" in other.stderr
    assert "delete that folder" in other.stderr and "from judge" not in other.output


def test_fewer_questions_than_before_are_noted(run, monkeypatch):
    invoke(run, monkeypatch, Asked(judges.good))
    before = Judgements(run.judgements).judge()
    fewer = Asked(judges.good)
    assert invoke(run, monkeypatch, fewer, "--items", "30").exit_code == 0 and before.last_asked
    assert all(call.control or call.repeat for call in fewer.calls), "no reply is judged again"
    after = Judgements(run.judgements).judge()
    assert (after.items, after.last_asked, after.answered_as) == (30, before.last_asked, ("big-1",))


def test_replies_of_two_models_are_not_one_score(run, monkeypatch):
    invoke(run, monkeypatch, Asked(judges.good, until=5))
    mixed = invoke(run, monkeypatch, Asked(judges.good, model="big-2"))
    assert mixed.exit_code == 2 and "replies come from several models: big-1, big-2" in mixed.stderr


@pytest.mark.parametrize(
    ("judge", "names", "is_same"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", ["HuggingFaceTB/SmolLM2-135M-Instruct"], True),
        ("/models/smollm2-135m-instruct.Q4_1.gguf", ["HuggingFaceTB/SmolLM2-135M-Instruct"], True),
        ("smollm2-135m-instruct:latest", ["SmolLM2-135M-Instruct"], True),
        ("SmolLM2-1.7B-Instruct", ["SmolLM2-135M-Instruct"], False),
        ("gemma-3-270m-it", ["google/gemma-3-270m"], True),
        ("gemma-3-27b-it", ["google/gemma-3-270m"], False),
        ("democracy-70b", ["demo"], False),
        ("big", ["", "demo"], False),
    ],
)
def test_a_name_tells_a_model_whatever_its_format(judge, names, is_same):
    assert is_same_model(judge, names) == is_same


@pytest.mark.parametrize(
    "address", ["http://api.example.com/v1", "ftp://x/v1", "https://user:pw@api.example.com", "tea"]
)
def test_an_address_that_is_none_is_refused(run, monkeypatch, address):
    refused = invoke(run, monkeypatch, Asked(judges.good), address=address)
    assert refused.exit_code == 2 and "--endpoint" in refused.stderr and "must" in refused.stderr


def test_without_inspect_the_command_says_what_to_install(run, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refused = CliRunner().invoke(main, ["judge", str(run.root), "--endpoint", LOCAL, "--model", "big-1"])
    assert refused.exit_code == 2 and "pip install 'tinsmith[judge]'" in refused.stderr
