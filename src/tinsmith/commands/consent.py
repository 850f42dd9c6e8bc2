"""Ask the owner whether the site may publish their answers and documents, as a whole, and the data's questions."""

import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.commands.config_file import printable, set_keys
from tinsmith.commands.terminal import say, show
from tinsmith.core.config import AnswersConfig
from tinsmith.core.run_dir import RunDir, read_json
from tinsmith.model.answers.publish import PASSAGES_FILE, first_words
from tinsmith.model.private import described, find_private

PUBLISH_KEY = ("answers", "publish")
PUBLISH_QUESTIONS_KEY = ("answers", "publish_questions")

_SHOWN = 3
_SHOWN_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Consent:
    """Texts of one kind that are published all or none."""

    key: tuple[str, str]
    """The configuration key that publishes them."""
    what: str
    """What would be published, with counts, such as `503 answers`."""
    how: str
    """Where it would be published, and what happens otherwise."""
    texts: tuple[str, ...]
    """All of them."""
    shown: tuple[str, ...]
    """The first of them, which the owner reads before they answer."""
    is_agreed: bool

    @property
    def warnings(self) -> list[str]:
        """One line for each kind of private-looking text, with the number of texts that have it and an example."""
        counts: Counter[str] = Counter()
        examples: dict[str, str] = {}
        for text in self.texts:
            parts = {described(item.kind): text[item.start : item.end] for item in find_private(text)}
            counts.update(parts.keys())
            examples = parts | examples
        total = len(self.texts)
        return [
            f"careful: {count:,} of {total:,} texts have what looks like {kind}, such as {printable(examples[kind])!r}"
            for kind, count in counts.items()
        ]


def consents(run: RunDir, config: AnswersConfig) -> list[Consent]:
    """What the owner is asked about: answers with documents, then questions.

    Empty if the run has no passages, or the configuration leaves all answers to the model.
    """
    path = run.stage("knowledge") / "answers" / PASSAGES_FILE
    if config.mode == "model" or not path.is_file():
        return []
    passages: list[dict[str, Any]] = read_json(path)
    answers = [passage for passage in passages if passage["kind"] == "answer"]
    sections = [passage for passage in passages if passage["kind"] != "answer"]
    wordings = tuple(wording for passage in passages for wording in passage["wordings"])
    words = Consent(
        PUBLISH_KEY,
        " and ".join(
            _counted(answers, "answer", "answers") + _counted(sections, "section of documents", "sections of documents")
        ),
        "The chat page would show them word for word, with their category, file and place, and anyone can download"
        " all of them at once. Numbers computed from them and from their questions, which help to find them, would be"
        f" part of the site{_with_wordings(wordings)}. Without your consent, the model answers alone.",
        (*(passage["text"] for passage in passages), *wordings),
        tuple(map(_with_source, (*answers[:_SHOWN], *sections[:_SHOWN]))),
        config.publish,
    )
    if not answers:
        return [words]
    example = printable(first_words(answers[0]["text"]))
    titles = tuple(passage["title"] for passage in answers)
    questions = Consent(
        PUBLISH_QUESTIONS_KEY,
        f"{len(answers):,} question{'s' if len(answers) > 1 else ''}",
        "They would be published as titles of these answers: above an answer, in its source line and on buttons."
        f" Real people may have asked them. Without your consent, an answer's first words are its title: {example!r}",
        titles,
        titles[:_SHOWN],
        config.publish_questions,
    )
    return [words, questions]


def _with_wordings(wordings: Sequence[str]) -> str:
    if not wordings:
        return ""
    example = printable(wordings[0])
    return f", and so would the {len(wordings):,} wordings of `answers.wordings`, such as {example!r}"


def ask_consents(asked: Iterable[Consent], config_path: Path, answer: Callable[[str], str]) -> bool:
    """Ask about each, and save every change before the next question; questions only if the answers are published.

    Args:
        asked: From `consents`.
        config_path: The owner's `tinsmith.toml`.
        answer: Asks a question and returns `y`, `n` or `q`.

    Returns:
        Whether to go on: false if the owner stopped.
    """
    is_published = True
    for consent in asked:
        if consent.key == PUBLISH_QUESTIONS_KEY and not is_published:
            if consent.is_agreed:
                set_keys(config_path, {consent.key: False})
            continue
        _show(consent)
        letter = answer(f"Publish all {consent.what}?")
        if letter == "q":
            return False
        is_published = letter == "y"
        if is_published != consent.is_agreed:
            set_keys(config_path, {consent.key: is_published})
        say(f"{consent.what}: {'agreed' if is_published else 'not published'}")
    return True


def consents_toml(asked: Iterable[Consent]) -> list[str]:
    """Lines of TOML for the owner to copy, each key below what it publishes and the warnings."""
    lines = ["", "[answers]"]
    for consent in asked:
        comments = (f"{consent.what}. {consent.how}", *consent.warnings)
        lines += [f"# {line}" for comment in comments for line in textwrap.wrap(printable(comment), 110)]
        lines.append(f"{consent.key[1]} = true")
    return lines


def _show(consent: Consent) -> None:
    show(f"\n{consent.what}{' (agreed before)' if consent.is_agreed else ''}")
    show(textwrap.fill(consent.how, 110))
    for text in consent.shown:
        cut = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
        lines = "\n".join(printable(line) for line in cut.split("\n"))
        show(textwrap.indent(lines, "    ").replace("    ", "  - ", 1))
    if len(consent.texts) > len(consent.shown):
        show(f"  ... and {len(consent.texts) - len(consent.shown):,} more")
    for warning in consent.warnings:
        show(f"  {warning}")


def _with_source(passage: dict[str, Any]) -> str:
    place = ", ".join(filter(None, (passage["source"]["name"], passage["source"]["place"])))
    return f"{passage['text']}\n({place})" if place else passage["text"]


def _counted(items: list[Any], one: str, many: str) -> list[str]:
    return [f"{len(items):,} {one if len(items) == 1 else many}"] if items else []
