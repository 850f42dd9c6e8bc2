"""The report names what matters first, shows every text as text, and needs nothing but itself."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from fake_data_report import change, empty_report, full_report, plural_report, side
from tinsmith.browser.chromium import Browser
from tinsmith.browser.serve import SiteServer
from tinsmith.data.advice import MOST, advice
from tinsmith.data.features import flags
from tinsmith.data.meanings import MEANINGS
from tinsmith.data.not_used import UNUSED_FIELDS
from tinsmith.data.report_page import plain, report_html, report_markdown, visible, write_report
from tinsmith.model.conversations import Conversation, Message

HOSTILE = (
    '"><script>alert(1)</script><img src=x onerror=alert(2)> [x](javascript:alert(3)) `a` *b* | \x1b[31m \u202eabc'
)


class Elements(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.ids, self.links = set(), set(), set(), set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}
        self.ids |= {value for name, value in attributes if name == "id"}
        self.links |= {value for name, value in attributes if name in ("href", "src")}


def test_nothing_wrong_needs_no_attention():
    assert advice(empty_report()) == ()
    page = report_html(empty_report())
    assert "Nothing needs your attention" in page and "No record was left out." in page
    assert "Left out" not in page and "Worth a look" not in page


def test_what_matters_comes_first_and_is_no_more_than_ten_sentences():
    texts = [one.text for one in advice(full_report())]
    assert texts == [
        "40 of 1,100 records were left out; message is empty plain, such as plain, plain.",
        "A field with content is not used: context (9 records).",
        "A pair of answers seems to contradict each other, such as those to “plain”: 5000 SEK or no.",
        "A name is spelled in two ways, such as plain (9) and plain (9).",
        "2 conversations are longer than data.max_tokens: the last messages were cut off.",
        "In 300 conversations the answer ends with a sentence that many share: “plain”.",
        "In 5 conversations there is HTML in the text, such as plain, plain.",
        "In 2 conversations the answer has no content, such as plain, plain.",
        "In 1 conversation the answer seems cut off, such as plain, plain.",
        "Others stand out for other reasons: answer repeats its question (2).",
    ]
    assert len(texts) == MOST


@pytest.mark.parametrize(("name", "report"), [("full", full_report()), ("plural", plural_report())])
def test_the_report_is_the_golden_one(name, report, pytestconfig, monkeypatch):
    """With all of the advice, however much there is."""
    monkeypatch.setattr("tinsmith.data.advice.MOST", 99)
    text, golden = report_markdown(report), Path(__file__).parent / f"golden_{name}_report.md"
    if pytestconfig.getoption("--update-golden"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8"), "if the new report is right: make golden, and commit the change"


def test_advice_leads_to_the_section_that_shows_more(monkeypatch):
    monkeypatch.setattr("tinsmith.data.advice.MOST", 99)
    ids = set(re.findall('id="([a-z-]+)"', report_html(plural_report())))
    sections = [one.section for one in advice(plural_report())]
    assert sections == [
        *("flagged", "flagged", "left-out", "not-used", "contradictions", "spellings", "changed"),
        *("flagged", "flagged", "flagged", "flagged", "flagged", "numbers"),
        *(
            "near-duplicates",
            "near-duplicates",
            "left-out",
            "numbers",
            "categories",
            "categories",
            "numbers",
            "not-used",
        ),
    ]
    assert set(sections) <= ids


def test_the_contents_name_each_section_with_its_count():
    page = report_html(plural_report())
    assert re.findall('<a href="#([a-z-]+)">([^<]*?)(?: <span class="count">([0-9,]+)</span>)?</a>', page) == [
        ("came-in", "What came in", ""),
        ("left-out", "Left out", "1,751"),
        ("changed", "Changed", "41"),
        ("flagged", "Worth a look", "3,500"),
        ("spellings", "Spelled in two ways", "2"),
        ("contradictions", "Contradictions", "2"),
        ("near-duplicates", "Nearly the same", "31"),
        ("not-used", "Not used", "27"),
        ("categories", "Categories", "6"),
        ("numbers", "Length, language, split", ""),
        ("published", "Published", ""),
    ]
    assert Elements(page).links <= {f"#{id}" for id in Elements(page).ids}


def test_private_data_comes_before_everything_else():
    report = full_report()
    report["changes"].append(change("flagged", "e-mail address", 7))
    assert (
        advice(report)[0].text == "In 7 conversations there is private data: e-mail address, such as a.jsonl, line 3."
    )


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"languages": {"counts": {"en": 600, "sv": 390, "": 10}, "usual": ""}}, "in 2 languages: en 61%, sv 39%"),
        ({"repeated_questions": {"questions": 3, "conversations": 7, "example": "Why?"}}, "3 questions have more than"),
        ({"near_duplicates": {"conversations": 400, "clusters": 90, "examples": []}}, "400 of 1,000 questions"),
        ({"records": {**empty_report()["records"], "duplicate": 100}}, "100 records are exact copies"),
        (
            {"categories": [{"name": "a", "count": 997, "share": 0.997}, {"name": "b", "count": 3, "share": 0.003}]},
            "A category has fewer than 5 conversations: b (3).",
        ),
        (
            {
                "unused": [
                    *({"name": f"{n}.json: label", "reason": UNUSED_FIELDS, "count": 2} for n in range(3)),
                    *({"name": f"{n}.txt", "reason": "hidden files", "count": 1} for n in range(6)),
                    *({"name": f"{n}.json: about", "reason": "fields around", "count": 1} for n in range(4)),
                ]
            },
            "Not used: the field label; about in 4 files; the files 0.txt, 1.txt, 2.txt and 3 more.",
        ),
        (
            {"form": {**empty_report()["form"], "blocks": 900, "long_blocks": 400}},
            "on one line in 500 conversations, and over several lines in 400.",
        ),
        ({"splits": {"train": 80, "val": 10, "test": 10}}, "There are only 100 conversations, and 10 of them measure"),
    ],
)
def test_each_problem_of_the_whole_data(changed, expected):
    assert expected in advice(empty_report() | changed)[0].text


def test_every_flag_has_a_meaning():
    messages = (
        Message("user", "<b>How</b> do I get there?"),
        Message("assistant", "As an AI language model <think>caf\ufffd {{name}} <pad>【1†a】 turn left,"),
    )
    reasons = {flag.reason for flag in flags(Conversation("1", "c", messages))}
    assert len(reasons) == 8 and reasons <= set(MEANINGS)


def test_the_page_shows_every_text_as_text_and_loads_nothing():
    page = report_html(full_report(HOSTILE))
    elements = Elements(page)
    assert not elements.tags & {"script", "img", "iframe", "object", "embed", "form", "base", "link"}
    assert not any(name == "style" or name.startswith("on") for name in elements.attributes)
    assert all(link.startswith("#") for link in elements.links)
    assert {link[1:] for link in elements.links} <= elements.ids
    assert "\x1b" not in page and "\u202e" not in page and "\\u001b[31m \\u202eabc" in page
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'" in page


def test_the_markdown_shows_every_text_as_text():
    text = report_markdown(full_report(HOSTILE))
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    types = {child.type for token in tokens for child in [token, *(token.children or [])]}
    assert not types & {"html_block", "html_inline", "link_open", "image", "code_inline", "em_open", "fence"}
    rows = MarkdownIt("commonmark").enable("table").render(text)
    assert rows.count("&lt;script&gt;alert(1)&lt;/script&gt;") == HOSTILE_PLACES
    assert "\n\n\n" not in text


HOSTILE_PLACES = report_markdown(full_report("HERE")).count("HERE")


def test_a_reason_becomes_a_title_with_its_spaces():
    report = empty_report()
    report["changes"] = [change("flagged", "a phone number", 1)]
    assert "<h3>A phone number <span" in report_html(report)
    assert "\n### A phone number (1)\n" in report_markdown(report)


def test_values_are_marked_as_the_statement_writes_them():
    report = empty_report()
    pair = {
        "first": side("Q", "It costs 5,000-15,000 SEK, not 15000 or $60.5, but $60.", "5,000-15,000 SEK", "$60"),
        "second": side("Q", "Yes, 4 years; yesterday 14 years.", "4 years", "yes"),
    }
    page = report_html(report | {"contradictions": [pair]})
    assert re.findall("<mark>(.*?)</mark>", page) == ["5,000-15,000 SEK", "$60", "Yes", "4 years"]


def test_long_lists_end_with_how_many_more():
    report = empty_report()
    report["changes"] = [change("dropped", "message is empty", 1_234_567)]
    report["records"]["dropped"] = 1_234_567
    report["contradictions"] = [{"first": side("Q", "1", "1"), "second": side("Q", "2", "2")}] * 1000
    report["categories"] = [{"name": f"c{n}", "count": 20, "share": 0.02} for n in range(5000)]
    report["files"] = {f"f{n}.json": "0" for n in range(5000)}
    page = report_html(report)
    for expected in ("And 1,234,566 more", "And 900 more in report.json", "And 4,950 smaller ones", "And 4,900 more"):
        assert expected in page
    assert len(page) < 200_000


def test_markdown_and_control_characters_are_escaped():
    assert plain("1. a_b* <c>\nd") == r"1\. a\_b\* \<c\> d"
    assert visible({"a": ["\x00\n", 1]}) == {"a": ["\\u0000\n", 1]}


@pytest.mark.browser
def test_the_page_obeys_its_policy_and_fits_a_phone(tmp_path):
    write_report(tmp_path / "report.html", full_report("a very long " + "word" * 60))
    with Browser(webgpu="none") as browser, SiteServer({"/": tmp_path}) as server:
        page = browser.open(f"{server.origin}/report.html")
        page.screenshot(tmp_path / "shot.png", 360, 800)
        widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert widths[0] <= widths[1]
        bars = page.evaluate(
            "[...document.querySelectorAll('svg rect')].map((bar) => bar.getBoundingClientRect().width)"
        )
        assert max(bars) > 20 and min(bars) >= 0
        assert page.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") == "896px"
        assert page.console == []
