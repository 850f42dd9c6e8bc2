"""Pages that are one HTML file with style, script and data inside, and that load and send nothing."""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

_POLICY = (
    "default-src 'none'; script-src {script}; style-src {style}; img-src data:; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_IMPORT = re.compile(r"^import \{[^}]*\} from \"\./[\w.]+\";\n", re.MULTILINE)
_MODULE_WORD = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?function|const|class)", re.MULTILINE)


def single_file_page(web_dir: Path, page: str, styles: Sequence[str], scripts: Sequence[str], data: object) -> str:
    """HTML of a page. Its policy allows its own style and script, by their hashes, and nothing else.

    Args:
        web_dir: Folder of all files.
        page: HTML with a comment in the place of each part: `policy`, `style`, `data` and `script`.
        styles: Names of style sheets, in order.
        scripts: Names of modules, each after those that it imports. Their top-level names must differ, because they
            become one script.
        data: JSON-able value for the script, in the element `data`.

    Raises:
        ValueError: a module imports or exports in another form than `import { a } from "./b.js"` and `export function`.
    """
    html = _read(web_dir / page)
    style = "\n".join(_read(web_dir / name) for name in styles)
    script = "\n".join(_EXPORT.sub("", _IMPORT.sub("", _read(web_dir / name))) for name in scripts)
    if left_over := _MODULE_WORD.search(script):
        raise ValueError(f"{', '.join(scripts)}: cannot be joined because of the line {left_over[0]!r}")
    parts = {
        "policy": _POLICY.format(script=inline_source(script), style=inline_source(style)),
        "style": f"<style>{style}</style>",
        "script": f'<script type="module">{script}</script>',
        "data": f'<script type="application/json" id="data">{_json_in_html(data)}</script>',
    }
    for name, part in parts.items():
        html = html.replace(f"<!-- {name} -->", part)
    return html


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def inline_source(content: str) -> str:
    """The source expression that allows an inline element with this content."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _json_in_html(value: object) -> str:
    """JSON in which no text can end the element that holds it, or start a comment."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")
