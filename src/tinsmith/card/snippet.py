"""The card's How-to-Use code, and a browser that runs it exactly as printed."""

import json
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

from tinsmith.browser.chromium import Browser
from tinsmith.card.evidence import Evidence
from tinsmith.core.config import CardConfig
from tinsmith.core.run_dir import write_text
from tinsmith.core.scratch import scratch_folder
from tinsmith.model.package_format import FLOAT32, INT8_STOCK, is_weights_file

NEUTRAL_QUESTION = "Hello! What can you help me with?"
"""Printed if no example is approved: a question from the data would publish somebody's words."""

_PLACEHOLDER_URL = "https://your.host/model/"
_HUB_HOSTS = ("huggingface.co", "hf.co")
_CDN = "https://cdn.jsdelivr.net/npm/onnxruntime-web@"
_CROSS_ORIGIN = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
_PAGE = """\
<!doctype html>
<meta charset="utf-8">
<title>How to Use</title>
<script type="importmap">
{ "imports": {
  "@huggingface/transformers": "/modules/transformers/dist/transformers.web.min.js",
  "onnxruntime-web/webgpu": "/modules/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs",
  "onnxruntime-common": "/modules/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs"
} }
</script>
"""
_TIMEOUT_SECONDS = 600

_HUB = """\
import {{ pipeline }} from '@huggingface/transformers';

const device = (await navigator.gpu?.requestAdapter()) ? 'webgpu' : 'wasm';
const generator = await pipeline(
  'text-generation',
  {model},
  {options}
);
{ask}"""

_SELF_HOSTED = """\
import {{ env, pipeline }} from '@huggingface/transformers';

// A plain URL is not accepted as a model: name the host, then the folder on it.
env.remoteHost = {host};
env.remotePathTemplate = '{{model}}/';

const device = (await navigator.gpu?.requestAdapter()) ? 'webgpu' : 'wasm';
const generator = await pipeline(
  'text-generation',
  {model},
  {options}
);
{ask}"""

_OPTIONS = """\
{
    device,
    dtype: device === 'wasm' ? {int8} : {float32}, // the same weights, multiplied in INT8 on CPUs
    session_options: { externalData: [
{data}    ] },
  }"""

_ASK = """
const response = await generator([
{messages}
], {{ max_new_tokens: {max_new_tokens}, do_sample: false }});

console.log(response[0].generated_text.at(-1).content);
"""


@dataclass(frozen=True, slots=True)
class Snippet:
    """One form of the code."""

    form: str
    """`hub` or `self_hosted`."""
    code: str
    package_url: str
    """Start of the URLs from which the code loads the package."""


@dataclass(frozen=True, slots=True)
class SnippetRun:
    """The result of running a snippet."""

    form: str
    """`hub` or `self_hosted`."""
    code: str
    output: str
    """The assistant's answer."""
    device: str
    """`wasm` or `webgpu`, whichever the code chose."""
    browser: str
    elapsed_seconds: float


def snippets(evidence: Evidence, config: CardConfig, name: str) -> list[Snippet]:
    """Both forms of the code: one loads the package from a model hub, the other from a self-hosted folder."""
    messages = _messages(config, evidence.config.public_system_prompt)
    ask = _ASK.format(messages=messages, max_new_tokens=evidence.config.evaluate.max_new_tokens)
    options = _options(evidence)
    hub_id = config.hub_id or f"YOUR-ORG/{name}"
    url = self_hosted_url(config)
    host, _, folder = url.rstrip("/").rpartition("/")
    return [
        Snippet(
            "hub",
            _HUB.format(model=js_string(hub_id), options=options, ask=ask),
            f"https://huggingface.co/{hub_id}/resolve/main/",
        ),
        Snippet(
            "self_hosted",
            _SELF_HOSTED.format(host=js_string(host + "/"), model=js_string(folder), options=options, ask=ask),
            url,
        ),
    ]


