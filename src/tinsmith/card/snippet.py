"""The card's How-to-Use code: plain Transformers.js, and the site's `answers.js` beside it."""

import json
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from tinsmith.card.evidence import Evidence
from tinsmith.core.config import CardConfig
from tinsmith.model.package_format import FLOAT32, INT8_STOCK, is_weights_file

NEUTRAL_QUESTION = "Hello! What can you help me with?"
"""Printed if no example is approved: a question from the data would publish somebody's words."""

_PLACEHOLDER_SITE = "https://your.host/"
_PLACEHOLDER_URL = f"{_PLACEHOLDER_SITE}model/"
_HUB_HOSTS = ("huggingface.co", "hf.co")
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


_ANSWERS = """\
import {{ PreTrainedTokenizer }} from '@huggingface/transformers';
import * as ort from 'onnxruntime-web/webgpu';
import {{ Answers }} from {module};

// Downloads the answers and their encoders once. What visitors type is sent nowhere.
const answers = await Answers.open({folder}, {{ PreTrainedTokenizer, ort }});
const {{ rung, passages }} = await answers.lookUp({question});

// If `sure` or `likely`, reply in the owner's words. If `unsure`, say so, or let the model answer as above.
const [{{ passage }}] = passages;
const reply = rung === 'unsure' ? answers.settings.unknown : passage.text;

console.log(rung, reply, passage.source);
"""


_MAX_NEW_TOKENS = 128
"""Of code that is printed before an evaluation."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """One form of the code."""

    form: str
    """`hub`, `self_hosted` or `answers`."""
    code: str
    sources: dict[str, str]
    """Start of the URLs from which the code loads files -> its path on the test's server."""


def _max_new_tokens(evidence: Evidence) -> int:
    """Tokens that a reply may have: as configured, else as in the evaluation."""
    decoding = (evidence.record("evaluate", "evaluate.json") or {}).get("decoding", {})
    return evidence.config.evaluate.max_new_tokens or decoding.get("max_new_tokens") or _MAX_NEW_TOKENS


def snippets(evidence: Evidence, config: CardConfig, name: str) -> list[Snippet]:
    """The forms of the code: with the package on a model hub, with the package on one's own host, and with answers."""
    messages = _messages(config, evidence.config.public_system_prompt)
    ask = _ASK.format(messages=messages, max_new_tokens=_max_new_tokens(evidence))
    options = _options(evidence)
    hub_id = config.hub_id or f"YOUR-ORG/{name}"
    url = self_hosted_url(config)
    host, _, folder = url.rstrip("/").rpartition("/")
    answers = _answers_snippet(evidence, config)
    return [
        Snippet(
            "hub",
            _HUB.format(model=js_string(hub_id), options=options, ask=ask),
            {f"https://huggingface.co/{hub_id}/resolve/main/": "/package/"},
        ),
        Snippet(
            "self_hosted",
            _SELF_HOSTED.format(host=js_string(host + "/"), model=js_string(folder), options=options, ask=ask),
            {url: "/package/"},
        ),
        *([answers] if answers else []),
    ]


def _answers_snippet(evidence: Evidence, config: CardConfig) -> Snippet | None:
    """Code that looks a question up with the site's `answers.js`; None if the site does not publish the answers."""
    settings = evidence.config.answers
    if settings.mode == "model" or not settings.publish or not evidence.sha256("knowledge/answers/answers.json"):
        return None
    package_url = self_hosted_url(config)
    site = urljoin(package_url, "..") if package_url.endswith("/model/") else _PLACEHOLDER_SITE
    folder = f"{site}model/answers/"
    code = _ANSWERS.format(
        module=js_string(f"{site}answers.js"), folder=js_string(folder), question=js_string(_question(config))
    )
    return Snippet("answers", code, {folder: "/answers/", site: "/web/"})


def _question(config: CardConfig) -> str:
    return config.examples[0].question if config.examples else NEUTRAL_QUESTION


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
    messages = [("system", system_prompt)] if system_prompt else []
    messages.append(("user", _question(config)))
    return ",\n".join(f"  {{ role: {js_string(role)}, content: {js_string(content)} }}" for role, content in messages)
