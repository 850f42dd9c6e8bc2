"""The card as pages of the site, and which of its files the site has."""

import html
import re
from itertools import pairwise
from pathlib import Path

from tinsmith.browser.runtime import WEB_DIR

CARD_PAGES = {"README.md": "card.html", "EVIDENCE.md": "evidence.html"}
"""Markdown of the card -> its page in the site."""
_IMAGES = (".png", ".svg", ".jpg", ".webp")


def card_pages(card_dir: Path, title: str) -> dict[str, str]:
    """Name of each page of the card -> its HTML."""
    page = (WEB_DIR / "card.html").read_text(encoding="utf-8")
    texts = {name: (card_dir / file).read_text(encoding="utf-8") for file, name in CARD_PAGES.items()}
    return {name: fill_card_page(page, title, markdown) for name, markdown in texts.items()}


def is_on_site(name: str) -> bool:
    """Whether a file of the card, by its path, lies beside the site's pages too: its pictures."""
    return "/" not in name and Path(name).suffix in _IMAGES


def fill_card_page(page: str, title: str, markdown: str) -> str:
    """`page` with the title and the card's Markdown as HTML. HTML inside the Markdown is shown as text."""
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = renderer.parse(without_front_matter(markdown))
    for token in (child for block in tokens for child in block.children or ()):
        if token.type == "text":
            token.content = re.sub(r"(?<=\d) %", "\u00a0%", token.content)  # a number and its sign stay on one line
        if token.type == "link_open":
            token.attrSet("rel", "noopener noreferrer nofollow")
            token.attrSet("href", _site_address(str(token.attrGet("href"))))
    for opening, content in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", heading_id(content.content))
    body = renderer.renderer.render(tokens, renderer.options, {})
    # Wide code and tables scroll in a box of their own, which a keyboard must be able to reach.
    body = body.replace("<pre>", '<pre tabindex="0">')
    body = body.replace("<table>", '<div class="wide" tabindex="0"><table>').replace("</table>", "</table></div>")
    filled = page.replace("<title>Model card</title>", f"<title>{html.escape(title)}: model card</title>")
    return filled.replace("<!-- title -->", html.escape(title)).replace("<!-- card -->", body)


def _site_address(address: str) -> str:
    """Where a link of the card leads on the site: its pages lie beside each other, its other files beside the model."""
    file, mark, part = address.partition("#")
    if not file or "/" in file or ":" in file:
        return address
    return CARD_PAGES.get(file, f"model/{file}") + mark + part


def heading_id(text: str) -> str:
    """The id that model hubs give a heading, so that the card's links work on all of them."""
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def without_front_matter(markdown: str) -> str:
    """`markdown` without the block between `---` lines at its start, if it has one."""
    lines = markdown.split("\n")
    if lines[0].strip() != "---" or "---" not in (line.strip() for line in lines[1:]):
        return markdown
    end = next(i for i, line in enumerate(lines[1:], start=1) if line.strip() == "---")
    return "\n".join(lines[end + 1 :])
