"""The page that edits questions."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tinsmith.commands.single_file import single_file_page
from tinsmith.model.answers.questions import Question
from tinsmith.model.passages import Passage


def questions_page(questions: Sequence[Question], passages: Sequence[Passage], web_dir: Path) -> str:
    """HTML of the page, as one file.

    Args:
        questions: Shown for editing, in order.
        passages: Offered as answers.
        web_dir: Folder with `questions.html`, `questions.css`, `questions.js` and `page.css`.
    """
    shown = ("id", "title", "text")
    data = {
        "questions": [{name: value for name, value in asdict(one).items() if name != "place"} for one in questions],
        "passages": [{name: getattr(passage, name) for name in shown} for passage in passages],
    }
    return single_file_page(web_dir, "questions.html", ("page.css", "questions.css"), ("questions.js",), data)
