"""Generated model files: each is used, or refused by a `BaseModelError` that names the model and says what to do."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import strategies as some
from tiny_gguf import write_tiny_gguf

from fuzzing import COUNTS, changed, damaged, for_each
from tinsmith.base.chat_template import replacement_reason
from tinsmith.base.folder import place_model
from tinsmith.base.gguf import convert
from tinsmith.base.tokenizer import place_tokenizer
from tinsmith.base.weights import place_weights
from tinsmith.core.errors import BaseModelError
from tinsmith.model.load import load_model_config
from tinsmith.model.tokens import load_tokenizer

pytestmark = pytest.mark.parametrize("count", COUNTS)


def used_or_refused(action) -> bool:
    """Whether the model was used."""
    try:
        action()
    except BaseModelError as error:
        assert "victim" in error.message and error.hint, error.message
        return False
    return True


class Folder:
    """A folder that is filled anew for each input, and one for results."""

    def __init__(self, root: Path, source: Path) -> None:
        self.model, self.out, self._source = root / "victim", root / "out", source

    def reset(self) -> None:
        for folder in (self.model, self.out):
            shutil.rmtree(folder, ignore_errors=True)
        self.model.mkdir()
        for path in self._source.iterdir():
            (self.model / path.name).hardlink_to(path)

    def write(self, name: str, content: bytes) -> None:
        (self.model / name).unlink()
        (self.model / name).write_bytes(content)


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_gguf(count, kind, tmp_path, request):
    source = request.getfixturevalue({"llama": "tiny_llama", "gemma3": "tiny_gemma"}[kind])
    good = write_tiny_gguf(source, tmp_path / "good.gguf", kind, quantization="Q8_0").read_bytes()
    path, out, used = tmp_path / "victim.gguf", tmp_path / "out", []
    tokenizer = source / "tokenizer.json" if kind == "gemma3" else None

    def check(content: bytes) -> None:
        path.write_bytes(content)
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        used.append(used_or_refused(lambda: convert(path, tokenizer, out)))

    check(good)
    assert used == [True]
    for_each(count // 2, some.one_of(damaged(good, 9000), damaged(good, len(good))), check)
    assert sum(used) < len(used) * 0.8


def test_config(count, tmp_path, tiny_llama, tiny_gemma):
    used = []
    for source in (tiny_llama, tiny_gemma):
        folder = Folder(tmp_path, source)
        tree = json.loads((source / "config.json").read_bytes())

        def check(value: object, folder: Folder = folder) -> None:
            folder.reset()
            folder.write("config.json", json.dumps(value).encode())
            used.append(used_or_refused(lambda: place_model(folder.model, "victim", folder.out, True)))

        for_each(count // 10, changed(tree), check)  # a model is built for each
    assert 0 < sum(used) < len(used) * 0.9


def test_tokenizer(count, tmp_path, tiny_llama):
    folder, used, config = Folder(tmp_path, tiny_llama), [], load_model_config(tiny_llama)
    trees = {name: json.loads((tiny_llama / name).read_bytes()) for name in ("tokenizer.json", "tokenizer_config.json")}

    def check(value: tuple[str, object]) -> None:
        name, tree = value
        folder.reset()
        folder.write(name, json.dumps(tree).encode())
        folder.out.mkdir()
        (folder.out / "config.json").hardlink_to(tiny_llama / "config.json")
        used.append(used_or_refused(lambda: place_tokenizer(folder.model, "victim", config, folder.out)))

    values = [some.tuples(some.just(name), changed(tree)) for name, tree in trees.items()]
    for_each(count, some.one_of(values), check)
    assert 0 < sum(used) < len(used) * 0.9


def test_safetensors(count, tmp_path, tiny_llama):
    folder, used = Folder(tmp_path, tiny_llama), []
    good = (tiny_llama / "model.safetensors").read_bytes()
    length = int.from_bytes(good[:8], "little")
    header = json.loads(good[8 : 8 + length])
    config = load_model_config(tiny_llama)

    def check(value: object) -> None:
        content = value
        if not isinstance(value, bytes):
            text = json.dumps(value).encode()
            content = len(text).to_bytes(8, "little") + text + good[8 + length :]
        folder.reset()
        folder.out.mkdir()
        folder.write("model.safetensors", content)
        used.append(used_or_refused(lambda: place_weights(folder.model, "victim", config, folder.out, True)))

    for_each(count, some.one_of(changed(header), damaged(good, length + 8)), check)
    assert 0 < sum(used) < len(used) * 0.9


PIECES = """{{ {%  }} %} {%- -%} {# #} messages messages[0] messages[0]['content'] bos_token .role | tojson |join(',')
 |length 'x'*100000
 range(99999) {%for_m_in_messages%} {%endfor%} {%for_i_in_range(99999)%} {%if_x%} {%else%} {%endif%}
 {%set_n=namespace(s='a')%} {%set_n.s=n.s+n.s%} {{n.s}} {%macro_f(x)%}{{f(x)}}{%endmacro%} {{f(1)}} {%generation%}
 {%endgeneration%} raise_exception('no') strftime_now('%Y') cycler joiner lipsum(n=99) .__class__ |attr('__class__')
 {{cycler.__init__.__globals__}} {{9**9**9}} {{1/0}} {%include'x'%} {%import'os'as_o%} dict(a=1) [1]*99999999 ( ) [ ] ,
 + ~ not in is defined loop.index {%break%} add_generation_prompt |list |batch(2) |format(9) '%99999999d'%1 {%break%}
 é 😀""".split()
PIECES = [piece if "__" in piece else piece.replace("_", " ") for piece in PIECES]


def test_chat_template(count, tmp_path, tiny_llama):
    chat = load_tokenizer(tiny_llama)
    template = some.lists(some.one_of(some.sampled_from(PIECES), some.text(max_size=8)), max_size=12)
    good = some.integers(0, len(chat.family.chat_template)).flatmap(
        lambda cut: template.map(
            lambda parts: chat.family.chat_template[:cut] + " ".join(parts) + chat.family.chat_template[cut:]
        )
    )
    reasons = []

    def check(source: str) -> None:
        reason = replacement_reason(chat, source, "victim")
        assert reason is None or "the base's own template" in reason
        reasons.append(reason)

    for_each(count, some.one_of(template.map(" ".join), good), check)
    assert any("cannot render" in (reason or "") for reason in reasons)
