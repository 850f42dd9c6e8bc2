"""What remote.html sends, for tests of what becomes of it."""

import json

from tinsmith.bench.remote_result import signature_of

CODE = "abcdefghijklmnop"


def result(**changes) -> dict:
    """As the page sends it."""
    run = {"askedAt": 1000.0, "times": [1500.0, 1600.0, 1700.0]}
    prompt = {"name": "question", "promptTokens": 20, "newTokens": 3, "notMeasured": "", "runs": [run] * 5}
    long = {"name": "256", "promptTokens": 255, "newTokens": 3, "notMeasured": "", "runs": [run]}
    ready = {
        "device": "wasm",
        "engine": "onnxruntime",
        "graph": "int8_page",
        "notice": "",
        "adapter": None,
        "crossOriginIsolated": True,
        "threads": 4,
        "versions": {"onnxruntime-web": "1.31.0"},
        "seconds": 3.5,
        "id": 1,
        "files": ["a"],
    }
    backend = {
        "asked": "wasm",
        "measured": {"ready": ready, "software": False, "prompts": [prompt, long]},
        "reloaded": {"warmLoadSeconds": 1.25, "placement": {"CPUExecutionProvider": 63}},
    }
    return {
        "package": "0" * 64,
        "name": "Pixel 9",
        "userAgent": "Mozilla/5.0 (Linux; Android 16) Chrome/150.0 Mobile Safari/537.36",
        "cores": 8,
        "backends": [backend],
    } | changes


def signed(value: dict) -> tuple[bytes, str]:
    body = json.dumps(value).encode()
    return body, signature_of(CODE, body)
