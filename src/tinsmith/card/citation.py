"""The citation: one record, written as BibTeX on the card and as CITATION.cff beside it."""

import copy
import re
from dataclasses import dataclass
from typing import Any

from tinsmith.card.facts import NOT_STATED, Facts
from tinsmith.card.license import model_license

_ADDRESS = re.compile(r"https?://\S+")
_EMAIL = re.compile(r"\S+@\S+\.\S{2,}")


@dataclass(frozen=True, slots=True)
class Citation:
    """What a citation of the model says. Empty fields are unknown."""

    key: str
    author: str
    title: str
    year: int | None
    url: str
    version: str
    date: str
    """Day on which the evaluation finished, such as `2026-11-22`."""


def is_address(text: str) -> bool:
    """Whether `text` is a web address that other programs can open."""
    return _ADDRESS.fullmatch(text) is not None


def is_email(text: str) -> bool:
    """Whether `text` is an e-mail address that other programs accept."""
    return _EMAIL.fullmatch(text) is not None


def citation_of(facts: Facts, name: str) -> Citation:
    """The citation of the run `name`, from the author's words and the date of the evaluation."""
    config = facts.config
    stamp = facts.evidence.stamps.get("evaluate")
    date = stamp["finished_at"][:10] if stamp else ""
    year = config.citation_year or (int(date[:4]) if date else None)
    return Citation(
        key=config.citation_key or "-".join([name, str(year)] if year else [name]),
        author=config.author,
        title=config.title or name,
        year=year,
        url=config.url or (f"https://huggingface.co/{config.hub_id}" if config.hub_id else ""),
        version=config.version,
        date=date,
    )


def bibtex(facts: Facts, name: str) -> dict[str, str]:
    """The card's BibTeX entry: its key and fields as LaTeX. What is unknown is marked as such."""
    citation = citation_of(facts, name)
    return {
        "key": citation.key,
        "author": _latex(citation.author or NOT_STATED),
        "title": _latex(citation.title),
        "year": str(citation.year) if citation.year else facts.date(),
        "url": _one_line(citation.url or NOT_STATED),
    }


def _latex(text: str) -> str:
    return re.sub(r"([&%$#_])", r"\\\1", _one_line(text).replace("\\", r"\textbackslash{}"))


def _one_line(text: str) -> str:
    """`text` on one line and without braces, which would end a BibTeX value."""
    return " ".join(text.split()).replace("{", "(").replace("}", ")")


def citation_cff(facts: Facts, name: str) -> bytes | None:
    """CITATION.cff in Citation File Format 1.2.0; None if the author is not stated, because it must name one."""
    import yaml

    citation = citation_of(facts, name)
    if not citation.author:
        return None
    author = {"name": _one_line(citation.author)}
    if is_email(facts.config.email):
        author["email"] = facts.config.email
    common: dict[str, Any] = {"title": _one_line(citation.title), "authors": [author], "version": citation.version}
    if is_address(citation.url):
        common["url"] = citation.url
    cited = copy.deepcopy(common)  # else YAML would name the authors once and refer to them
    tree: dict[str, Any] = {"cff-version": "1.2.0", "message": "If you use this model, please cite it as below."}
    tree |= {"type": "software", **common}
    if citation.date:
        tree["date-released"] = citation.date
    if facts.config.domain:
        tree["abstract"] = f"A chat model for {' '.join(facts.config.domain.split())}."
    license = model_license(facts)
    if license and license.spdx_id:
        tree["license"] = license.spdx_id
    elif license and is_address(license.link):
        tree["license-url"] = license.link
    if citation.year:
        tree["preferred-citation"] = {"type": "generic", **cited, "year": citation.year}
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=1000).encode()
