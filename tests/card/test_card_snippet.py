"""The How-to-Use code: how it is written, and that a browser runs it as printed."""

import json
import re
import shutil
import subprocess
from contextlib import nullcontext
from dataclasses import replace
from urllib.request import urlopen

import pytest

from fake_run import AUTHOR, write_run
from stage_runs import run_stage
from tinsmith.browser.chromium import BrowserError
from tinsmith.browser.runtime import ONNX_RUNTIME, WEB_DIR, runtime_packages
from tinsmith.card import snippet_run
from tinsmith.card.evidence import read_evidence
from tinsmith.card.render import fenced
from tinsmith.card.snippet import js_string, self_hosted_url, snippets
from tinsmith.card.snippet_run import run_snippets
from tinsmith.core.config import AnswersConfig, CardConfig, ExportConfig
from tinsmith.model.answers.answers import Answers
from tinsmith.model.conversations import write_jsonl
from tiny import tiny_conversations
from tiny_answers import write_tiny_answers


@pytest.fixture
def printed(tmp_path):
    """Both forms of the model's code for a finished run."""
    forms = snippets(read_evidence(write_run(tmp_path / "tea-bot")), CardConfig(**AUTHOR), "tea-bot")
    return [snippet for snippet in forms if snippet.form != "answers"]


@pytest.fixture(scope="module")
def package(tiny_llama, tmp_path_factory):
    """A real package of a tiny model."""
    from tinsmith.export.stage import export_int4

    root = tmp_path_factory.mktemp("card-package")
    (root / "data").mkdir()
    write_jsonl(root / "data" / "train.jsonl", tiny_conversations(12))
    write_jsonl(root / "data" / "val.jsonl", tiny_conversations(4))
    shutil.copytree(tiny_llama, root / "merge" / "model")
    (root / "export").mkdir()
    run_stage(export_int4, ExportConfig(recipe="rtn"), root / "data", root / "merge", root / "export", seed=1)
    return root / "export" / "package"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", "https://your.host/model/"),
        ("https://huggingface.co/tea/bot", "https://your.host/model/"),
        ("https://tea.example", "https://your.host/model/"),
        ("mailto:ada@tea.example", "https://your.host/model/"),
        ("https://tea.example/models/bot/", "https://tea.example/models/bot/"),
        ("http://tea.example:8080/bot", "http://tea.example:8080/bot/"),
    ],
)
def test_a_url_that_cannot_be_a_folder_of_files_is_not_printed_as_one(url, expected):
    assert self_hosted_url(CardConfig(url=url)) == expected


def test_the_code_names_the_model_where_each_form_looks_for_it(printed):
    hub, hosted = printed
    assert "\n  'tea/bot',\n" in hub.code
    assert list(hub.sources) == ["https://huggingface.co/tea/bot/resolve/main/"]
    assert "env.remoteHost = 'https://tea.example/';" in hosted.code
    assert "\n  'bot',\n" in hosted.code
    assert list(hosted.sources) == ["https://tea.example/bot/"]
    for snippet in printed:
        assert "dtype: device === 'wasm' ? 'q8' : 'q4'," in snippet.code
        assert "{ path: 'model_q4.onnx_data', data: 'onnx/model_q4.onnx_data' }," in snippet.code
        assert "{ role: 'system', content: 'You sell tea.' }" in snippet.code
        assert "Rp 32k" not in snippet.code, "the reference answer must not be in the prompt"


def test_a_package_without_the_graph_for_wasm_is_asked_for_the_one_it_has(tmp_path):
    run = write_run(tmp_path / "tea-bot")
    evidence = read_evidence(run)
    del evidence.stamps["export"]["outputs"]["package/onnx/model_quantized.onnx"]
    hub, hosted, *_ = snippets(evidence, CardConfig(**AUTHOR), "tea-bot")
    assert all("  { device, dtype: 'q4' }\n" in snippet.code for snippet in (hub, hosted))


