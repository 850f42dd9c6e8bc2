"""Where a base model came from, before it is brought into its clean form."""

from dataclasses import dataclass
from pathlib import Path

from tinsmith.base.gguf import GgufFacts
from tinsmith.base.license import License


@dataclass(frozen=True, slots=True)
class Source:
    """A Transformers folder on this machine and what is known about its origin."""

    folder: Path
    """Weights, configuration and tokenizer; as downloaded, as given, or converted from a GGUF file."""
    texts_folder: Path
    """Where licence and notice files lie."""
    id: str
    """Name on the card, such as `HuggingFaceTB/SmolLM2-135M-Instruct`."""
    requested: str
    """What the configuration asked for, without local folders."""
    kind: str
    """`hub`, `local` or `registry`."""
    revision: str | None
    """Commit on the Hub, `package==version` of a registry, None for local files."""
    files: dict[str, str]
    """Upstream file name -> sha256."""
    license: License | None
    """What the files state, if they do."""
    gguf: GgufFacts | None
    """None unless the weights come from a GGUF file."""
    may_link: bool
    """Whether weights may share disk with the run; not for a person's own folder, which they may overwrite."""
