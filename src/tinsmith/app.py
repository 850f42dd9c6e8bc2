"""App: a static folder with the chat page, the card page, the browser runtime and the model, ready for any host."""

import html
import json
import random
from collections.abc import Sequence
from pathlib import Path

from tinsmith.browser.runtime import WEB_DIR, write_runtime
from tinsmith.browser.serve import HOST_HEADERS
from tinsmith.core.errors import ArtifactError
from tinsmith.core.run_dir import copy_file, link_or_copy, read_json, write_json, write_text
from tinsmith.core.stage_context import StageContext, Summary
from tinsmith.model.conversations import Conversation, read_jsonl

_QUESTIONS = 4
_MAX_NEW_TOKENS = 256
_PAGES = {"index.html": "chat.html", **{name: name for name in (
    "chat.js", "chat.css", "page.css", "client.js", "context.js", "loader.js", "markdown.js", "reference.js", "rows.js", "store.js", "sw.js",
    "unpack.js", "unpack_worker.js", "worker.js")}}  # fmt: skip
_IMAGES = (".png", ".svg", ".jpg", ".webp")

_HOSTING = """# Hosting this folder

Copy the folder to any static host over HTTPS. Everything is served from its own origin; nothing else is fetched.

With the headers below the page is cross-origin isolated and WASM uses several threads. Where a host does not send them, the
page's service worker adds them and the page loads once more by itself; only where a browser allows no service worker does it
run with one thread, and says so. WebGPU does not need them.

| host | what to do |
|---|---|
| Netlify | nothing: `netlify.toml` and `_headers` are read |
| Cloudflare Pages | not as it is: it takes no file over 25 MiB, and the runtime for WebGPU and most weights are larger |
| Vercel | nothing: `vercel.json` is read |
| Hugging Face static Space | nothing: `README.md` names the headers |
| GitHub Pages | nothing: the service worker adds the headers. No file may exceed 100 MiB: 1B models have one that does |
| nginx | put `nginx.conf` into `conf.d`, its `root` changed to this folder |
| Apache | nothing if `mod_headers` is on: `.htaccess` is read |
| another server | send the headers, and `application/wasm` for `.wasm` and `text/javascript` for `.js` and `.mjs` |

```
{headers}
```

A missing file must be answered with status 404, as most hosts do where there is a `404.html`, not with a fallback page: a
browser would take the page for a model file.
"""


_NOT_FOUND = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Not found</title></head>
<body><h1>Not found</h1><p>There is no such page here.</p></body>
</html>
"""

_NGINX = """server {
  listen 8080;
  root /path/to/this/folder;
  include mime.types;
  types { text/javascript mjs; application/wasm wasm; }
{headers}  location / { try_files $uri $uri/ =404; }
}
"""


def build_app(
    data_dir: Path, export_dir: Path, card_dir: Path, out_dir: Path, title: str, context: StageContext
) -> Summary:
    """Write the static site into `out_dir`.

    Args:
        data_dir: For the system prompt and the example questions, which are test questions drawn by the seed.
        title: Name shown at the top of both pages.

    Raises:
        MissingDependency: the browser runtime cannot be fetched.
        ArtifactError: the package or the card is missing.
    """
    web = WEB_DIR
    for name, source in _PAGES.items():
        copy_file(web / source, out_dir / name)
    write_runtime(out_dir / "runtime")
    _write_model(export_dir / "package", card_dir, out_dir)
    write_json(out_dir / "app.json", {
        "title": title,
        "system_prompt": read_json(data_dir / "report.json")["system_prompt"],
        "questions": example_questions(read_jsonl(data_dir / "test.jsonl"), context.seed),
        "model": "./model/",
        "max_new_tokens": _MAX_NEW_TOKENS,
    })  # fmt: skip
    markdown = (card_dir / "README.md").read_text(encoding="utf-8")
    page = (web / "card.html").read_text(encoding="utf-8")
    write_text(out_dir / "card.html", fill_card_page(page, title, markdown))
    _write_host_files(out_dir, title)
    sizes = [path.stat().st_size for path in out_dir.rglob("*") if path.is_file()]
    context.recorder.add("app.files", len(sizes), "count", len(sizes), "files", "files in the folder")
    context.recorder.add(
        "app.files_bytes", sum(sizes), "bytes", len(sizes), "files", "sizes of the files in the folder"
    )
    return (
        f"chat page, card page and model: {len(sizes)} files, {sum(sizes) / 1e6:.0f} MB, ready for any static host",
    )


def example_questions(conversations: Sequence[Conversation], seed: int) -> list[str]:
    """Up to four different first questions, from as many categories as there are."""
    order = list(conversations)
    random.Random(seed).shuffle(order)
    seen: dict[str, int] = {}
    ranked = []
    for conversation in order:
        question = next(m.content for m in conversation.messages if m.role == "user").strip()
        rank = seen.get(conversation.category, 0)
        seen[conversation.category] = rank + 1
        ranked.append((rank, question))
    # A stable sort: the first question of every category, then the second of every category, ...
    unique = dict.fromkeys(question for _, question in sorted(ranked, key=lambda item: item[0]))
    return list(unique)[:_QUESTIONS]


def fill_card_page(page: str, title: str, markdown: str) -> str:
    """`page` with the title and the card's Markdown in it as HTML; HTML inside the Markdown is shown, not used."""
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = renderer.parse(without_front_matter(markdown))
    for token in (child for block in tokens for child in block.children or ()):
        if token.type == "link_open":
            token.attrSet("rel", "noopener noreferrer nofollow")
    body = renderer.renderer.render(tokens, renderer.options, {})
    # What is wider than a phone scrolls in its own box, which a keyboard has to reach.
    body = body.replace("<pre>", '<pre tabindex="0">')
    body = body.replace("<table>", '<div class="wide" tabindex="0"><table>').replace("</table>", "</table></div>")
    filled = page.replace("<title>Model card</title>", f"<title>{html.escape(title)}: model card</title>")
    return filled.replace("<!-- title -->", html.escape(title)).replace("<!-- card -->", body)