@pytest.fixture
def with_answers(tmp_path):
    """Writes the answers' form for these settings and author."""

    def write(author, **settings):
        evidence = read_evidence(write_run(tmp_path / "with-answers"))
        evidence.stamps["knowledge"]["outputs"]["answers/answers.json"] = "digest"
        config = evidence.config.model_copy(update={"answers": AnswersConfig(**settings)})
        forms = {s.form: s for s in snippets(replace(evidence, config=config), CardConfig(**author), "tea-bot")}
        return forms.get("answers")

    return write


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("https://tea.example/shop/model", "https://tea.example/shop/"),
        ("https://tea.example/bot", "https://your.host/"),
        ("", "https://your.host/"),
    ],
)
def test_a_site_with_answers_also_gets_code_that_looks_them_up(with_answers, url, site):
    snippet = with_answers(AUTHOR | {"url": url}, publish=True)
    assert f"import {{ Answers }} from '{site}answers.js';" in snippet.code
    assert f"Answers.open('{site}model/answers/', " in snippet.code
    assert list(snippet.sources) == [f"{site}model/answers/", site], "the longer one first"


@pytest.mark.parametrize("settings", [{}, {"publish": True, "mode": "model"}])
def test_without_published_answers_there_is_no_such_code(with_answers, settings):
    assert with_answers(AUTHOR, **settings) is None


def test_any_text_is_a_javascript_literal_of_that_text(tmp_path):
    texts = ['it\'s "so"', "a\nb\tc", "back\\slash \\' \\\"", "</script> `${x}`", "\u2028\u2029 é 茶", ""]
    script = tmp_path / "texts.mjs"
    script.write_text(f"console.log(JSON.stringify([{', '.join(map(js_string, texts))}]))", encoding="utf-8")
    shown = subprocess.run(["node", script], capture_output=True, text=True, check=True, encoding="utf-8")
    assert json.loads(shown.stdout) == texts


def test_a_fence_is_longer_than_any_inside():
    assert fenced("a ``` b", "text") == "````text\na ``` b\n````"


LIBRARY = """\
export const env = {};
export class PreTrainedTokenizer {}
export async function pipeline(task, model, options) {
  return async (messages, limits) => {
    const content = JSON.stringify([task, model, options.device, messages.length, limits.do_sample, env.remoteHost]);
    return [{ generated_text: [...messages, { role: 'assistant', content }] }];
  };
}
"""
ANSWERS_SCRIPT = """\
export const Answers = {
  async open(folder) {
    const settings = { unknown: `${folder} has nothing` };
    return { settings, lookUp: async (text) => ({ rung: 'unsure', passages: [{ passage: { text } }] }) };
  },
};
"""


class NodePage:
    """A tab of a browser without WebGPU: it asks the server for files, and Node runs them."""

    def __init__(self, folder):
        self.folder = folder

    def serve(self, urls):
        self.urls = urls

    def navigate(self, url):
        self.origin = url.removesuffix("/index.html")
        assert url == f"{self.origin}/index.html"
        _, _, rest = self.fetch(url).decode().partition('<script type="importmap">')
        self.imports = json.loads(rest.partition("</script>")[0])["imports"]
        assert set(self.imports) == {"@huggingface/transformers", "onnxruntime-web/webgpu", "onnxruntime-common"}

    def fetch(self, url):
        with urlopen(url) as response:
            assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
            return response.read()

    def evaluate(self, expression, timeout_seconds):
        assert timeout_seconds == 600
        (path,) = re.findall(r"import\('(/\w+\.mjs)'\)", expression)
        code = self.fetch(self.origin + path).decode()
        for number, (name, module) in enumerate(self.imports.items()):
            (self.folder / f"{number}.mjs").write_bytes(self.fetch(self.origin + module))
            code = code.replace(f"from '{name}'", f"from './{number}.mjs'")
        for start, local in self.urls.items():
            for script in re.findall(rf"from '{re.escape(start)}([\w.]+)'", code):
                assert self.fetch(local + script) == (WEB_DIR / script).read_bytes()
                (self.folder / f"{script}.mjs").write_text(ANSWERS_SCRIPT)
                code = code.replace(f"{start}{script}'", f"./{script}.mjs'")
        (self.folder / path[1:]).write_text(code)
        script = f"globalThis.navigator ??= {{}};\nconsole.log = () => {{}};\nconst answer = await {expression};\n"
        script = script.replace(f"'{path}'", f"'.{path}'") + "process.stdout.write(JSON.stringify(answer));\n"
        (self.folder / "main.mjs").write_text(script)
        return json.loads(subprocess.run(["node", self.folder / "main.mjs"], capture_output=True, check=True).stdout)


