"""Run the app stage: build a static site with chat page, card page, browser runtime and model, for any host."""

import json
from dataclasses import dataclass
from pathlib import Path

from tinsmith.browser.card_page import CARD_PAGES, card_pages, is_on_site
from tinsmith.browser.integrity import with_integrity
from tinsmith.browser.runtime import GPU_SCRIPTS, WEB_DIR, write_runtime
from tinsmith.browser.serve import HOST_HEADERS
from tinsmith.core.config import AnswersConfig, AppConfig
from tinsmith.core.errors import ArtifactError, listing
from tinsmith.core.file_kinds import unexpected_files
from tinsmith.core.run_dir import (
    copy_file,
    entries,
    files_below,
    link_or_copy,
    read_json,
    tree_sha256s,
    write_checksums,
    write_json,
    write_text,
)
from tinsmith.core.stage_context import StageContext, Summary
from tinsmith.derive.files import Files
from tinsmith.derive.private import SITE_RULES
from tinsmith.derive.rules import record
from tinsmith.derive.site import APP_RULES
from tinsmith.model.answers.publish import publish_answers
from tinsmith.model.answers.small_talk import SMALL_TALK, SMALL_TALK_FILE
from tinsmith.model.package_format import FLOAT32, INT8_PAGE, UNPACK_PLAN_FILE, weights_files

_MAX_NEW_TOKENS = 256
_SCRIPTS = (
    "answers chat client context device elements encoder feedback files ladder_view loader markdown overlap owner "
    "reference rows runtime runtime_digests small_talk sources statistics store sw tokens turns unpack unpack_worker "
    "vectors versions worker"
)
_PAGES = {
    "index.html": "chat.html",
    **{name: name for name in ("chat.css", "page.css", *(f"{script}.js" for script in _SCRIPTS.split()), *GPU_SCRIPTS)},
}
"""File name in the site -> file name in `WEB_DIR`."""
_UNPUBLISHED_PROMPT = (
    "warning: the conversations have a system prompt, but the page does not use it, because it may be private; "
    "to publish it, run: tinsmith approve CONFIG"
)
_UNPUBLISHED_ANSWERS = (
    "the model answers alone, because you have not agreed to publish your answers and documents word for word; "
    "to let the page show them, run: tinsmith approve CONFIG"
)

_HOSTING = """# Hosting this folder

Copy the folder to any static host with HTTPS. The pages load nothing from other origins.

With the headers below, the page is cross-origin isolated and WASM uses several threads. If a host does not send them,
the page's service worker adds them and reloads the page once. If a browser allows no service worker, WASM runs with one
thread, and the page says so. WebGPU does not need the headers.

| host | what to do |
|---|---|
| Netlify | nothing: `netlify.toml` and `_headers` are read |
| Cloudflare Pages | does not work: files are limited to 25 MiB, and the WebGPU runtime and most weights are larger |
| Vercel | nothing: `vercel.json` is read |
| Hugging Face static Space | nothing: `README.md` names the headers |
| GitHub Pages | nothing: the service worker adds the headers. Files are limited to 100 MiB; 1B models exceed it |
| nginx | change `root` in `nginx.conf` to this folder and put the file into `conf.d` |
| Apache | nothing if `mod_headers` is on: `.htaccess` is read |
| another server | send the headers, and `application/wasm` for `.wasm` and `text/javascript` for `.js` and `.mjs` |

```
{headers}
```

The host must answer requests for missing files with status 404, as most do if there is a `404.html`. With a fallback
page and status 200, the chat page would read that page as a model file.
"""


_NOT_FOUND = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Not found</title>
</head>
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


@dataclass(frozen=True, slots=True)
class Names:
    """What the pages call themselves and their owner."""

    title: str
    """Shown at the top of both pages."""
    owner: str
    """Whose words the answers are."""