def without_front_matter(markdown: str) -> str:
    """The text after a leading `---` ... `---` block, or all of it if there is none."""
    lines = markdown.split("\n")
    if lines[0].strip() != "---" or "---" not in (line.strip() for line in lines[1:]):
        return markdown
    end = next(i for i, line in enumerate(lines[1:], start=1) if line.strip() == "---")
    return "\n".join(lines[end + 1 :])


def _write_model(package_dir: Path, card_dir: Path, out_dir: Path) -> None:
    """The package unchanged, with the card beside it; the card's images also lie where the card page looks."""
    if not (package_dir / "config.json").is_file():
        raise ArtifactError(f"{package_dir}: no package", "Run the export stage: tinsmith run")
    if not (card_dir / "README.md").is_file():
        raise ArtifactError(f"{card_dir / 'README.md'}: missing", "Run the card stage: tinsmith run")
    for path in sorted(package_dir.rglob("*")):
        if path.is_file():
            link_or_copy(path, out_dir / "model" / path.relative_to(package_dir))
    link_or_copy(card_dir / "README.md", out_dir / "model/README.md")
    for path in sorted(card_dir.iterdir()):
        if path.suffix in _IMAGES:
            link_or_copy(path, out_dir / path.name)
            link_or_copy(path, out_dir / "model" / path.name)


def _write_host_files(out_dir: Path, title: str) -> None:
    """The headers in the form of the common hosts, and `HOSTING.md`, which says who reads which."""
    lines = [f"{name}: {value}" for name, value in HOST_HEADERS.items()]
    write_text(out_dir / "_headers", "/*\n" + "".join(f"  {line}\n" for line in lines))
    pairs = [{"key": name, "value": value} for name, value in HOST_HEADERS.items()]
    write_json(out_dir / "vercel.json", {"headers": [{"source": "/(.*)", "headers": pairs}]})
    rules = "".join(f'  Header always set {name} "{value}"\n' for name, value in HOST_HEADERS.items())
    write_text(out_dir / ".htaccess", f"<IfModule mod_headers.c>\n{rules}</IfModule>\nAddType application/wasm .wasm\n")
    values = "".join(f"    {name} = {json.dumps(value)}\n" for name, value in HOST_HEADERS.items())
    write_text(out_dir / "netlify.toml", f'[[headers]]\n  for = "/*"\n  [headers.values]\n{values}')
    added = "".join(f'  add_header {name} "{value}" always;\n' for name, value in HOST_HEADERS.items())
    write_text(out_dir / "nginx.conf", _NGINX.replace("{headers}", added))
    custom = "".join(
        f"  {name.lower()}: {value}\n" for name, value in HOST_HEADERS.items() if name.startswith("Cross-Origin")
    )
    write_text(
        out_dir / "README.md",
        f"---\ntitle: {json.dumps(title, ensure_ascii=False)}\nsdk: static\napp_file: index.html\n"
        f"custom_headers:\n{custom}---\n\nA chat page whose model runs in the visitor's browser. How to host it: HOSTING.md.\n",
    )
    write_text(out_dir / ".nojekyll", "")
    write_text(out_dir / "404.html", _NOT_FOUND)
    write_text(out_dir / "HOSTING.md", _HOSTING.replace("{headers}", "\n".join(lines)))
