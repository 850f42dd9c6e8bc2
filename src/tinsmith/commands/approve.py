"""`tinsmith approve`: ask the owner which texts from the data the chat page and the card may publish."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from tinsmith.card.evidence import Evidence, read_evidence
from tinsmith.card.examples import agreed_answers
from tinsmith.commands.candidates import ExampleCandidate, QuestionCandidate, example_candidates, question_candidates
from tinsmith.commands.config_file import printable, set_keys, toml_text
from tinsmith.commands.consent import Consent, ask_consents, consents, consents_toml
from tinsmith.commands.existing_run import existing_run, require_stage
from tinsmith.commands.terminal import say, say_next, show, typed
from tinsmith.core.config import MAX_EXAMPLES, MAX_QUESTIONS, CardExample, RunConfig
from tinsmith.core.config_file import load_config
from tinsmith.core.errors import UserError
from tinsmith.core.run_dir import RunDir
from tinsmith.model.conversations import read_jsonl
from tinsmith.model.private import described, find_private
from tinsmith.pipeline.ownership import check_run_folder, configuration_id

_INTRODUCTION = """\
The chat page and the card publish texts from your data only if you agree here. First, you are asked for all answers
and documents at once, then for all their questions. Every other text is shown exactly as it would be published.
The card always names your categories and your data file.
y agrees, n declines, q stops. Each answer is saved immediately.
"""
_LABELS = {"base": "Base", "tuned": "Fine-tuned", "int4": "INT4 package"}

Key = tuple[str, str]
"""Section and name in the configuration."""

Text = str | CardExample

PROMPT_KEY = ("app", "system_prompt")
QUESTIONS_KEY = ("app", "questions")
EXAMPLES_KEY = ("card", "examples")
_LIMITS = {PROMPT_KEY: 1, QUESTIONS_KEY: MAX_QUESTIONS, EXAMPLES_KEY: MAX_EXAMPLES}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text, or a group of texts, that the owner may publish."""

    key: Key
    """The configuration key that publishes it."""
    text: Text
    """The key's value; for an example, its question and reference."""
    place: str
    """Where it would be published, such as `on the chat page, as a suggested question`."""
    note: str
    """A remark for the owner, such as the question's category."""
    shown: dict[str, str]
    """All texts that would be published, by label."""

    @property
    def warnings(self) -> list[str]:
        """One line for each part of the texts that looks private."""
        return [
            f"careful: {printable(text[item.start : item.end])!r} looks like {described(item.kind)}"
            for text in self.shown.values()
            for item in find_private(text)
        ]


def approve(config_path: Path, runs_dir: Path, list_only: bool) -> None:
    """Ask about each candidate and write what the owner agrees to into their configuration.

    Args:
        config_path: The owner's `tinsmith.toml`.
        runs_dir: Folder that contains the configuration's run.
        list_only: Print the candidates as TOML; ask nothing and write nothing.

    Raises:
        UserError: the run does not exist, or has no text to approve.
        ArtifactError: its data stage has not finished.
        ConfigError: the configuration cannot be read or changed.
    """
    config = load_config(config_path)
    run = existing_run(runs_dir / config.name)
    check_run_folder(run, configuration_id(config_path, run))
    require_stage(run, "data", "the data stage has not finished")
    evidence = read_evidence(run)
    candidates = [*_agreed(config, evidence), *_new(config, run, evidence)]
    asked = consents(run, config.answers)
    if not candidates and not asked:
        raise UserError(f"{run.root}: no text to approve", f"Finish the run first: {typed('run', config_path)}")
    if list_only:
        show(_as_toml(candidates, asked), end="")
        return
    say(_INTRODUCTION)
    for category in evidence.record("data", "report.json")["categories"]:
        for item in find_private(category["name"]):
            say(f"careful: the category {printable(category['name'])!r} looks like {described(item.kind)}")
    if ask_consents(asked, config_path, _answer):
        _ask_all(candidates, config, config_path)
    if "evaluate" not in evidence.stamps:
        say("There are no examples for the card yet, because the evaluate stage has not finished.")
    say_next("run", config_path, "--runs", runs_dir)


def _agreed(config: RunConfig, evidence: Evidence) -> Iterator[Candidate]:
    """Candidates that the configuration already publishes."""
    if config.app.system_prompt:
        yield _prompt(config.app.system_prompt, "agreed before")
    for text in config.app.questions:
        yield _question(QuestionCandidate(text, ""), "agreed before")
    current = agreed_answers(evidence, config.card.examples)
    for example in config.card.examples:
        note = (
            "agreed before"
            if example in current
            else "agreed before, but left out of the card because this run does not have it"
        )
        yield _example(ExampleCandidate(example, {}, ""), note)


