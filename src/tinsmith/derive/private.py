"""Gates: no value that the data stage masked or dropped is in a published folder, or in a reply of the evaluation."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tinsmith.derive.files import Files
from tinsmith.derive.rules import Derived, Fields, Rule
from tinsmith.model.private.published import Leak, leaks_in_folder, leaks_in_texts
from tinsmith.model.private.record import HIDDEN_FILE, Hidden

HIDDEN = f"data/{HIDDEN_FILE}"
_RECORDS = (HIDDEN, f"knowledge/{HIDDEN_FILE}")
_REPLY_FILES = ("evaluate/answers.jsonl", "evaluate/closed_book.jsonl", "evaluate/out_of_scope.jsonl")
_SUBJECTS = ("base", "tuned", "int4", "page")
_SHOWN_LEAKS = 5


def leaks_in_package(files: Files) -> Derived:
    """Hidden values in the files of the package."""
    return _of_folder(files, _package)


def leaks_in_card(files: Files) -> Derived:
    """Hidden values in the card and the files beside it."""
    return _of_folder(files, _card)


def leaks_in_site(files: Files) -> Derived:
    """Hidden values in the files of the site: chat page, card, evidence, answers and package."""
    return _of_folder(files, _site)


def leaks_in_replies(files: Files) -> Derived:
    """Hidden values in replies of the base, the tuned model, INT4 and the page."""
    leaks, count = files.once(_replies)
    return _gate(leaks, count, "replies")


def _package(files: Files) -> tuple[list[Leak], int]:
    # The package is made from conversations alone, so the documents' values are not looked for.
    return leaks_in_folder(files.path("export/package"), Hidden.of(files.json(HIDDEN)))


def _card(files: Files) -> tuple[list[Leak], int]:
    return leaks_in_folder(files.path("card/"), _hidden(files))


def _site(files: Files) -> tuple[list[Leak], int]:
    return leaks_in_folder(files.path("app/"), _hidden(files))


def _replies(files: Files) -> tuple[list[Leak], int]:
    leaks, count = [], 0
    for name in filter(files.has, _REPLY_FILES):
        for number, line in enumerate(files.lines(name), start=1):
            texts = list(_reply_texts(line))
            count += len(texts)
            leaks += leaks_in_texts(texts, f"{name}, line {number}", _hidden(files))
    return leaks, count


def _reply_texts(line: dict[str, Any]) -> Iterator[str]:
    """The replies in a line, and nothing of its question and reference."""
    replies = [line] if "text" in line else [line[subject] for subject in _SUBJECTS if line.get(subject)]
    yield from (reply["text"] for reply in replies)


def _hidden(files: Files) -> Hidden:
    return files.once(_read_hidden)


def _read_hidden(files: Files) -> Hidden:
    return Hidden.of(*(files.json(name) for name in filter(files.has, _RECORDS)))


def _of_folder(files: Files, search: Callable[[Files], tuple[list[Leak], int]]) -> Derived:
    leaks, count = files.once(search)
    return _gate(leaks, count, "files")


def _gate(leaks: list[Leak], count: int, count_of: str) -> Derived:
    return Derived(len(leaks), "count", count, count_of, gate={"op": "==", "bound": 0})


def _hint(search: Callable[[Files], tuple[list[Leak], int]]) -> Callable[[Files], str]:
    def hint(files: Files) -> str:
        leaks, _ = files.once(search)
        places = ", ".join(f"{leak.file}: {leak.kind} {leak.shown}" for leak in leaks[:_SHOWN_LEAKS])
        return (
            f"Values that data.privacy hides are in {places}. If one is yours and public, add it to "
            "data.privacy_allow; else take it out of the configuration, the documents or the file names."
        )

    return hint


def _if_hidden(files: Files) -> Iterable[Fields]:
    """Once if values are hidden. A run that only warns promises nothing."""
    return [{}] if files.has(HIDDEN) and files.json(HIDDEN)["hidden"] else []


PACKAGE_RULES = (Rule("gate.private.package", HIDDEN, leaks_in_package, _if_hidden, _hint(_package)),)
REPLY_RULES = (Rule("gate.private.replies", HIDDEN, leaks_in_replies, _if_hidden, _hint(_replies)),)
CARD_RULES = (Rule("gate.private.card", HIDDEN, leaks_in_card, _if_hidden, _hint(_card)),)
SITE_RULES = (Rule("gate.private.site", HIDDEN, leaks_in_site, _if_hidden, _hint(_site)),)
