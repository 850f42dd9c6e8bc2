"""HTML and Markdown are read as a visitor reads them."""

import pytest

from tinsmith.documents.blocks import MAX_SECTION_CHARACTERS, Block, Document, sections_of
from tinsmith.documents.html_blocks import html_document
from tinsmith.documents.text_blocks import markdown_document, plain_document


def sections(document):
    return [(" > ".join(section.headings), section.text) for section in sections_of(document)]


def test_headings_make_sections_with_their_path():
    page = """<title>Shop | Help</title><h1>Help</h1><p>Intro.</p><h2 id=ret>Returns</h2><h3>Refunds</h3>
        <p>Within <b>14 days</b>,<br>in person.</p><h2>Hire</h2><p>From $18.</p>"""
    document = html_document(page)
    assert sections(document) == [
        ("Help", "Intro."),
        ("Help > Returns > Refunds", "Within 14 days,\nin person."),
        ("Help > Hire", "From $18."),
    ]
    assert document.title == "Shop | Help"


@pytest.mark.parametrize(
    "unread",
    [
        "<script>secret</script>",
        "<style>secret</style>",
        "<nav><ul><li>secret<li>secret</ul></nav>",
        "<div hidden>secret</div>",
        "<div aria-hidden=true><p>secret</div>",
        "<p style='display: none'>secret</p>",
        "<template>secret</template>",
        "<select><option>secret<option>secret</select>",
        "<button>secret</button>",
        "<!-- secret -->",
        "<svg><title>secret</title></svg>",
    ],
)
def test_what_a_visitor_does_not_read_is_dropped(unread):
    document = html_document(f"<title>T</title><p>before</p>{unread}<p>after</p>")
    assert sections(document) == [("T", "before\n\nafter")]


def test_lists_keep_their_marks_and_nesting():
    page = "<p>You need:<ul><li>a pump<li>levers<ul><li>two</ul></ul><ol start=3><li>Turn<li>Push</ol>"
    text = "You need:\n\n- a pump\n- levers\n  - two\n3. Turn\n4. Push"
    assert sections(html_document(page)) == [("", text)]


def test_tables_become_lines_with_their_header():
    page = """<table><thead><tr><th>Bike<th>Day<th>Week</thead>
        <tr><td rowspan=2>City<td>$18<td>$80<tr><td>$16<td>$70</table>"""
    assert [block.text for block in html_document(page).blocks] == [
        "Bike | Day | Week",
        "City | $18 | $80",
        "City | $16 | $70",
    ]


def test_a_table_that_is_cut_repeats_its_header():
    rows = "".join(f"<tr><td>Part number {n} with a long name<td>${n}" for n in range(60))
    pieces = [text for _, text in sections(html_document(f"<table><tr><th>Part<th>Price{rows}</table>"))]
    assert len(pieces) > 2
    assert all(piece.startswith("Part | Price\n") for piece in pieces)
    assert sum(piece.count("Part number") for piece in pieces) == 60


def test_a_table_for_layout_is_read_as_paragraphs():
    assert [b.kind for b in html_document("<table><tr><td>One</td></tr><tr><td>Two</td></tr></table>").blocks] == [
        "paragraph",
        "paragraph",
    ]


def test_definition_lists_and_details_keep_question_and_answer_together():
    page = "<h1>FAQ</h1><dl><dt>Lead time<dd>Two days</dl><details><summary>Deposit?</summary>$50.</details><p>End."
    assert sections(html_document(page)) == [
        ("FAQ", "Lead time: Two days"),
        ("FAQ > Deposit?", "$50."),
        ("FAQ", "End."),
    ]


def test_a_short_bold_paragraph_is_a_heading_and_a_bold_sentence_is_not():
    page = "<h1>A</h1><p><b>Storage</b><p>14 days.<p><strong>We never sell your bike.</strong>"
    assert sections(html_document(page)) == [("A > Storage", "14 days.\n\nWe never sell your bike.")]


def test_the_footer_does_not_belong_to_the_last_heading():
    page = "<title>Shop</title><h2>Hire</h2><p>$18.<footer>Mill Lane 4</footer>"
    assert sections(html_document(page)) == [("Hire", "$18."), ("Shop", "Mill Lane 4")]


