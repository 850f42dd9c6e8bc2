"""Which licence a base model states, and which texts must travel with it. A licence is never assumed."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinsmith.base.gguf import GgufFacts
from tinsmith.core.errors import BaseModelError

_KNOWN = {
    "apache-2.0": ("Apache License 2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
    "mit": ("MIT License", "https://opensource.org/license/mit"),
    "gemma": ("Gemma Terms of Use", "https://ai.google.dev/gemma/terms"),
    "llama3": ("Meta Llama 3 Community License", "https://www.llama.com/llama3/license/"),
    "llama3.1": ("Llama 3.1 Community License", "https://www.llama.com/llama3_1/license/"),
    "llama3.2": ("Llama 3.2 Community License", "https://www.llama.com/llama3_2/license/"),
}

_TEXT_NAMES = ("license", "licence", "notice", "copying", "use_policy", "gemma_terms", "terms")
_TEXT_ENDINGS = ("", ".txt", ".md", ".html")

GEMMA_NOTICE = "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms\n"
"""The notice that must accompany every copy or derivative. Source: Gemma Terms of Use, section 3.1."""


@dataclass(frozen=True, slots=True)
class License:
    """A licence as the Hugging Face Hub names it."""

    id: str
    name: str
    link: str
    stated_in: str
    """Where the statement was found: `README.md`, `GGUF metadata`, `base.license`."""
    warning: str = ""
    """Set if the configuration says something else."""


def named(license_id: str, stated_in: str, name: str = "", link: str = "") -> License:
    """The licence with this id; name and link fall back to the well-known ones, else to the id and nothing."""
    known_name, known_link = _KNOWN.get(license_id, (license_id, ""))
    return License(license_id, name or known_name, link or known_link, stated_in)


def from_readme(folder: Path) -> License | None:
    """The licence in the front matter of a model folder's `README.md`, if it states one.

    Raises:
        BaseModelError: the front matter is not YAML.
    """
    readme = folder / "README.md"
    if not readme.is_file():
        return None
    front = _front_matter(readme)
    value = front.get("license")
    if not value:
        return None
    return named(str(value), "README.md", str(front.get("license_name") or ""), str(front.get("license_link") or ""))


def from_gguf(facts: GgufFacts) -> License | None:
    """The licence in a GGUF file's metadata, if it states one."""
    if not facts.license:
        return None
    return named(facts.license, "GGUF metadata", facts.license_name, facts.license_link)


def _front_matter(readme: Path) -> dict[str, Any]:
    import yaml

    lines = readme.read_text(encoding="utf-8", errors="replace").split("\n")
    if lines[0].strip() != "---" or "---" not in (line.strip() for line in lines[1:]):
        return {}
    end = next(number for number, line in enumerate(lines[1:], start=1) if line.strip() == "---")
    try:
        front = yaml.safe_load("\n".join(lines[1:end]))
    except yaml.YAMLError as error:
        raise BaseModelError(
            f"{readme.parent.name}/README.md: its front matter is not YAML ({error})",
            "Mend it, or remove it and set base.license.",
        ) from error
    return front if isinstance(front, dict) else {}


def settle(found: License | None, configured: str, where: str) -> License:
    """The licence to carry: what the files state, else what the person stated.

    Raises:
        BaseModelError: neither states one.
    """
    if found is None and not configured:
        raise BaseModelError(
            f"{where}: no licence stated in README.md or GGUF metadata",
            'Find out under which licence the model may be used and set it: base.license = "apache-2.0"',
        )
    if found is None:
        return named(configured, "base.license")
    if configured and configured != found.id:
        return replace(
            found,
            warning=f"base.license says {configured!r} but the model's {found.stated_in} says {found.id!r}; "
            f"{found.id!r} is carried over",
        )
    return found


def license_texts(folder: Path) -> list[Path]:
    """Licence, notice and terms files directly in `folder`, sorted by name."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.suffix.lower() in _TEXT_ENDINGS and path.stem.lower().startswith(_TEXT_NAMES)
    )


def place_texts(license: License, folder: Path, model_dir: Path) -> list[str]:
    """Names of the licence texts put into `model_dir`: those of `folder`, and a required notice it lacks."""
    texts = license_texts(folder)
    for path in texts:
        shutil.copyfile(path, model_dir / path.name)
    names = [path.name for path in texts]
    if license.id == "gemma" and not any(_has_gemma_notice(path) for path in texts):
        (model_dir / "NOTICE.txt").write_text(GEMMA_NOTICE, encoding="utf-8")
        names = sorted({*names, "NOTICE.txt"})
    return names


def _has_gemma_notice(path: Path) -> bool:
    is_notice = path.stem.lower().startswith("notice")
    return is_notice and GEMMA_NOTICE.strip() in path.read_text(encoding="utf-8", errors="replace")