def _options(evidence: Evidence) -> str:
    """Options that select a graph for each device, and list the weight files of the graph for WASM."""
    files = [path.removeprefix("package/") for path in evidence.stamps.get("export", {}).get("outputs", {})]
    if INT8_STOCK.file not in files:
        return f"{{ device, dtype: {js_string(FLOAT32.dtype)} }}"
    data = sorted(path for path in files if is_weights_file(path))
    lines = "".join(
        f"      {{ path: {js_string(path.rpartition('/')[2])}, data: {js_string(path)} }},\n" for path in data
    )
    dtypes = _OPTIONS.replace("{int8}", js_string(INT8_STOCK.dtype)).replace("{float32}", js_string(FLOAT32.dtype))
    return dtypes.replace("{data}", lines)


def self_hosted_url(config: CardConfig) -> str:
    """URL of the folder that the self-hosted form loads, ending in `/`: `config.url` if usable, else a placeholder.

    A page on a model hub is not a folder of files, and a URL without a path names no model folder.
    """
    parts = urlsplit(config.url)
    if parts.scheme not in ("http", "https") or parts.hostname in _HUB_HOSTS or not parts.path.strip("/"):
        return _PLACEHOLDER_URL
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/"


def js_string(text: str) -> str:
    """`text` as a single-quoted JavaScript literal on one line."""
    body = json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("'", "\\'")
    return "'" + body.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029") + "'"


def _messages(config: CardConfig, system_prompt: str) -> str:
    """The system prompt and a question, as lines of JavaScript."""
    question = config.examples[0].question if config.examples else NEUTRAL_QUESTION
    messages = [("system", system_prompt)] if system_prompt else []
    messages.append(("user", question))
    return ",\n".join(f"  {{ role: {js_string(role)}, content: {js_string(content)} }}" for role, content in messages)


def run_snippets(printed: list[Snippet], package: Path) -> list[SnippetRun]:
    """Run each snippet in headless Chromium against a package folder.

    Like a web project, the page defines where `@huggingface/transformers` is. Local files answer the
    requests to the code's URLs and to the CDN from which the runtime loads its WASM. The code itself is unchanged.

    Raises:
        MissingDependency: Chromium is not installed, or the browser runtime cannot be fetched.
        BrowserError: the code throws, or takes longer than ten minutes.
    """
    from tinsmith.browser.runtime import ONNX_RUNTIME, TRANSFORMERS, runtime_folders, runtime_packages
    from tinsmith.browser.serve import SiteServer

    folders = runtime_folders()
    version = next(package.version for package in runtime_packages() if package.name == ONNX_RUNTIME)
    with scratch_folder("tinsmith-card-") as folder, Browser() as browser:
        write_text(folder / "index.html", _PAGE)
        for snippet in printed:
            # Only this line is added: a module's variables cannot be seen from outside unless it exports them.
            write_text(folder / f"{snippet.form}.mjs", snippet.code + "\nexport { device, response };\n")
        mounts = {
            "/": folder,
            "/modules/transformers/": folders[TRANSFORMERS],
            "/modules/onnxruntime-web/": folders[ONNX_RUNTIME],
            "/package/": package,
        }
        with SiteServer(mounts, headers=_CROSS_ORIGIN) as server:
            sources = {f"{_CDN}{version}/": f"{server.origin}/modules/onnxruntime-web/"}
            return [_run(browser, server.origin, snippet, sources) for snippet in printed]


def _run(browser: Browser, origin: str, snippet: Snippet, sources: dict[str, str]) -> SnippetRun:
    page = browser.open()
    page.serve({**sources, snippet.package_url: f"{origin}/package/"})
    page.navigate(f"{origin}/index.html")
    start = monotonic()
    answer = page.evaluate(
        f"import('/{snippet.form}.mjs').then(({{ device, response }}) => "
        "({ device, output: response[0].generated_text.at(-1).content }))",
        _TIMEOUT_SECONDS,
    )
    elapsed_seconds = monotonic() - start
    return SnippetRun(snippet.form, snippet.code, answer["output"], answer["device"], browser.version, elapsed_seconds)
