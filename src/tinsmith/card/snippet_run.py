"""Run the card's How-to-Use code in a browser, exactly as printed."""

from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tinsmith.browser.chromium import Browser
from tinsmith.card.snippet import Snippet
from tinsmith.core.run_dir import write_text
from tinsmith.core.scratch import scratch_folder

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


@dataclass(frozen=True, slots=True)
class SnippetRun:
    """The result of running a snippet."""

    form: str
    """`hub`, `self_hosted` or `answers`."""
    code: str
    output: str
    """The assistant's answer, or the passage."""
    device: str
    """`wasm` or `webgpu`, whichever the code chose; empty if it runs no model."""
    browser: str
    elapsed_seconds: float


def run_snippets(printed: list[Snippet], package: Path, answers: Path) -> list[SnippetRun]:
    """Run each snippet in headless Chromium against a package folder and the answers as the site has them.

    Like a web project, the page defines where `@huggingface/transformers` is. Local files answer the
    requests to the code's URLs and to the CDN from which the runtime loads its WASM. The code itself is unchanged.

    Raises:
        MissingDependency: Chromium is not installed, or the browser runtime cannot be fetched.
        BrowserError: the code throws, or takes longer than ten minutes.
    """
    from tinsmith.browser.runtime import ONNX_RUNTIME, TRANSFORMERS, WEB_DIR, runtime_folders, runtime_packages
    from tinsmith.browser.serve import SiteServer

    folders = runtime_folders()
    version = next(package.version for package in runtime_packages() if package.name == ONNX_RUNTIME)
    with scratch_folder("tinsmith-card-") as folder, Browser() as browser:
        write_text(folder / "index.html", _PAGE)
        for snippet in printed:
            # Only this line is added: a module's variables cannot be seen from outside unless it exports them.
            names = "reply" if snippet.form == "answers" else "device, response"
            write_text(folder / f"{snippet.form}.mjs", f"{snippet.code}\nexport {{ {names} }};\n")
        mounts = {
            "/": folder,
            "/modules/transformers/": folders[TRANSFORMERS],
            "/modules/onnxruntime-web/": folders[ONNX_RUNTIME],
            "/package/": package,
            "/web/": WEB_DIR,
            "/answers/": answers,
        }
        with SiteServer(mounts, headers=_CROSS_ORIGIN) as server:
            cdn = {f"{_CDN}{version}/": "/modules/onnxruntime-web/"}
            return [_run(browser, server.origin, snippet, cdn) for snippet in printed]


def _run(browser: Browser, origin: str, snippet: Snippet, cdn: dict[str, str]) -> SnippetRun:
    page = browser.open()
    page.serve({url: origin + path for url, path in {**cdn, **snippet.sources}.items()})
    page.navigate(f"{origin}/index.html")
    start = monotonic()
    answer = page.evaluate(
        f"import('/{snippet.form}.mjs').then(({{ device = '', response, reply }}) => "
        "({ device, output: reply ?? response[0].generated_text.at(-1).content }))",
        _TIMEOUT_SECONDS,
    )
    elapsed_seconds = monotonic() - start
    return SnippetRun(snippet.form, snippet.code, answer["output"], answer["device"], browser.version, elapsed_seconds)
