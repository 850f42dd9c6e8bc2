"""The merge gates hold for a true merge and fail for one that lost the adapter; tied weights stay tied."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from stage_runs import run_stage
from tinsmith import merge
from tinsmith.core.config import TrainConfig
from tinsmith.core.device import Device
from tinsmith.core.errors import ArtifactError, GateError
from tinsmith.core.run_dir import copy_file, read_json, write_json
from tinsmith.merge import merge_adapter
from tinsmith.model.conversations import write_jsonl
from tinsmith.train.qlora import load_qlora, save_adapter
from tiny import tiny_conversations


@pytest.fixture(params=["tiny_llama", "tiny_gemma"])
def run(request, tmp_path):
    """A run with an adapter that is not zero; returns its root."""
    shutil.copytree(request.getfixturevalue(request.param), tmp_path / "base" / "model")
    (tmp_path / "base" / "model" / "LICENSE").write_text("terms of the base")
    (tmp_path / "data").mkdir()
    write_jsonl(tmp_path / "data" / "val.jsonl", tiny_conversations(10))
    device = Device(torch.device("cpu"), torch.float32, "for this test")
    model = load_qlora(tmp_path / "base" / "model", TrainConfig(lora_alpha=32), device, seed=0).model
    torch.manual_seed(5)
    weights = {name: torch.randn_like(p) * 0.03 for name, p in model.named_parameters() if p.requires_grad}
    save_adapter(model, weights, "org/tiny", tmp_path / "train" / "adapter")
    (tmp_path / "merge").mkdir()
    return tmp_path


def merged(root):
    return run_stage(merge_adapter, root / "base", root / "data", root / "train", root / "merge")


def change_adapter(root, change):
    path = root / "train" / "adapter" / "adapter_model.safetensors"
    save_file(change({name: tensor.clone() for name, tensor in load_file(path).items()}), path)


def test_true_merge_passes_every_gate(run):
    values = {m.id: m.value for m in merged(run).measurements}
    assert values["gate.merge.merged_vs_reloaded"] <= 1e-5
    assert values["gate.merge.adapter_vs_merged"] < 0.1 * values["gate.merge.merged_vs_base"]
    assert values["gate.merge.kl"] < 0.01 and values["gate.merge.adapter_norm"] > 0


def test_weights_are_base_plus_scaled_product(run):
    merged(run)
    name = "model.layers.1.mlp.down_proj"
    adapter = load_file(run / "train" / "adapter" / "adapter_model.safetensors")
    a, b = (adapter[f"base_model.model.{name}.lora_{factor}.weight"] for factor in "AB")
    base = load_file(run / "base" / "model" / "model.safetensors")[f"{name}.weight"]
    merged_weight = load_file(run / "merge" / "model" / "model.safetensors")[f"{name}.weight"]
    expected = base.double() + 32 / 16 * b.double() @ a.double()
    assert merged_weight.dtype == torch.bfloat16
    # Half a unit in the last of bfloat16's 8 bits.
    assert ((merged_weight.double() - expected).abs() <= expected.abs() * 2**-8).all()


def test_merge_that_forgets_the_adapter_fails(run, monkeypatch):
    monkeypatch.setattr(merge, "merged_weight", lambda weight, a, b, scale: weight.to(torch.bfloat16))
    with pytest.raises(GateError, match=r"gate\.merge\.adapter_vs_merged") as caught:
        merged(run)
    assert "lost the adapter" in caught.value.hint
    assert not (caught.value.measurements[-1]).passed


def test_merge_with_the_wrong_scale_fails(run, monkeypatch):
    true = merge.merged_weight
    monkeypatch.setattr(merge, "merged_weight", lambda weight, a, b, scale: true(weight, a, b, 0.3 * scale))
    with pytest.raises(GateError, match=r"gate\.merge\.adapter_vs_merged"):
        merged(run)


def test_folder_that_is_not_the_merge_fails(run, monkeypatch):
    write = merge._write_merged

    def spoiled(base_dir, deltas, out_dir):
        write(base_dir, deltas, out_dir)
        tensors = load_file(out_dir / "model.safetensors")
        tensors["model.norm.weight"] += 0.5
        save_file(tensors, out_dir / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(merge, "_write_merged", spoiled)
    with pytest.raises(GateError, match=r"gate\.merge\.merged_vs_reloaded"):
        merged(run)


def test_zero_adapter_fails(run):
    change_adapter(run, lambda tensors: {name: t * 0 if "lora_B" in name else t for name, t in tensors.items()})
    with pytest.raises(GateError, match=r"gate\.merge\.adapter_norm"):
        merged(run)


def test_folder_is_plain_transformers_with_the_head_still_tied(run):
    merged(run)
    base, out = run / "base" / "model", run / "merge" / "model"
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in base.iterdir())
    for name in ("LICENSE", "config.json", "tokenizer.json", "generation_config.json"):
        assert (out / name).read_bytes() == (base / name).read_bytes()
    assert "lm_head.weight" not in load_file(out / "model.safetensors")
    model = AutoModelForCausalLM.from_pretrained(out)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_adapter_on_a_tied_head_is_refused(run):
    name = "base_model.model.lm_head.lora_{}.weight"
    change_adapter(
        run, lambda tensors: tensors | {name.format("A"): torch.ones(16, 64), name.format("B"): torch.ones(384, 16)}
    )
    with pytest.raises(ArtifactError, match=r"adapter on lm_head\.weight, which embedding and head share"):
        merged(run)


def test_adapter_of_another_base_is_refused(run):
    change_adapter(run, lambda tensors: {name.replace("layers.1.", "layers.7."): t for name, t in tensors.items()})
    with pytest.raises(ArtifactError, match=r"no weight 'model\.layers\.7.* for the adapter \(7 of 14 missing\)"):
        merged(run)


def test_adapter_with_other_arithmetic_is_refused(run):
    path = run / "train" / "adapter" / "adapter_config.json"
    write_json(path, read_json(path) | {"use_dora": True})
    with pytest.raises(ArtifactError, match="use_dora = True cannot be merged"):
        merged(run)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_full_disk_names_the_file_and_leaves_no_part_of_it(run, name, monkeypatch):
    def full_disk(*arguments, **_):
        target = next(Path(path) for path in reversed(arguments) if isinstance(path, str | Path))
        target.write_bytes(b"the first half")
        if target.suffix == ".safetensors":
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    def copy(source, target):
        (full_disk if target.name == name else copy_file)(source, target)

    if name == "model.safetensors":
        monkeypatch.setattr("safetensors.torch.save_file", full_disk)
    monkeypatch.setattr("tinsmith.model.save.copy_file", copy)
    with pytest.raises(
        ArtifactError, match=rf"merge/model/{name}: cannot be written \(.*No space left on device"
    ) as caught:
        merged(run)
    assert "Free some space" in caught.value.hint
    assert not (run / "merge" / "model" / name).exists()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk takes root on Linux")
def test_a_disk_that_is_really_full(run):
    disk = run / "merge"
    # Room for the tokenizer's files, not for the weights.
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tinsmith-test", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let root mount")
    try:
        with pytest.raises(ArtifactError, match=r"model\.safetensors: cannot be written \(.*No space left on device"):
            merged(run)
        assert (disk / "model" / "config.json").exists() and not (disk / "model" / "model.safetensors").exists()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