def build_app(
    config: AppConfig,
    answers: AnswersConfig,
    system_prompt: str,
    data_dir: Path,
    knowledge_dir: Path,
    export_dir: Path,
    card_dir: Path,
    out_dir: Path,
    names: Names,
    context: StageContext,
) -> Summary:
    """Write the static site into `out_dir`.

    Args:
        config: `questions` are suggested on the page. No other question from the data is published.
        answers: Says what of the owner's answers and documents the site may contain.
        system_prompt: The owner's own words. System prompts from the conversations are not published.
        data_dir: Its report says whether the conversations have a system prompt.
        knowledge_dir: Holds `answers/`, unless the model answers alone.
        export_dir: Holds `package/`.
        card_dir: Holds the model card.
        out_dir: Existing and empty.
        names: What the pages are called, and whose words the answers are.
        context: Receives the number and size of the files.

    Raises:
        MissingDependency: the browser runtime cannot be fetched.
        ArtifactError: the package or the card is missing.
        GateError: a file contains a value that `data.privacy` hides.
    """
    _write_pages(out_dir)
    copy_file(SMALL_TALK_FILE, out_dir / SMALL_TALK_FILE.name)
    write_runtime(out_dir / "runtime")
    _write_model(export_dir / "package", card_dir, out_dir)
    has_answers, answers_summary = _write_answers(answers, knowledge_dir / "answers", out_dir / "model/answers")
    settings = {
        "title": names.title,
        "owner": names.owner,
        "system_prompt": system_prompt,
        "questions": list(config.questions),
        "model": "./model/",
        "model_bytes": _download_bytes(export_dir / "package"),
        "answers": "./model/answers/" if has_answers else None,
        "small_talk": {kind: getattr(answers, kind) for kind in SMALL_TALK},
        "max_new_tokens": _MAX_NEW_TOKENS,
    }
    write_json(out_dir / "app.json", settings)
    for name, text in card_pages(card_dir, names.title).items():
        write_text(out_dir / name, text)
    write_host_files(out_dir, names.title)
    summary = [_measure_files(out_dir, context), answers_summary]
    folders = {"app": out_dir, "data": data_dir, "knowledge": knowledge_dir}
    record(context.recorder, SITE_RULES, Files.of_stages(folders))
    if not config.questions:
        summary.append("the page suggests no questions; choose some with: tinsmith approve CONFIG")
    if not system_prompt and read_json(data_dir / "report.json")["system_prompt"]:
        summary.append(_UNPUBLISHED_PROMPT)
    return tuple(summary)


def _write_pages(out_dir: Path) -> None:
    """Copy the pages, and write into the chat page the digests of what it loads."""
    for name, source in _PAGES.items():
        copy_file(WEB_DIR / source, out_dir / name)
    page = (out_dir / "index.html").read_text(encoding="utf-8")
    write_text(out_dir / "index.html", with_integrity(page, out_dir))


def _measure_files(out_dir: Path, context: StageContext) -> str:
    """Check the files' kinds, write `SHA256SUMS`, record their number and size, and return the summary's first line."""
    if problems := unexpected_files(out_dir):
        raise ArtifactError(
            f"{out_dir}: files that no site needs\n{listing(problems)}", "Run from the export stage again."
        )
    write_checksums(out_dir)
    files = Files.of_stage("app", out_dir)
    record(context.recorder, APP_RULES, files)
    sizes = files.sizes("app").values()
    return f"chat page, card page and model: {len(sizes)} files, {sum(sizes) / 1e6:.0f} MB, ready for any static host"


def _write_model(package_dir: Path, card_dir: Path, out_dir: Path) -> None:
    """Copy the package, add the card's files to it, and copy the card's images for the card page too."""
    if not (package_dir / "config.json").is_file():
        raise ArtifactError(f"{package_dir}: no package", "Run the export stage: tinsmith run")
    for file in CARD_PAGES:
        if not (card_dir / file).is_file():
            raise ArtifactError(f"{card_dir / file}: missing", "Run the card stage: tinsmith run")
    for path in files_below(package_dir):
        link_or_copy(path, out_dir / "model" / path.relative_to(package_dir))
    for name in sorted(tree_sha256s(card_dir)):
        link_or_copy(card_dir / name, out_dir / "model" / name)
        if is_on_site(name):
            link_or_copy(card_dir / name, out_dir / name)


def _download_bytes(package_dir: Path) -> int:
    """Bytes that a first visit downloads to run the model on the processor; for a GPU, about as many."""
    graphs = [path for name in (INT8_PAGE.file, UNPACK_PLAN_FILE) if (path := package_dir / name).is_file()]
    graphs = graphs or [package_dir / FLOAT32.file]
    files = (*entries(package_dir, "*.json"), *graphs, *weights_files(graphs[0].parent))
    return sum(path.stat().st_size for path in files)


def _write_answers(config: AnswersConfig, answers_dir: Path, target: Path) -> tuple[bool, str]:
    """Publish the owner's answers if they agreed; returns whether they are published, and a line that says so."""
    if config.mode == "model" or not answers_dir.is_dir():
        return False, "the model answers alone: no answers or documents are published word for word"
    if not config.publish:
        return False, _UNPUBLISHED_ANSWERS
    published = publish_answers(answers_dir, target, config.unknown, config.publish_questions)
    titles = "the data's questions" if config.publish_questions else "their first words"
    shown = f"{published.passages:,} answers and sections of documents word for word, with {titles} as titles"
    wordings = f"; the site also contains {published.wordings:,} wordings for the search" if published.wordings else ""
    return True, f"the page shows {shown}{wordings}"


def write_host_files(out_dir: Path, title: str) -> None:
    """Write the headers in the formats of common hosts, and `HOSTING.md`, which says which host reads which file."""
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
        f"custom_headers:\n{custom}---\n\n"
        "A chat page whose model runs in the visitor's browser. HOSTING.md says how to host it.\n",
    )
    write_text(out_dir / ".nojekyll", "")
    write_text(out_dir / "404.html", _NOT_FOUND)
    write_text(out_dir / "HOSTING.md", _HOSTING.replace("{headers}", "\n".join(lines)))
