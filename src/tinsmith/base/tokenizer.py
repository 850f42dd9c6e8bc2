"""Write the base's tokenizer in its clean form, with the family's chat template."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.base.chat_template import MAX_TEMPLATE_CHARACTERS
from tinsmith.base.model_json import INVALID, check_tokenizer, read_object
from tinsmith.core.errors import BaseModelError
from tinsmith.core.run_dir import write_json, write_text
from tinsmith.model.families import family_of
from tinsmith.model.tokens import ChatTokenizer, load_tokenizer

_TOKEN_KEYS = ("bos_token", "eos_token", "pad_token", "unk_token")


@dataclass(frozen=True, slots=True)
class PlacedTokenizer:
    """The clean tokenizer, with what was dropped from the base's."""

    chat: ChatTokenizer
    base_template: str | None
    """The base's own chat template, if it has one."""
    dropped: tuple[str, ...]
    """Added tokens left out because the model has no embedding row for them."""


def place_tokenizer(folder: Path, where: str, config: Any, model_dir: Path) -> PlacedTokenizer:
    """Write the tokenizer files and `chat_template.jinja` beside the `config.json` in `model_dir`.

    Raises:
        BaseModelError: no tokenizer, one with more tokens than the model, or a chat format that is not supported.
    """
    if not (folder / "tokenizer.json").is_file():
        raise BaseModelError(
            f"{where}: no tokenizer.json",
            "Save it with a fast tokenizer: AutoTokenizer.from_pretrained(...).save_pretrained(folder)",
        )
    tree = check_tokenizer(folder / "tokenizer.json", where)
    dropped = _drop_tokens_without_row(where, tree, config.vocab_size)
    vocabulary = _vocabulary(tree)
    try:
        family = family_of(config.model_type, vocabulary)
    except BaseModelError as error:
        raise BaseModelError(f"{where}: {error.message}", error.hint) from error
    own = _own_config(folder, where)
    by_id = {token_id: token for token, token_id in vocabulary.items()}
    clean: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    for key in _TOKEN_KEYS:
        token = _text(own.get(key)) or by_id.get(_first(getattr(config, f"{key}_id", None)))
        if token in vocabulary:
            clean[key] = token
    # Batches need a padding token. Padding is masked out, so an end token will do.
    ends = [token for token in (*family.also_ends, family.end_of_turn) if token in vocabulary]
    clean.setdefault("pad_token", ends[0])
    clean |= {
        "model_max_length": config.max_position_embeddings,
        "clean_up_tokenization_spaces": False,
        "chat_template": family.chat_template,
    }
    write_json(model_dir / "tokenizer_config.json", clean)
    write_text(model_dir / "chat_template.jinja", family.chat_template)
    if dropped:
        write_json(model_dir / "tokenizer.json", tree)
    else:
        write_text(model_dir / "tokenizer.json", (folder / "tokenizer.json").read_text(encoding="utf-8"))
    return PlacedTokenizer(_load(model_dir, where), _own_template(folder, own, where), dropped)


def _load(model_dir: Path, where: str) -> ChatTokenizer:
    try:
        return load_tokenizer(model_dir)
    except INVALID as error:
        raise BaseModelError(
            f"{where}/tokenizer.json: unexpected contents ({' '.join(repr(error).split())[:200]})",
            "Download the model again, or choose another.",
        ) from error


def _vocabulary(tree: dict[str, Any]) -> dict[str, int]:
    return dict(tree["model"]["vocab"]) | {added["content"]: added["id"] for added in tree.get("added_tokens", [])}


def _drop_tokens_without_row(where: str, tree: dict[str, Any], rows: int) -> tuple[str, ...]:
    """Remove added tokens whose id is past the embedding, such as Gemma's image token in its text models."""
    beyond = [token for token, token_id in tree["model"]["vocab"].items() if token_id >= rows]
    if beyond:
        raise BaseModelError(
            f"{where}: tokenizer.json has {len(beyond)} tokens the model has no embedding row for (it has {rows})",
            "Tokenizer and weights must come from the same model.",
        )
    added = tree.get("added_tokens", [])
    dropped = tuple(token["content"] for token in added if token["id"] >= rows)
    tree["added_tokens"] = [token for token in added if token["id"] < rows]
    return dropped


def _own_config(folder: Path, where: str) -> dict[str, Any]:
    own: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            own |= read_object(folder / name, where)
    return own


def _own_template(folder: Path, own: dict[str, Any], where: str) -> str | None:
    """The text of `chat_template.jinja`, else the template in the tokenizer's configuration, which may hold several."""
    path = folder / "chat_template.jinja"
    template = own.get("chat_template")
    if path.is_file():
        with path.open("rb") as file:
            template = file.read(4 * MAX_TEMPLATE_CHARACTERS + 1).decode("utf-8", errors="replace")
    elif isinstance(template, list):
        template = next((entry["template"] for entry in template if _is_default(entry)), None)
    if template is not None and (not isinstance(template, str) or len(template) > MAX_TEMPLATE_CHARACTERS):
        raise BaseModelError(
            f"{where}: its chat template is not a text of at most {MAX_TEMPLATE_CHARACTERS} characters",
            "Download the model again, or choose another.",
        )
    return template or None


def _is_default(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("name") == "default" and "template" in entry


def _text(token: Any) -> str | None:
    """A special token's text, written either plainly or as an object with `content`."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None


def _first(token_id: Any) -> Any:
    return token_id[0] if isinstance(token_id, list) and token_id else token_id
