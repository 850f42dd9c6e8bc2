"""Score turns with lm-evaluation-harness's `onnxruntime` backend. Usage: python lm_harness_peer.py FOLDER

FOLDER holds a package's graph and tokenizer side by side, and `turns.json`. It gets `scores.json`: the negative
log-likelihood in nats and the number of scored tokens of each conversation.
"""

import json
import sys
from pathlib import Path

from lm_eval.models.onnxruntime_ort import ONNXRuntimeLM

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    model = ONNXRuntimeLM(pretrained=str(folder), execution_provider="cpu", max_length=8192)
    scores = {}
    for name, turns in json.loads((folder / "turns.json").read_text()).items():
        requests = []
        for context, turn in turns:
            before, whole = model.tok_encode(context), model.tok_encode(context + turn)
            if whole[: len(before)] != before:
                sys.exit(f"{name}: the turn does not start at a token")
            requests.append((None, before, whole[len(before) :]))
        results = model._loglikelihood_tokens(requests, disable_tqdm=True)
        scores[name] = (-sum(loglikelihood for loglikelihood, _ in results), sum(len(turn) for _, _, turn in requests))
    (folder / "scores.json").write_text(json.dumps(scores))
