"""Origin of a base model, before its conversion to the clean form."""

from dataclasses import dataclass
from pathlib import Path

from tinsmith.base.gguf import GgufFacts
from tinsmith.base.license import License
from tinsmith.base.license_files import LicenseFiles


@dataclass(frozen=True, slots=True)
class Source:
    """A Transformers folder on this machine, with its origin."""

    folder: Path
    """Weights, configuration and tokenizer; as downloaded, as given, or converted from a GGUF file."""
    texts: LicenseFiles
    """Licence and notice files: those to publish, and those left out."""
    id: str
    """Name on the card, such as `HuggingFaceTB/SmolLM2-135M-Instruct`."""
    requested: str
    """The configured name without local folders; messages start with it."""
    kind: str
    """`hub`, `local` or `registry`."""
    revision: str | None
    """Commit on the Hub, `package==version` of a registry, None for local files."""
    files: dict[str, str]
    """Upstream file name -> sha256."""
    license: License | None
    """The licence that the files state, if any."""
    gguf: GgufFacts | None
    """None unless the weights come from a GGUF file."""
    may_link: bool
    """Whether the run may hard-link the weights. Not those in a user's own folder, which the user may overwrite."""
