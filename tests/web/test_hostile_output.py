"""Whatever a model says, the chat page shows it as text: nothing runs, nothing is fetched, no element is made of it."""

import json

import pytest

from echo import ECHO
from ladder import ask, click, open_page, text_of, write_page
from packages import tiny_run, write_site
from tinsmith.browser.chromium import Browser
from tinsmith.browser.serve import SiteServer

pytestmark = pytest.mark.browser

PAYLOADS = (
    "<script>window.ran = 1</script>",
    '<img src=https://evil.example/x.png onerror="window.ran = 1">',
    "<svg onload=window.ran=1><animate onbegin=window.ran=1 attributeName=x dur=1s>",
    "<iframe srcdoc='<script>parent.ran = 1</script>'></iframe>",
    '<a href="javascript:window.ran=1">click</a>',
    "<style>@import 'https://evil.example/x.css'; body { display: none }</style>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    '<meta http-equiv=refresh content="0;url=https://evil.example/">',
    "<base href=https://evil.example/><form action=https://evil.example/><input name=q></form>",
    "<object data=https://evil.example/x.swf></object><embed src=https://evil.example/x>",
    "<video autoplay src=https://evil.example/x.mp4 onerror=window.ran=1></video>",
    "<math><mtext></mtext><mglyph><style><img src=x onerror=window.ran=1></style></mglyph></math>",
    "</li></ol></main><script src=https://evil.example/x.js></script>",
    "<!--><script>window.ran=1</script>-->",
    "<template><script>window.ran = 1</script></template><slot onslotchange=window.ran=1>",
    "[click](javascript:window.ran=1)",
    "![picture](https://evil.example/x.png)",
    "<https://evil.example/> https://evil.example/x.png www.evil.example",
    "[ref]: https://evil.example/x.png\n![ref]",
    "\u202e<tpircs>1 = nar.wodniw\u202c \u0000 \ufffe \U0001f600 \u200b\u2066<b>bold</b>\u2069",
    "&lt;script&gt;window.ran=1&lt;/script&gt; &#60;img src=x onerror=window.ran=1&#62;",
    "＜script＞window.ran=1＜/script＞ <ſcript>window.ran=1</ſcript>",
    "{{constructor.constructor('window.ran=1')()}} ${window.ran=1} <%= ran %>",
    "'\";window.ran=1;//\\u003cscript\\u003ewindow.ran=1\\x3c/script\\x3e",
    '<div style="background:url(https://evil.example/x)" onclick=window.ran=1 autofocus tabindex=1 '
    "onfocus=window.ran=1>",
)
WRAPPERS = (
    "{}",
    "**{}**",
    "*{}*",
    "_{}_",
    "`{}`",
    "```html\n{}\n```",
    "~~~\n{}",
    "- {}\n- two",
    "3. {}\n4. two",
    "# {}",
    "a\n\n{}\nb",
    "***`{}`*** **{}",
)
ALLOWED = {"P", "BR", "UL", "OL", "LI", "PRE", "CODE", "STRONG", "EM"}


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    run, site = tiny_run("llama", tmp_path_factory), tmp_path_factory.mktemp("site")
    write_site(run, site)
    worker = tmp_path_factory.mktemp("echo") / "worker.js"
    worker.write_text(ECHO)
    with Browser(webgpu="none") as browser, SiteServer({"/": site, "/worker.js": worker}) as server:
        page = browser.open(f"{server.origin}/")
        page.wait_for("!!document.querySelector('#questions button:enabled')", 30)
        yield page, server


def test_300_hostile_answers(chat):
    page, server = chat
    texts = [wrapper.replace("{}", payload) for payload in PAYLOADS for wrapper in WRAPPERS]
    assert len(set(texts)) == 300
    answers = page.evaluate(
        f"""(async () => {{
          const texts = {json.dumps(texts)}, shown = [];
          const question = document.getElementById("question");
          for (const text of texts) {{
            question.value = text;
            question.dispatchEvent(new Event("input"));
            document.getElementById("ask").requestSubmit();
            const before = shown.length;
            const wait = () => new Promise((resolve) => setTimeout(resolve, 1));
            while (document.querySelectorAll(".measure").length <= before) await wait();
            const [questionTurn, answerTurn] = [...document.querySelectorAll(".turn")].slice(-2);
            for (const box of [questionTurn, answerTurn]) box.dispatchEvent(new Event("click", {{ bubbles: true }}));
            const body = answerTurn.querySelector(".text");
            const all = [...body.querySelectorAll("*")];
            shown.push({{
              question: questionTurn.querySelector(".text").textContent,
              tags: all.map((one) => one.tagName),
              text: body.textContent,
              attributes: all.flatMap((one) => [...one.attributes].map((a) => `${{a.name}}=${{a.value}}`)),
            }});
          }}
          return shown;
        }})()""",
        240,
    )
    assert len(answers) == 300
    letters = str.maketrans("", "", "*_`~#-\n \t0123456789.)html")
    for text, answer in zip(texts, answers, strict=True):
        assert answer["question"] == text.strip()
        assert set(answer["tags"]) <= ALLOWED, text
        assert set(answer["attributes"]) <= {
            "class=heading",
            "role=heading",
            "aria-level=2",
            "tabindex=0",
            "start=3",
            "start=4",
        }, text
        # Nothing is lost either, but the marks of Markdown.
        assert answer["text"].translate(letters) == text.translate(letters), text
    assert page.evaluate("window.ran ?? 'nothing ran'") == "nothing ran"
    assert {r.url for r in page.requests if not r.url.startswith(server.origin + "/")} == set()
    assert page.exceptions == [] and [text for kind, text in page.console if kind == "error"] == []
    assert page.evaluate("document.title + location.pathname") == "Tea shop/"