def test_the_title_stands_above_several_top_headings_and_not_above_a_single_one():
    page = "<title>Terms</title><h1>Fee</h1><p>$45.<h1>Leaving</h1><h2>Notice</h2><p>30 days."
    assert [title for title, _ in sections(html_document(page))] == ["Terms > Fee", "Terms > Leaving > Notice"]
    one_root = html_document("<title>Terms</title><h1>Fee</h1><p>$45.<h2>Leaving</h2><p>30 days.")
    assert [title for title, _ in sections(one_root)] == ["Fee", "Fee > Leaving"]


def test_metadata_gives_link_and_date():
    page = """<link rel="canonical" href="https://shop.example/help"><meta name="date" content="2026-02-03T10:00">"""
    document = html_document(page)
    assert (document.url, document.date) == ("https://shop.example/help", "2026-02-03")
    assert html_document('<link rel="canonical" href="javascript:alert(1)">').url == ""


def test_pictures_are_counted():
    assert html_document("<img src=a><p><img src=b>x").notes == {"pictures, whose text is not read": "2"}


@pytest.mark.parametrize("page", ["", "<", "</p></div>", "<p><b", "<table><td>x", "<li>x", "&#0;", "<h1><h2>x</h1>"])
def test_broken_markup_is_no_error(page):
    html_document(page)


def test_markdown_takes_front_matter_and_drops_scripts():
    text = """---\ntitle: Returns\nurl: https://shop.example/returns\ndate: 2026-01-31\ntags: [a]\n---
# Returns\n\nBring the *receipt*.\n\n| Item | Days |\n|---|---|\n| Tube | 30 |\n\n<script>x()</script>\n"""
    document = markdown_document(text)
    assert (document.title, document.url, document.date) == ("Returns", "https://shop.example/returns", "2026-01-31")
    assert sections(document) == [("Returns", "Bring the receipt.\n\nItem | Days\nTube | 30")]


def test_a_rule_at_the_start_is_no_front_matter():
    assert sections(markdown_document("---\n\nHello: [there\n\n---\n\nBye"))[0][1] == "Hello: [there\n\nBye"


def test_plain_text_has_headings_lists_and_wrapped_paragraphs():
    text = """OPENING HOURS
=============

Monday to Friday 9-18
Saturday 10-16

Holidays

We are closed on public holidays and on the first Monday of
November, when we count the stock.
- except for emergencies, which
  we see by appointment
- and hires
"""
    assert sections(plain_document(text)) == [
        ("OPENING HOURS", "Monday to Friday 9-18\nSaturday 10-16"),
        (
            "OPENING HOURS > Holidays",
            "We are closed on public holidays and on the first Monday of November, when we count the stock.\n\n"
            "- except for emergencies, which we see by appointment\n- and hires",
        ),
    ]


def test_long_sections_are_cut_at_the_ends_of_sentences():
    sentences = [f"Sentence number {n} has a few more words in it." for n in range(50)]
    document = Document([Block("heading", "A", 1), Block("paragraph", " ".join(sentences))])
    pieces = [text for _, text in sections(document)]
    assert all(len(piece) <= MAX_SECTION_CHARACTERS for piece in pieces[:-1])
    assert all(piece.startswith("Sentence") and piece.endswith(".") for piece in pieces)
    assert " ".join(pieces) == " ".join(sentences)


def test_text_without_sentences_is_cut_between_words_and_nothing_is_lost():
    words = [f"word{n}" for n in range(600)]
    pieces = [text for _, text in sections(Document([Block("paragraph", " ".join(words))], title="T"))]
    assert " ".join(pieces).split() == words
    solid = "x" * (3 * MAX_SECTION_CHARACTERS)
    assert (
        "".join(text for _, text in sections(Document([Block("paragraph", solid)], title="T"))).replace(" ", "")
        == solid
    )


def test_a_short_rest_stays_with_the_piece_before():
    blocks = [Block("paragraph", "a" * 880), Block("paragraph", "The end.")]
    assert [len(text) for _, text in sections(Document(blocks, title="T"))] == [880 + 2 + 8]


@pytest.mark.parametrize("section", ["<![if !IE]>", "<![endif]>", "<![<!doctype>", "<![&%]>", "<![CDATA[>"])
def test_marked_sections_are_comments(section):
    assert sections(html_document(f"<h1>Tea</h1>{section}<p>Green.</p>")) == [("Tea", "Green.")]
