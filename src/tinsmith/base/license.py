"""Find a base model's licence and the texts that must be published with it. A licence is never assumed."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinsmith.base.gguf import GgufFacts
from tinsmith.base.license_files import LicenseText, readme_of
from tinsmith.core.errors import BaseModelError

_KNOWN = {
    "apache-2.0": ("Apache License 2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
    "mit": ("MIT License", "https://opensource.org/license/mit"),
    "gemma": ("Gemma Terms of Use", "https://ai.google.dev/gemma/terms"),
    "llama3": ("Meta Llama 3 Community License", "https://www.llama.com/llama3/license/"),
    "llama3.1": ("Llama 3.1 Community License", "https://www.llama.com/llama3_1/license/"),
    "llama3.2": ("Llama 3.2 Community License", "https://www.llama.com/llama3_2/license/"),
}
"""Licence id -> name and link."""

_MAX_FRONT_MATTER = 1 << 18
"""Longest front matter of a README, in characters. Those with tables of results have 100,000."""

GEMMA_NOTICE = "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms\n"
"""Must accompany every copy or derivative. Source: Gemma Terms of Use, section 3.1."""


@dataclass(frozen=True, slots=True)
class License:
    """A licence as the Hugging Face Hub names it."""

    id: str
    name: str
    link: str
    stated_in: str
    """Where it is stated: `README.md`, `GGUF metadata`, `base.license`."""
    warning: str = ""
    """Set if the configuration contradicts the files."""


def named(license_id: str, stated_in: str, name: str = "", link: str = "") -> License:
    """The licence with this id. A missing name or link is filled in if the licence is well known."""
    known_name, known_link = _KNOWN.get(license_id, (license_id, ""))
    return License(license_id, name or known_name, link or known_link, stated_in)


def from_readme(folder: Path, where: str) -> License | None:
    """The licence in the front matter of a model folder's README, if it states one.

    Raises:
        BaseModelError: the front matter is not YAML.
    """
    readme = readme_of(folder)
    if readme is None:
        return None
    front = _front_matter(readme, where)
    value = front.get("license")
    # Only texts: the text of a list could be endless, because YAML's aliases can repeat it in itself.
    name, link = (text if isinstance(text := front.get(f"license_{key}"), str) else "" for key in ("name", "link"))
    return named(value, readme.name, name, link) if isinstance(value, str) and value else None


def from_gguf(facts: GgufFacts) -> License | None:
    """The licence in a GGUF file's metadata, if it states one."""
    if not facts.license:
        return None
    return named(facts.license, "GGUF metadata", facts.license_name, facts.license_link)


def _front_matter(readme: LicenseText, where: str) -> dict[str, Any]:
    import yaml

    lines = readme.content.decode().split("\n")
    if lines[0].strip() != "---" or "---" not in (line.strip() for line in lines[1:]):
        return {}
    end = next(number for number, line in enumerate(lines[1:], start=1) if line.strip() == "---")
    text = "\n".join(lines[1:end])
    if len(text) > _MAX_FRONT_MATTER:
        raise BaseModelError(
            f"{where}/{readme.name}: its front matter has {len(text)} characters", "Remove it and set base.license."
        )
    try:
        front = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # builds plain values only
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BaseModelError(
            f"{where}/{readme.name}: its front matter is not YAML ({error})",
            "Correct it, or remove it and set base.license.",
        ) from error
    return front if isinstance(front, dict) else {}


def settle(stated: License | None, configured: str, where: str) -> License:
    """The licence that applies: the one the files state, else the configured one.

    Raises:
        BaseModelError: neither exists.
    """
    if stated is None and not configured:
        raise BaseModelError(
            f"{where}: no licence stated in README.md or GGUF metadata",
            'Find out under which licence the model may be used and set it: base.license = "apache-2.0"',
        )
    if stated is None:
        return named(configured, "base.license")
    if configured and configured != stated.id:
        warning = (
            f"base.license says {configured!r} but the model's {stated.stated_in} says {stated.id!r}; {stated.id!r} "
            "applies"
        )
        return replace(stated, warning=warning)
    return stated


def place_texts(license: License, texts: tuple[LicenseText, ...], model_dir: Path) -> list[str]:
    """Write the licence texts, and a required notice they lack, into `model_dir`; returns their names, sorted."""
    contents = {text.name: text.content for text in texts}
    if license.id == "gemma" and not any(_is_gemma_notice(text) for text in texts):
        name = "NOTICE.txt" if "NOTICE.txt" not in contents else "GEMMA_NOTICE.txt"
        contents[name] = GEMMA_NOTICE.encode()
    for name, content in contents.items():
        (model_dir / name).write_bytes(content)
    return sorted(contents)


def _is_gemma_notice(text: LicenseText) -> bool:
    return text.name.lower().startswith("notice") and GEMMA_NOTICE.strip() in text.content.decode()
