"""Turn `base.model` into a `Source`: an alias, a Hub model, a local folder, or a local GGUF file."""

import difflib
import hashlib
from pathlib import Path

from tinsmith.base.catalog import ALIASES
from tinsmith.base.gguf import convert
from tinsmith.base.hub import fetch_from_hub
from tinsmith.base.license import from_gguf, from_readme
from tinsmith.base.license_files import LicenseText, folder_files, gguf_files, is_alone
from tinsmith.base.registry import fetch_alias
from tinsmith.base.source import Source
from tinsmith.base.weights import weight_files
from tinsmith.core.config import BaseConfig
from tinsmith.core.errors import BaseModelError
from tinsmith.core.run_dir import file_sha256

_READ = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "README.md",
)
"""Files of a model folder that are read, besides weights and licences."""


def resolve(config: BaseConfig, work: Path) -> Source:
    """Find the base model and bring it onto this machine.

    Args:
        config: The `base` section.
        work: An existing empty folder for a converted GGUF file; must outlive the use of the result.

    Raises:
        BaseModelError: it cannot be found, fetched, verified or read.
        MissingDependency: a program needed to fetch it is not installed.
    """
    if config.model.startswith("hf:"):
        return fetch_from_hub(config.model.removeprefix("hf:"), config.revision)
    path = Path(config.model)
    # Loading the configuration makes local paths absolute. So a relative name is not a path, even if the current folder
    # has a file of that name.
    if not path.is_absolute():
        if config.model in ALIASES:
            return fetch_alias(ALIASES[config.model])
        raise _unknown(config.model)
    if path.is_file() and path.suffix == ".gguf":
        return _gguf_file(path, config.tokenizer, work)
    if path.is_dir():
        return _folder(path)
    raise _unknown(config.model)


def _unknown(model: str) -> BaseModelError:
    if Path(model).is_file():
        return BaseModelError(
            f"base.model = {Path(model).name!r}: a file, but not a .gguf", "Set it to a model folder or a GGUF file."
        )
    close = difflib.get_close_matches(model, ALIASES, n=1)
    return BaseModelError(
        f"base.model = {model!r}: no such alias, folder or file" + (f"; did you mean {close[0]!r}?" if close else ""),
        f"Aliases: {', '.join(ALIASES)}. Or use hf:organisation/name, or the path of a model folder or GGUF "
        "file, relative to the configuration file.",
    )


def _folder(path: Path) -> Source:
    path = path.resolve()
    texts = folder_files(path, "in the model's folder")
    files = _text_hashes(texts.published)
    if (path / "config.json").is_file():
        names = [name for name in (*_READ, *weight_files(path, path.name)) if (path / name).is_file()]
        files |= {name: file_sha256(path / name) for name in names}
    return Source(
        folder=path,
        texts=texts,
        id=path.name,
        requested=path.name,
        kind="local",
        revision=None,
        files=dict(sorted(files.items())),
        license=from_readme(path, path.name),
        gguf=None,
        may_link=False,
    )


def _gguf_file(path: Path, tokenizer: str, work: Path) -> Source:
    files = {path.name: file_sha256(path)}
    tokenizer_json = None
    if tokenizer:
        tokenizer_json = Path(tokenizer) / "tokenizer.json"
        if not tokenizer_json.is_file():
            raise BaseModelError(
                f"base.tokenizer = {Path(tokenizer).name!r}: no tokenizer.json in it",
                "Set it to the folder that contains it.",
            )
        files[tokenizer_json.name] = file_sha256(tokenizer_json)
    facts = convert(path, tokenizer_json, work)
    texts = gguf_files(path)
    stated = from_gguf(facts)
    if stated is None and is_alone(path):
        stated = from_readme(path.parent, path.name)
    return Source(
        folder=work,
        texts=texts,
        id=path.stem,
        requested=path.name,
        kind="local",
        revision=None,
        files=files | _text_hashes(texts.published),
        license=stated,
        gguf=facts,
        may_link=True,
    )


def _text_hashes(texts: tuple[LicenseText, ...]) -> dict[str, str]:
    return {text.name: hashlib.sha256(text.content).hexdigest() for text in texts}
