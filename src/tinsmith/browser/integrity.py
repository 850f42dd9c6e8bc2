"""Digests in a page's tags, with which the browser refuses a script or style sheet that is not the one of this site.

Imports have no such attribute, so tags that have one preload the modules that a script imports. Workers, and what they
import, can have none: see `web/runtime.js`. Source: https://www.w3.org/TR/sri/
"""

import re
from pathlib import Path

from tinsmith.browser.runtime import integrity_of

_TAG = re.compile(r'(<script type="module" src|<link rel="stylesheet" href)="\./([\w.]+)"')
_IMPORT = re.compile(r'^(?:import|export)\b[^;]*?from "\./([\w.]+)";|^import "\./([\w.]+)";', re.MULTILINE)


def with_integrity(page: str, folder: Path) -> str:
    """`page` with the digests of the scripts, style sheets and imported modules in `folder` that it loads."""
    page = _TAG.sub(lambda match: f'{match[0]} integrity="{_digest(folder / match[2])}"', page)
    scripts = [match[2] for match in _TAG.finditer(page) if match[1].startswith("<script")]
    preloads = "".join(
        f'    <link rel="modulepreload" href="./{name}" integrity="{_digest(folder / name)}" />\n'
        for name in sorted(_imported(folder, scripts) - set(scripts))
    )
    return page.replace("    <script", f"{preloads}    <script", 1)


def _digest(path: Path) -> str:
    return integrity_of(path.read_bytes())


def _imported(folder: Path, scripts: list[str]) -> set[str]:
    """The modules that scripts import, and those that these import."""
    names: set[str] = set()
    rest = list(scripts)
    while rest:
        name = rest.pop()
        if name not in names:
            names.add(name)
            rest += [first or second for first, second in _IMPORT.findall((folder / name).read_text(encoding="utf-8"))]
    return names
