"""BibTeX and CITATION.cff say the same, and what the author left open stays open."""

import json
import re

import pytest
import yaml

from fake_run import AUTHOR, write_run
from tinsmith.card.citation import bibtex, citation_cff
from tinsmith.card.evidence import read_evidence
from tinsmith.card.facts import NOT_STATED, Facts
from tinsmith.card.license import _SPDX_IDS, HUB_LICENSES, license_metadata, license_text, model_license, spdx_id
from tinsmith.core.config import CardConfig
from tinsmith.core.run_dir import read_json, write_json
from validators import citation_errors, citation_schema


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "tea-bot")


def facts_of(run, **author) -> Facts:
    return Facts(read_evidence(run), CardConfig(**author))


@pytest.mark.parametrize(
    "author",
    [
        AUTHOR,
        {"author": "Ada"},
        {"author": "Zoë\nO'Neil: {&}", "title": "- a: b # c", "email": "not an address", "url": "tea.example"},
        {"author": "Ada", "license": "My own", "license_link": "https://tea.example/licence", "citation_year": 2025},
    ],
)
def test_the_citation_file_is_valid(run, author):
    assert citation_errors(citation_cff(facts_of(run, **author), "tea-bot")) == []


def test_the_schema_refuses_a_key_it_does_not_know_and_a_missing_author(run):
    tree = yaml.safe_load(citation_cff(facts_of(run, **AUTHOR), "tea-bot"))
    assert citation_errors(json.dumps({**tree, "perplexity": 9}).encode())
    del tree["authors"]
    assert citation_errors(json.dumps(tree).encode())


def test_both_forms_say_the_same(run):
    facts = facts_of(run, **AUTHOR, citation_key="ada:2025", citation_year=2025)
    entry, tree = bibtex(facts, "tea-bot"), yaml.safe_load(citation_cff(facts, "tea-bot"))
    assert entry == {
        "key": "ada:2025",
        "author": "Ada Teapot",
        "title": "Tea Shop",
        "year": "2025",
        "url": "https://tea.example/bot",
    }
    cited = tree["preferred-citation"]
    assert (cited["authors"], cited["title"], cited["year"], cited["url"]) == (
        [{"name": "Ada Teapot", "email": "ada@tea.example"}],
        "Tea Shop",
        2025,
        "https://tea.example/bot",
    )
    assert (tree["date-released"], tree["version"]) == ("2026-11-22", "1.0.0")


def test_what_the_author_left_out_is_marked_and_not_made_up(run, tmp_path):
    facts = facts_of(run)
    assert citation_cff(facts, "tea-bot") is None
    assert bibtex(facts, "tea-bot") == {
        "key": "tea-bot-2026",
        "author": NOT_STATED,
        "title": "tea-bot",
        "year": "2026",
        "url": NOT_STATED,
    }
    unevaluated = facts_of(write_run(tmp_path / "tea-bot", ("base",)), author="Ada")
    assert bibtex(unevaluated, "tea-bot")["year"].startswith("Not measured: the evaluate stage")
    assert bibtex(unevaluated, "tea-bot")["key"] == "tea-bot"
    tree = yaml.safe_load(citation_cff(unevaluated, "tea-bot"))
    assert citation_errors(citation_cff(unevaluated, "tea-bot")) == []
    assert not {"date-released", "preferred-citation", "url"} & set(tree)


def test_a_title_cannot_break_the_entry(run):
    entry = bibtex(facts_of(run, title="Tea & {50 %}\n of_it\\", author="A"), "tea-bot")
    assert entry["title"] == r"Tea \& (50 \%) of\_it\textbackslash{}"


@pytest.mark.parametrize("key", ["a b", "a,b", "{a}", "-a", "ä"])
def test_a_key_that_bibtex_cannot_read_is_refused(key):
    with pytest.raises(ValueError, match="citation_key"):
        CardConfig(citation_key=key)


def with_base_license(tmp_path, record: dict):
    run = write_run(tmp_path / "tea-bot", ("base",))
    base = run.stage("base") / "base.json"
    write_json(base, {**read_json(base), "license": record})
    return run


APACHE = {"id": "apache-2.0", "name": "Apache License 2.0", "link": "https://www.apache.org/licenses/LICENSE-2.0"}


@pytest.mark.parametrize(
    ("base", "author", "expected"),
    [
        (APACHE, {}, {"license": "apache-2.0"}),
        (APACHE, {"license": "CC-BY-NC-4.0"}, {"license": "cc-by-nc-4.0"}),
        (
            APACHE,
            {"license": "Tea Licence v2", "license_link": "https://tea.example/licence"},
            {"license": "other", "license_name": "tea-licence-v2", "license_link": "https://tea.example/licence"},
        ),
        ({"id": "gemma"}, {"license": "MIT"}, {"license": "gemma"}),
        ({"id": "llama3.2"}, {"license": "MIT"}, {"license": "llama3.2"}),
        ({}, {"license": "MIT"}, {"license": "mit"}),
    ],
)
def test_the_authors_licence_counts_unless_the_bases_terms_bind(tmp_path, base, author, expected):
    assert license_metadata(facts_of(with_base_license(tmp_path, base), **author)) == expected


@pytest.mark.parametrize(
    ("author", "expected"),
    [
        ({"license": "mit"}, {"license": "MIT"}),
        ({"license": "Ours", "license_link": "https://tea.example/l"}, {"license-url": "https://tea.example/l"}),
        ({"license": "Ours", "license_link": "see the shop"}, {}),
        ({}, {}),
    ],
)
def test_the_citation_names_a_licence_that_others_can_look_up(tmp_path, author, expected):
    facts = facts_of(with_base_license(tmp_path, {}), author="Ada", **author)
    tree = yaml.safe_load(citation_cff(facts, "tea-bot"))
    assert {key: value for key, value in tree.items() if key.startswith("license")} == expected


def test_the_card_names_both_licences(tmp_path):
    run = with_base_license(tmp_path, APACHE)
    text = license_text(facts_of(run, license="MIT"))
    assert text.startswith("MIT *(author's words)*.") and "Apache License 2.0 (`apache-2.0`)" in text
    run = with_base_license(tmp_path / "2", {"id": "gemma", "name": "Gemma Terms of Use"})
    text = license_text(facts_of(run, license="MIT"))
    assert (
        "bind every model made from the base model" in text
        and "The author states MIT *(author's words)* for what they added." in text
    )
    assert "Gemma is provided under" in text


def test_spdx_ids_are_those_of_the_citation_format(run):
    allowed = set(citation_schema()["definitions"]["license-enum"]["enum"])
    assert set(_SPDX_IDS.values()) <= allowed
    assert spdx_id("APACHE-2.0") == "Apache-2.0" and spdx_id("gemma") is None
    assert model_license(facts_of(run)).spdx_id is None
    spdx_ids = {one.lower() for one in allowed}
    assert {id for id in HUB_LICENSES if id in spdx_ids} <= set(_SPDX_IDS), "a Hub id that is an SPDX id too"


def test_the_card_folder_has_the_citation(full_run):
    content = (full_run.stage("card") / "CITATION.cff").read_bytes()
    page = (full_run.stage("card") / "README.md").read_text()
    assert citation_errors(content) == []
    assert re.search(r"year = \{2026\}", page) and yaml.safe_load(content)["preferred-citation"]["year"] == 2026