def _new(config: RunConfig, run: RunDir, evidence: Evidence) -> Iterator[Candidate]:
    """Candidates from the run that the configuration does not publish yet."""
    prompt = evidence.record("data", "report.json")["system_prompt"]
    if prompt and not config.public_system_prompt:
        yield _prompt(prompt, "the most common system prompt in the data; if you decline, the chat page uses none")
    for question in question_candidates(read_jsonl(run.stage("data") / "test.jsonl"), config.seed):
        if question.text not in config.app.questions:
            yield _question(question, f"category {question.category}")
    for candidate in example_candidates(evidence):
        if candidate.example not in config.card.examples:
            yield _example(candidate, f"INT4 states {candidate.facts} facts")


def _prompt(text: str, note: str) -> Candidate:
    place = "on the chat page and in the card's code, as the system prompt"
    return Candidate(PROMPT_KEY, text, place, note, {"System prompt": text})


def _question(question: QuestionCandidate, note: str) -> Candidate:
    place = "on the chat page, as a suggested question"
    return Candidate(QUESTIONS_KEY, question.text, place, note, {"Question": question.text})


def _example(candidate: ExampleCandidate, note: str) -> Candidate:
    example = candidate.example
    shown = {"Question": example.question, "Reference": example.reference}
    shown |= {_LABELS[model]: text for model, text in candidate.answers.items()}
    return Candidate(EXAMPLES_KEY, example, "on the card, as an example answer", note, shown)


def _ask_all(candidates: list[Candidate], config: RunConfig, config_path: Path) -> None:
    """Ask about each candidate and save every change before the next question."""
    agreed: dict[Key, list[Text]] = {
        PROMPT_KEY: [config.app.system_prompt] if config.app.system_prompt else [],
        QUESTIONS_KEY: list(config.app.questions),
        EXAMPLES_KEY: list(config.card.examples),
    }
    for number, candidate in enumerate(candidates, start=1):
        texts = agreed[candidate.key]
        is_agreed = candidate.text in texts
        if not is_agreed and len(texts) >= _LIMITS[candidate.key]:
            continue
        _show(candidate, f"{number} of {len(candidates)}")
        answer = _answer(f"Publish it {candidate.place}?")
        if answer == "q":
            break
        if (answer == "y") == is_agreed:
            continue
        if is_agreed:
            texts.remove(candidate.text)
        else:
            texts.append(candidate.text)
        set_keys(config_path, {candidate.key: (texts or [""])[0] if candidate.key == PROMPT_KEY else texts})
    say(f"\nQuestions agreed for the chat page: {len(agreed[QUESTIONS_KEY])}")
    say(f"Examples agreed for the card: {len(agreed[EXAMPLES_KEY])}")


def _show(candidate: Candidate, progress: str) -> None:
    show(f"\n[{progress}] {printable(candidate.note)}")
    for label, text in candidate.shown.items():
        lines = "\n".join(printable(line) for line in text.split("\n"))
        show(textwrap.indent(f"{label}: {lines}", "  "))
    for warning in candidate.warnings:
        show(f"  {warning}")


def _answer(question: str) -> str:
    """Ask until the answer is `y`, `n` or `q`. The end of input and Ctrl-C count as `q`."""
    while True:
        try:
            reply = click.prompt(f"{question} [y/n/q]", default="", show_default=False, prompt_suffix=" ", err=True)
        except click.Abort:
            return "q"
        letter = reply.strip().lower()[:1]
        if letter in ("y", "n", "q"):
            return letter


def _as_toml(candidates: list[Candidate], asked: list[Consent]) -> str:
    """All candidates as TOML for the owner to copy, each below its note and warnings."""
    lines = ["# Texts from your data. Copy only those that you want to publish into your tinsmith.toml."]
    lines += consents_toml(asked) if asked else []
    for section, keys in (("app", (PROMPT_KEY, QUESTIONS_KEY)), ("card", (EXAMPLES_KEY,))):
        lines += ["", f"[{section}]"]
        for key in keys:
            matches = [candidate for candidate in candidates if candidate.key == key]
            if key == PROMPT_KEY:
                for candidate in matches:
                    lines += [*_comments(candidate), f"{key[1]} = {toml_text(candidate.text)}"]
                continue
            lines.append(f"{key[1]} = [")
            for candidate in matches:
                lines += [f"    {comment}" for comment in _comments(candidate)]
                lines.append(f"    {toml_text(candidate.text)},")
            lines.append("]")
    return "\n".join(lines) + "\n"


def _comments(candidate: Candidate) -> list[str]:
    answers = [f"{label}: {text}" for label, text in candidate.shown.items() if label in _LABELS.values()]
    return [f"# {printable(' '.join(line.split()))}" for line in (candidate.note, *answers, *candidate.warnings)]
