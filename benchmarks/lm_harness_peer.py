"""lm-evaluation-harness's `onnxruntime` backend on the turns in FOLDER/turns.json. Usage: python lm_harness_peer.py FOLDER

FOLDER holds a package's graph and tokenizer, side by side; `scores.json` is written into it: for each conversation its
negative log-likelihood in nats and its number of scored tokens.
"""

import json
import sys
from pathlib import Path

from lm_eval.models.onnxruntime_ort import ONNXRuntimeLM

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    model = ONNXRuntimeLM(pretrained=str(folder), execution_provider="cpu", max_length=8192)
    scores = {}
    for id, turns in json.loads((folder / "turns.json").read_text()).items():
        requests = []
        for context, turn in turns:
            before, whole = model.tok_encode(context), model.tok_encode(context + turn)
            if whole[: len(before)] != before:
                sys.exit(f"{id}: the turn does not start at a token")
            requests.append((None, before, whole[len(before) :]))
        found = model._loglikelihood_tokens(requests, disable_tqdm=True)
        scores[id] = (-sum(loglikelihood for loglikelihood, _ in found), sum(len(turn) for _, _, turn in requests))
    (folder / "scores.json").write_text(json.dumps(scores))
