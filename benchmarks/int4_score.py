"""Score INT4 candidates: perplexity over the tuned model's. Usage: python int4_score.py PLAN.json SCORES.json

Packages run on ONNX Runtime, one conversation at a time. The tuned model and the peers' dequantized weights run in
float32 over packs, which tests prove equal to separate conversations.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from tinsmith.core.device import Device, choose_device
from tinsmith.derive.losses import paired_ratio
from tinsmith.evaluate.nll import onnx_scorer
from tinsmith.export.models import conversation_losses, frozen_model
from tinsmith.model.conversations import read_jsonl
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.package_format import FLOAT32
from tinsmith.model.tokens import load_tokenizer

FLOAT32_CPU = Device(torch.device("cpu"), torch.float32, "")


def main(plan: dict) -> dict:
    model_dir = Path(plan["run"]) / "merge" / "model"
    tokenizer = load_tokenizer(model_dir)
    sets = {
        name: tokenizer.encode_all(read_jsonl(Path(path))[: plan["most"][name]])
        for name, path in plan["conversations"].items()
    }
    model = frozen_model(model_dir, FLOAT32_CPU)
    tuned_losses = {name: conversation_losses(model, tokens) for name, tokens in sets.items()}
    scores = {}
    for candidate, row in plan["candidates"].items():
        if "package" in row:
            scorer = onnx_scorer(load_onnx(Path(row["package"]) / FLOAT32.file, threads=torch.get_num_threads()))
            losses = {name: [scorer(tokens) for tokens in tokens_of] for name, tokens_of in sets.items()}
        else:
            parameters = dict(model.named_parameters())
            for name, values in load_file(row["values"]).items():
                parameters[name].data.copy_(values)
            losses = {name: conversation_losses(model, tokens) for name, tokens in sets.items()}
        scores[candidate] = {}
        for name, (ratio_key, low, high) in {
            "test": ("ppl_ratio", "ppl_ratio_low", "ppl_ratio_high"),
            "other": ("other_ratio", "other_low", "other_high"),
        }.items():
            ratio, interval = paired_ratio(
                losses[name], tuned_losses[name], [tokens.supervised for tokens in sets[name]], plan["seed"]
            )
            scores[candidate] |= {ratio_key: ratio, low: interval.get("ci95_low"), high: interval.get("ci95_high")}
        print(candidate, scores[candidate], flush=True)
    return scores


if __name__ == "__main__":
    choose_device()  # limits the cache of kernels, which grows with every new length
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
