"""The files of a card that follow from the run alone. The stage writes them, and the check renders them again."""

from tinsmith.card.bom import BOM_FILE, bom
from tinsmith.card.citation import citation_cff
from tinsmith.card.croissant import CROISSANT_FILE, croissant
from tinsmith.card.evidence import Evidence
from tinsmith.card.facts import Facts
from tinsmith.card.published import CHECKSUMS, checksums, evidence_files
from tinsmith.card.render import render
from tinsmith.card.schema import SCHEMA_FILE, schema_bytes
from tinsmith.card.snippet_run import SnippetRun
from tinsmith.core.config import CardConfig


def card_files(evidence: Evidence, config: CardConfig, name: str, runs: dict[str, SnippetRun]) -> dict[str, bytes]:
    """Name -> content of each file. The same evidence gives the same bytes.

    Args:
        evidence: From the run folder.
        config: The author's words.
        name: The run's name.
        runs: Results of running the How-to-Use code, by its form.
    """
    evidence.reads.clear()
    facts = Facts(evidence, config)
    card = render(evidence, config, name, runs)
    files = {
        **{file: text.encode() for file, text in card.texts.items()},
        **{file: drawing.png() for file, drawing in card.drawings.items()},
        SCHEMA_FILE: schema_bytes(),
        BOM_FILE: bom(facts, name),
        CROISSANT_FILE: croissant(facts, name),
        "CITATION.cff": citation_cff(facts, name),
    }
    written = {file: content for file, content in files.items() if content is not None}
    written |= evidence_files(evidence)
    return {**written, CHECKSUMS: checksums(written)}
