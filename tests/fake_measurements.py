"""What the stages of a made-up run measured and recorded; `fake_run.py` writes it to disk."""

from fake_rates import knowledge_records
from fake_raw import prompt_runs
from tinsmith.core.measure import Measurement

NLL_PER_CONVERSATION = {"base": 40.0, "tuned": 20.0, "int4": 22.0, "int4_float16": 22.1, "int4_int8": 22.3}
"""Mean, in nats. Each conversation has 10 supervised tokens and 50 bytes, so the loss is a tenth of this."""
SHARES = {
    "cat_00": (0.7, 0.75, 0.8, 0.85, 0.9),
    "cat_01": (0.9, 0.95, 1.0, 1.0, 1.05, 1.1),
    "cat_02": (1.2, 1.2, 1.3, 1.3),  # too few to be the worst
}
"""Category -> nats of each of its conversations, as a share of the mean over all 15."""


def sums(split: str) -> dict[str, list[dict]]:
    """Model -> sums of each conversation; the package's other graphs on the test split alone."""
    return {
        model: [
            {"id": f"{category}-{number}", "category": category, "nll": nll * share, "tokens": 10, "bytes": 50}
            for category, shares in SHARES.items()
            for number, share in enumerate(shares)
        ]
        for model, nll in NLL_PER_CONVERSATION.items()
        if split == "test" or not model.startswith("int4_")
    }


def number(id: str, value: float, unit: str = "count", count: int = 6, count_of: str = "conversations", **more):
    """A measurement with a method nobody looks at."""
    return Measurement(id, value, unit, count, count_of, "test.method", **more)


def records() -> dict[str, dict]:
    """Run-relative path -> JSON record, as each stage writes it."""
    hardware = {"cpu": "Testor 9000", "cores": 2, "memory_bytes": 8_000_000_000, "gpu": None}
    browser = {"browser": "Chromium 156.0.1", "os": "Linux 6.1", "cpu": "Testor 9000", "threads": 2}
    steps = [{"name": "loaded", "before": 62, "after": 60, "note": "2 without an answer"}]
    adapter = {"vendor": "google", "architecture": "swiftshader", "device": "", "description": "SwiftShader"}
    return {
        "base/base.json": {
            "id": "tea/base-1b",
            "revision": "pkg==1.2",
            "dequantized_from": {"format": "Q4_1", "sentence": "Read from a GGUF Q4_1 file."},
            "license": {
                "id": "gemma",
                "name": "Gemma Terms of Use",
                "link": "https://ai.google.dev/gemma/terms",
                "warning": "base.license says apache-2.0",
            },
            "chat_template": {"replaced": True, "reason": "the base has none"},
        },
        "data/report.json": {
            "system_prompt": "You sell tea.",
            "language": "en",
            "data": "tea.jsonl",
            "source": "Written by the shop",
            "license": "CC-BY-4.0",
            "categories": [{"name": f"cat_{i:02}", "count": 24 - i, "share": (24 - i) / 222} for i in range(12)],
            "splits": {"train": 210, "val": 6, "test": 6},
            "steps": steps,
            "records": dict.fromkeys(("dropped", "duplicate", "cut", "repaired", "masked", "flagged"), 0),
            "changes": [],
            "contradictions": [],
        },
        **knowledge_records(),
        "train/train.json": {
            "framework": "Transformers 5.23.0 + PEFT 0.21.0 + bitsandbytes 0.50.2",
            "backend": "peft",
            "backend_reason": "no CUDA device",
            "method": "QLoRA",
            "quantization": "NF4 with double quantization",
            "compute_dtype": "bfloat16",
            "compute_dtype_reason": "the CPU has avx512_bf16",
            "schedule": "cosine",
            "target_modules": ["q_proj", "v_proj"],
            "energy": {"joules": {"processor 0": 5000.0, "memory of processor 0": 400.5}, "not_measured": ""},
            "hardware": hardware,
            "settings": {
                "batch_size": 8,
                "grad_accum_steps": 2,
                "learning_rate": 5e-4,
                "lora_rank": 16,
                "lora_alpha": 16,
            },
            "elapsed_seconds": 754.2,
            "peak_memory_bytes": 2_500_000_000,
            "planned_memory_bytes": 2_400_000_000,
            "resumed": 0,
        },
        "export/export.json": {
            "recipe": "gptq",
            "block_size": 32,
            "settings": {"max_bits_per_parameter": 6.0},
            "parameters": 138_060,
            "layers": 2,
            "calibration_conversations": 40,
            "seconds": 95.0,
            "quantization": "blocks of 32 weights, GPTQ-calibrated",
            "recipes": [{"name": "rtn", "made": "rounded to nearest"}, {"name": "gptq", "made": "GPTQ-calibrated"}],
        },
        "evaluate/evaluate.json": {
            "groups": {"reworded": {"questions": 4, "source": "wordings of training answers", "reason": ""}},
            "absent": {"evaluate.answers.format_valid": "most training answers have no JSON object with the same keys"},
            "closed_book": {"withheld": ""},
        },
        "bench/wasm.json": {
            "device": "wasm",
            "engine": "onnxruntime",
            "adapter": None,
            "software": False,
            "placement": {"CPUExecutionProvider": 63},
            "load_seconds": 1.046,
            "warm_load_seconds": 0.5,
            "peak_memory_bytes": 812_000_000,
            "files": [{"path": "model/onnx/model_int8.onnx", "bytes": 86_500}],
            "prompts": [
                prompt_runs("question", 41, 64, {7.5: 0.46, 8.0: 0.455, 8.7654: 0.4512, 9.0: 0.45, 9.25: 0.44}),
                prompt_runs("256", 255, 32, {15.5: 3.25}),
            ],
            **browser,
        },
        "bench/webgpu.json": {
            "device": "webgpu",
            "engine": "own",
            "adapter": adapter,
            "software": True,
            "load_seconds": 1.046,
            "warm_load_seconds": None,
            "peak_memory_bytes": 0,
            "files": [{"path": "model/onnx/model_q4.onnx", "bytes": 86_500}],
            "prompts": [prompt_runs("question", 41, 2, {0.2512: 0.4512})],
            **browser,
        },
        "remote/1.json": {
            "name": "Pixel | *9*",
            "browser": "Chrome 150",
            "os": "Android",
            "cores": 8,
            "backends": {
                "wasm": {
                    "device": "wasm",
                    "engine": "onnxruntime",
                    "software": False,
                    "adapter": None,
                    "threads": 4,
                    "load_seconds": 4.25,
                    "warm_load_seconds": None,
                    "prompts": [
                        prompt_runs("question", 41, 64, {20.5: 0.8, 21.0: 0.77, 21.5: 0.75, 22.0: 0.74, 22.25: 0.7}),
                        prompt_runs("256", 255, 32, {15.5: 3.25}),
                    ],
                }
            },
        },
    }
