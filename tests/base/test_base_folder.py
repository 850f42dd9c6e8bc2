"""A local model folder becomes the clean one, and what cannot be trusted or used is refused with the reason."""

import json
import shutil

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tiny_gguf import write_tiny_gguf
from transformers import AutoModelForCausalLM

from stage_runs import run_stage
from tinsmith.base.stage import resolve_base
from tinsmith.core.config import BaseConfig
from tinsmith.core.errors import ArtifactError, BaseModelError
from tinsmith.model.families import GEMMA3, SMOLLM2
from tinsmith.model.tokens import load_tokenizer


@pytest.fixture
def model(tmp_path, tiny_llama):
    """A copy of the tiny Llama with a licence and without a chat template, to be damaged."""
    folder = tmp_path / "my-base"
    shutil.copytree(tiny_llama, folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# My base\n")
    (folder / "LICENSE").write_text("the licence text")
    (folder / "chat_template.jinja").unlink()
    _edit(folder / "tokenizer_config.json", chat_template=None)
    return folder


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def _edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_clean_folder_computes_the_same_and_names_nothing_local(model, out):
    _edit(model / "config.json", _name_or_path="/home/ann/models/x", quantization_config={"quant_method": "gguf"})
    _edit(model / "generation_config.json", do_sample=True, top_k=64)
    result = run_stage(resolve_base, BaseConfig(model=str(model)), out)
    clean = out / "model"
    ids = torch.arange(30).unsqueeze(0) + 20
    logits = [AutoModelForCausalLM.from_pretrained(folder)(ids).logits for folder in (model, clean)]
    assert torch.equal(*logits)
    config = json.loads((clean / "config.json").read_text())
    assert config["dtype"] == "bfloat16" and config["model_type"] == "llama"
    assert not {"_name_or_path", "quantization_config", "auto_map"} & config.keys()
    tokenizer = json.loads((clean / "tokenizer_config.json").read_text())
    assert tokenizer["chat_template"] == (clean / "chat_template.jinja").read_text() == SMOLLM2.chat_template
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    chat = load_tokenizer(clean)
    generation = json.loads((clean / "generation_config.json").read_text())
    assert generation == {"bos_token_id": 1, "eos_token_id": list(chat.end_ids), "pad_token_id": 2}
    assert (clean / "LICENSE").read_text() == "the licence text"
    for path in out.rglob("*.json"):
        assert "/home/" not in path.read_text() and str(model.parent) not in path.read_text()
    assert {path.name for path in out.iterdir()} == {"model", "base.json", "inventory.json"}
    values = {m.id: m.value for m in result.measurements}
    assert values["base.parameters"] == AutoModelForCausalLM.from_pretrained(clean).num_parameters()
    assert values["base.files_bytes"] == sum(path.stat().st_size for path in clean.iterdir())


def test_record_says_where_everything_came_from(model, out):
    run_stage(resolve_base, BaseConfig(model=str(model)), out)
    record = json.loads((out / "base.json").read_text())
    assert record["id"] == record["requested"] == "my-base"
    assert record["source"] == "local" and record["revision"] is None
    assert set(record["files"]) == {
        "LICENSE",
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert record["license"]["id"] == "apache-2.0" and record["license"]["files"] == ["LICENSE"]
    assert record["license"]["name"] == "Apache License 2.0" and record["license"]["stated_in"] == "README.md"
    assert record["family"] == {"name": "smollm2", "title": "SmolLM2"}
    assert record["context_length"] == 512 and record["tied"] is True and record["dequantized_from"] is None
    assert (
        record["chat_template"]["replaced"]
        and record["chat_template"]["reason"] == "the base model has no chat template"
    )


def test_weights_of_a_persons_own_folder_are_copied_not_shared(model, out):
    run_stage(resolve_base, BaseConfig(model=str(model)), out)
    before = (out / "model/model.safetensors").read_bytes()
    with (model / "model.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\0\1\2\3")
    assert (out / "model/model.safetensors").read_bytes() == before


def test_other_precisions_and_shards_become_bf16(model, out):
    weights = load_file(model / "model.safetensors")
    names = sorted(weights)
    halves = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
    for file, keys in halves.items():
        save_file({key: weights[key].to(torch.float32) for key in keys}, model / file)
    index = {"metadata": {}, "weight_map": {key: file for file, keys in halves.items() for key in keys}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    (model / "model.safetensors").unlink()
    run_stage(resolve_base, BaseConfig(model=str(model)), out)
    placed = {key: value for file in halves for key, value in load_file(out / "model" / file).items()}
    assert all(value.dtype == torch.bfloat16 and torch.equal(value, weights[key]) for key, value in placed.items())
    loaded = AutoModelForCausalLM.from_pretrained(out / "model").state_dict()
    assert all(torch.equal(loaded[key], weights[key]) for key in weights)
    assert json.loads((out / "base.json").read_text())["stored_as"] == "F32"


@pytest.mark.parametrize("as_it_is", [True, False])
def test_full_disk_names_the_file_and_leaves_no_part_of_it(as_it_is, model, out, monkeypatch):
    if not as_it_is:
        weights = load_file(model / "model.safetensors")
        save_file({key: weight.to(torch.float32) for key, weight in weights.items()}, model / "model.safetensors")

    def full_disk(*arguments, **_):
        arguments[1].write_bytes(b"the first half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full_disk)
    monkeypatch.setattr("tinsmith.model.save.copy_file", full_disk)
    with pytest.raises(ArtifactError, match=r"out/model/model\.safetensors: cannot be written \(.*No space") as caught:
        run_stage(resolve_base, BaseConfig(model=str(model)), out)
    assert "Free some space" in caught.value.hint
    assert not (out / "model" / "model.safetensors").exists()


def test_token_without_embedding_row_is_dropped_and_named(model, out):
    tree = json.loads((model / "tokenizer.json").read_text())
    rows = json.loads((model / "config.json").read_text())["vocab_size"]
    tree["added_tokens"].append(tree["added_tokens"][0] | {"id": rows, "content": "<image>"})
    (model / "tokenizer.json").write_text(json.dumps(tree))
    run_stage(resolve_base, BaseConfig(model=str(model)), out)
    assert json.loads((out / "base.json").read_text())["dropped_tokens"] == ["<image>"]
    assert max(load_tokenizer(out / "model").tokenizer("a <image> b")["input_ids"]) < rows


def test_gemma_terms_bring_their_notice(tmp_path, out, tiny_gemma):
    folder = tmp_path / "gemma"
    shutil.copytree(tiny_gemma, folder)
    (folder / "LICENSE").rename(folder / "GEMMA_TERMS.txt")
    run_stage(resolve_base, BaseConfig(model=str(folder), license="gemma"), out)
    assert "subject to the Gemma Terms of Use" in (out / "model/NOTICE.txt").read_text()
    assert json.loads((out / "base.json").read_text())["license"]["files"] == ["GEMMA_TERMS.txt", "NOTICE.txt"]


def test_gguf_file_says_what_it_was(tmp_path, out, tiny_gemma):
    path = write_tiny_gguf(tiny_gemma, tmp_path / "tiny-q8.gguf", "gemma3", license="gemma", quantization="Q8_0")
    run_stage(resolve_base, BaseConfig(model=str(path), tokenizer=str(tiny_gemma)), out)
    record = json.loads((out / "base.json").read_text())
    assert record["id"] == "tiny-q8" and record["requested"] == "tiny-q8.gguf"
    assert record["dequantized_from"]["format"] == "GGUF Q8_0"
    assert "what that quantization lost is not restored" in record["dequantized_from"]["sentence"]
    assert record["license"]["id"] == "gemma" and record["license"]["stated_in"] == "GGUF metadata"
    assert set(record["files"]) == {"tiny-q8.gguf", "tokenizer.json"}
    assert load_tokenizer(out / "model").family is GEMMA3
    assert {path.name for path in out.iterdir()} == {"model", "base.json", "inventory.json"}


SAME = (
    "{% if messages[0].role != 'system' %}" + "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, "
    "trained by Hugging Face<|im_end|>\n{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (SAME, None),
        (
            SAME.replace("{{ m.content }}", "{{ m.content | upper }}"),
            "renders any of the probe conversations differently",
        ),
        (
            "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}" + SAME,
            "cannot render a system message and one turn, a system message and two turns (no system here)",
        ),
        (
            SAME + "{% if messages | length > 3 %}!{% endif %}",
            "renders two turns, a system message and two turns differently",
        ),
        (
            SAME.replace("<|im_start|>assistant\n{% endif %}", "<|im_start|>{% endif %}"),
            "renders any of the probe conversations",
        ),
        ("{% for %}", "cannot render any of the probe conversations"),
    ],
)
def test_chat_template_is_compared_by_what_it_renders(template, reason, model, out):
    _edit(model / "tokenizer_config.json", chat_template=template)
    run_stage(resolve_base, BaseConfig(model=str(model)), out)
    record = json.loads((out / "base.json").read_text())["chat_template"]
    assert record["replaced"] is (reason is not None)
    assert (reason or "renders the probe conversations the same") in record["reason"]


def test_stated_licence_wins_over_the_configured_one_with_a_warning(model, out):
    result = run_stage(resolve_base, BaseConfig(model=str(model), license="mit"), out)
    assert json.loads((out / "base.json").read_text())["license"]["id"] == "apache-2.0"
    assert "base.license says 'mit' but the model's README.md says 'apache-2.0'" in result.summary[1]


def _without(name):
    return lambda folder: (folder / name).unlink()


def _pickle_only(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"pickle")


def _quantized(folder):
    weights = load_file(folder / "model.safetensors")
    key = "model.layers.0.mlp.up_proj.weight"
    save_file(weights | {key: weights[key].to(torch.uint8)}, folder / "model.safetensors")


def _one_missing(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors")


def _cut(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def _foreign_tokens(folder):
    tree = json.loads((folder / "tokenizer.json").read_text())
    tree["model"]["vocab"]["zzz"] = 9999
    (folder / "tokenizer.json").write_text(json.dumps(tree))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without("config.json"), "my-base: not a model folder: no config.json"),
        (_without("model.safetensors"), "my-base: not a model folder: no .safetensors weights"),
        (_without("tokenizer.json"), "my-base: no tokenizer.json"),
        (_without("README.md"), "my-base: no licence stated in README.md or GGUF metadata"),
        (_pickle_only, "weights only as pytorch_model.bin; such files can run code when opened"),
        (_quantized, "weights stored as U8; expected BF16, F16, F32"),
        (_one_missing, r"1 tensor\(s\) do not fit config.json\n  model.layers.1.mlp.up_proj.weight: missing"),
        (_cut, "model.safetensors: not a complete safetensors file"),
        (_foreign_tokens, "1 tokens the model has no embedding row for"),
        (
            lambda folder: _edit(folder / "config.json", auto_map={"AutoModel": "modeling.Mine"}),
            "config.json: auto_map refers to Python code",
        ),
        (
            lambda folder: _edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["a.B", None]}),
            "tokenizer_config.json: auto_map refers to",
        ),
        (lambda folder: _edit(folder / "config.json", model_type="mistral"), "unsupported architecture 'mistral'"),
        (lambda folder: _edit(folder / "config.json", model_type="nonesuch"), "unsupported architecture 'nonesuch'"),
        (
            lambda folder: _edit(folder / "config.json", intermediate_size=100),
            r"mlp.down_proj.weight: shape \[64, 96\], config.json says \[64, 100\]",
        ),
        (
            lambda folder: (folder / "README.md").write_text("---\nlicense: [\n---\n"),
            "README.md: its front matter is not YAML",
        ),
    ],
)
def test_unusable_folder_is_refused(damage, message, model, out):
    damage(model)
    with pytest.raises(BaseModelError, match=message):
        run_stage(resolve_base, BaseConfig(model=str(model)), out)


def test_unknown_alias_lists_the_known_ones(out):
    with pytest.raises(
        BaseModelError, match="'smollm2-135m': no such alias, folder or file; did you mean 'smollm2-135m-inst"
    ) as caught:
        run_stage(resolve_base, BaseConfig(model="smollm2-135m"), out)
    assert "gemma-3-270m" in caught.value.hint


def test_other_file_is_refused(out, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(BaseModelError, match=r"'model.onnx': a file, but not a .gguf"):
        run_stage(resolve_base, BaseConfig(model=str(tmp_path / "model.onnx")), out)


def test_a_folder_of_the_current_directory_is_not_taken_for_the_base(tiny_llama, tmp_path, monkeypatch):
    shutil.copytree(tiny_llama, tmp_path / "my-model")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(BaseModelError, match=r"base\.model = 'my-model': no such alias, folder or file") as caught:
        run_stage(resolve_base, BaseConfig(model="my-model"), tmp_path / "out")
    assert "relative to the configuration file" in caught.value.hint