@pytest.fixture
def node_instead_of_chromium(tmp_path, monkeypatch):
    """The pages that were opened."""
    pages = []

    class Browser:
        version = "Node"

        def open(self):
            folder = tmp_path / f"page{len(pages)}"
            folder.mkdir()
            pages.append(NodePage(folder))
            return pages[-1]

    runtime = {name: tmp_path / name for name in ("@huggingface/transformers", "onnxruntime-web")}
    for folder in runtime.values():
        (folder / "dist").mkdir(parents=True)
        (folder / "dist/transformers.web.min.js").write_text(LIBRARY)
        (folder / "dist/ort.webgpu.bundle.min.mjs").write_text("export const env = {};\n")
    monkeypatch.setattr(snippet_run, "Browser", lambda: nullcontext(Browser()))
    monkeypatch.setattr("tinsmith.browser.runtime.runtime_folders", lambda: runtime)
    return pages


def test_every_form_runs_as_printed_where_node_stands_in_for_a_browser(
    printed, with_answers, node_instead_of_chromium, tmp_path
):
    answers = with_answers(AUTHOR, publish=True)
    for name in ("package", "answers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(name)
    runs = run_snippets([*printed, answers], tmp_path / "package", tmp_path / "answers")
    assert [(run.form, run.code, run.browser) for run in runs] == [
        (snippet.form, snippet.code, "Node") for snippet in (*printed, answers)
    ]
    assert [run.device for run in runs] == ["wasm", "wasm", ""]
    called = [json.loads(run.output) for run in runs[:2]]
    assert called == [
        ["text-generation", "tea/bot", "wasm", 2, False, None],
        ["text-generation", "bot", "wasm", 2, False, "https://tea.example/"],
    ]
    assert runs[2].output == "https://your.host/model/answers/ has nothing"
    assert all(0 < run.elapsed_seconds < 60 for run in runs)


def test_the_codes_addresses_are_answered_by_files_of_the_run(printed, node_instead_of_chromium, tmp_path, monkeypatch):
    (tmp_path / "package").mkdir()
    (tmp_path / "package/config.json").write_text("{}")
    served = []

    def evaluate(page, expression, timeout_seconds):
        served.append({url: page.fetch(f"{local}{_a_file_of(local)}") for url, local in page.urls.items()})
        return {"output": "", "device": "webgpu"}

    monkeypatch.setattr(NodePage, "evaluate", evaluate)
    hub, hosted = run_snippets(printed, tmp_path / "package", tmp_path)
    assert hub.device == hosted.device == "webgpu"
    version = next(package.version for package in runtime_packages() if package.name == ONNX_RUNTIME)
    cdn = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{version}/"
    expected = {cdn: b"export const env = {};\n"}
    assert served == [
        {**expected, "https://huggingface.co/tea/bot/resolve/main/": b"{}"},
        {**expected, "https://tea.example/bot/": b"{}"},
    ]


def _a_file_of(local):
    return "config.json" if local.endswith("/package/") else "dist/ort.webgpu.bundle.min.mjs"


@pytest.mark.browser
def test_both_forms_run_as_printed_and_answer_the_same(printed, package, tmp_path):
    runs = run_snippets(printed, package, tmp_path)
    assert [run.form for run in runs] == ["hub", "self_hosted"]
    assert [run.code for run in runs] == [snippet.code for snippet in printed]
    assert {run.device for run in runs} == {"wasm"}
    assert runs[0].output
    assert runs[0].output == runs[1].output
    assert all(run.browser.startswith("Chromium ") and run.elapsed_seconds > 0 for run in runs)


@pytest.mark.browser
@pytest.mark.parametrize(("question", "is_known"), [("What is the price of Sencha?", True), ("zzz zzz", False)])
def test_the_answers_code_shows_what_python_finds(with_answers, package, tmp_path, question, is_known):
    folder = tmp_path / "answers"
    folder.mkdir()
    write_tiny_answers(folder)
    author = AUTHOR | {"examples": [{"question": question, "reference": "4 euros"}]}
    (run,) = run_snippets([with_answers(author, publish=True)], package, folder)
    answers = Answers(folder)
    ranked = answers.look_up(question)
    assert (ranked.rung != "unsure") is is_known
    assert run.output == (ranked.passages[0][0].text if is_known else answers.unknown) and run.device == ""


@pytest.mark.browser
def test_code_that_does_not_work_stops_the_stage(printed, package, tmp_path):
    wrong = replace(printed[0], code=printed[0].code.replace("'q8'", "'bnb4'"))
    with pytest.raises(BrowserError, match="model_bnb4"):
        run_snippets([wrong], package, tmp_path)
