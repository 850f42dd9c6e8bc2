"""The page that edits questions: one HTML file with style, script and data inside, which loads and sends nothing."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tinsmith.model.answers.questions import Question
from tinsmith.model.passages import Passage

_POLICY = (
    "default-src 'none'; script-src {script}; style-src {style}; img-src data:; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


def questions_page(questions: Sequence[Question], passages: Sequence[Passage], web_dir: Path) -> str:
    """HTML of the page. Its policy allows its own style and script, by their hashes, and nothing else.

    Args:
        questions: Shown for editing, in order.
        passages: Offered as answers.
        web_dir: Folder with `questions.html`, `questions.css`, `questions.js` and `page.css`.
    """
    page, script = (_read(web_dir / name) for name in ("questions.html", "questions.js"))
    style = "\n".join(_read(web_dir / name) for name in ("page.css", "questions.css"))
    shown = ("id", "title", "text")
    data = {
        "questions": [{name: value for name, value in asdict(one).items() if name != "place"} for one in questions],
        "passages": [{name: getattr(passage, name) for name in shown} for passage in passages],
    }
    parts = {
        "policy": _POLICY.format(script=inline_source(script), style=inline_source(style)),
        "style": f"<style>{style}</style>",
        "script": f'<script type="module">{script}</script>',
        "data": f'<script type="application/json" id="data">{_json_in_html(data)}</script>',
    }
    for name, part in parts.items():
        page = page.replace(f"<!-- {name} -->", part)
    return page


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def inline_source(content: str) -> str:
    """The source expression that allows an inline element with this content."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _json_in_html(value: object) -> str:
    """JSON in which no text can end the element that holds it, or start a comment."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")