PASSAGE_TAGS = (
    ALLOWED
    | {"SPAN", "DIV", "BUTTON", "TIME", "DETAILS", "SUMMARY", "DL", "DT", "DD", "A"}
    | {
        "TABLE",
        "THEAD",
        "TBODY",
        "TR",
        "TH",
        "TD",
    }
)
ADDRESSES = (
    "javascript:window.ran=1",
    " JaVaScript:window.ran=1",
    "data:text/html,<script>parent.ran=1</script>",
    "//x",
    "",
)


def test_hostile_passages_and_sources(tmp_path):
    """Every field of a passage, the site's title and the text for unknown answers hold each payload in turn."""
    for at, payload in enumerate(PAYLOADS):
        source = {"name": payload, "place": payload, "url": ADDRESSES[at % len(ADDRESSES)], "date": payload}
        common = {"title": payload, "text": payload, "category": payload, "source": source}
        passages = [{"id": f"{payload}{kind}", "kind": kind, **common} for kind in ("answer", "document")] * 3
        for place, passage in enumerate(passages):
            passages[place] = {**passage, "id": f"{passage['id']}{place}"}
        write_page(tmp_path / str(at), passages=passages, unknown=payload, title=payload, owner=True)
    with Browser(webgpu="none") as browser:
        for at, payload in enumerate(PAYLOADS):
            with SiteServer({"/": tmp_path / str(at)}) as server:
                show_all_rungs(browser, server.origin, payload)


def show_all_rungs(browser, origin, payload):
    page = open_page(browser, origin)
    for question in ("0: sure", "1: likely", f"unknown {payload}"):
        ask(page, question)
        click(page, "Helpful")
    page.evaluate("for (const box of document.querySelectorAll('.turn *')) box.click?.()")
    page.evaluate("document.getElementById('feedback-link').click()")
    tags = page.evaluate("[...document.querySelectorAll('.turn *, #feedback-list *')].map((one) => one.tagName)")
    assert set(tags) <= PASSAGE_TAGS, payload
    assert page.evaluate("document.querySelectorAll('.turn a[href], #feedback-list a').length") == 0, payload
    assert page.evaluate("window.ran ?? 'nothing ran'") == "nothing ran"
    assert {r.url for r in page.requests if not r.url.startswith(f"{origin}/")} == set()
    assert page.exceptions == [] and [text for kind, text in page.console if kind == "error"] == []
    assert page.evaluate("location.pathname") == "/"


@pytest.mark.parametrize("url", ["https://tea.example/a?b=<i>#c", "http://tea.example/", "HTTPS://tea.example"])
def test_only_web_addresses_become_links(tmp_path, url):
    source = {"name": "a.md", "place": "", "url": url, "date": "soon"}
    passage = {"id": "a", "kind": "document", "title": "A", "text": "b", "category": "", "source": source}
    write_page(tmp_path / "site", passages=[passage])
    with Browser(webgpu="none") as browser, SiteServer({"/": tmp_path / "site"}) as server:
        page = open_page(browser, server.origin)
        ask(page, "sure: a?")
        href, rel = page.evaluate("(({ href, rel }) => [href, rel])(document.querySelector('.source a'))")
        assert href.lower().startswith(url.lower().split("?")[0]) and rel == "noopener noreferrer nofollow"
        assert text_of(page, ".source") == "Source: a.md (opens a new tab) · soon"


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("One *two* **three** `four`.", "<p>One <em>two</em> <strong>three</strong> <code>four</code>.</p>"),
        ("1. Heat\n2. Pour\n\nDone", '<ol start="1"><li>Heat</li><li>Pour</li></ol><p>Done</p>'),
        ("- a\n* b", "<ul><li>a</li><li>b</li></ul>"),
        ("## Tea ##\nline\nnext", '<p class="heading" role="heading" aria-level="2">Tea</p><p>line<br>next</p>'),
        ("```js\na < b\n```\nafter", '<pre tabindex="0"><code>a &lt; b</code></pre><p>after</p>'),
        ("2 * 3 * 4 and snake_case_name", "<p>2 * 3 * 4 and snake_case_name</p>"),
        ("**bold *and* both**", "<p><strong>bold <em>and</em> both</strong></p>"),
        ("", ""),
    ],
)
def test_markdown_as_models_write_it(chat, text, html):
    page, _ = chat
    rendered = page.evaluate(
        f"import('./markdown.js').then(({{ markdown }}) => {{ const box = document.createElement('div');"
        f" box.append(markdown({json.dumps(text)})); return box.innerHTML; }})"
    )
    assert rendered == html


def test_long_runs_of_marks_stay_quick(chat):
    page, _ = chat
    for text in ("*" * 4000, "**a " * 1000, "`" * 3999 + "a", "_a" * 2000, "- " * 2000):
        milliseconds = page.evaluate(
            f"import('./markdown.js').then(({{ markdown }}) => {{ const before = performance.now();"
            f" markdown({json.dumps(text)}); return performance.now() - before; }})"
        )
        assert milliseconds < 2000, text[:10]
