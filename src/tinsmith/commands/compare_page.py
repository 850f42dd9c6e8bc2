"""The page of `tinsmith compare`: one HTML file with its style inside, without a script, which loads nothing."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tinsmith.browser.runtime import WEB_DIR
from tinsmith.commands.difference_rows import Section
from tinsmith.commands.single_file import inline_source


def compare_page(sections: Sequence[Section], old: str, new: str) -> str:
    """HTML of the page; every text in it is escaped.

    Args:
        sections: What differs.
        old: Name of the old run.
        new: Name of the new run.
    """
    style = (WEB_DIR / "page.css").read_text(encoding="utf-8")
    policy = f"default-src 'none'; style-src {inline_source(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    return _template().render(sections=sections, old=old, new=new, style=style, policy=policy)


@cache
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=True
    )
    return environment.get_template("compare.html.j2")
