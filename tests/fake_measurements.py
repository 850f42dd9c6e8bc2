"""What the stages of a made-up run measured and recorded; `fake_run.py` writes it to disk."""

from fake_rates import answer_measurements, knowledge_records
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
            "hardware": hardware,
        },
        "export/export.json": {
            "recipe": "gptq",
            "quantization": "blocks of 32 weights, GPTQ-calibrated",
            "recipes": [{"name": "rtn", "made": "rounded to nearest"}, {"name": "gptq", "made": "GPTQ-calibrated"}],
        },
        "bench/wasm.json": {
            "device": "wasm",
            "adapter": None,
            "software": False,
            "placement": {"CPUExecutionProvider": 63},
            "prompts": [{"name": "question"}, {"name": "256"}],
            **browser,
        },
        "bench/webgpu.json": {
            "device": "webgpu",
            "adapter": adapter,
            "software": True,
            "prompts": [{"name": "question"}],
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
                    "software": False,
                    "adapter": None,
                    "threads": 4,
                    "prompts": [{"name": "256"}],
                }
            },
        },
    }


def measurements() -> dict[str, list[Measurement]]:
    """Stage -> what it measured."""
    range_ = {"min": 7.5, "max": 9.25}
    found = {
        "base": [number("base.parameters", 134_515_008), number("base.files_bytes", 270_000_000, "bytes")],
        "data": [
            *(
                number(f"data.conversations.{k}", v)
                for k, v in {"total": 222, "train": 210, "val": 6, "test": 6}.items()
            ),
            *(number(f"data.category.cat_{i:02}", (24 - i) / 222, "fraction", 222) for i in range(12)),
            number("data.supervised_tokens.train", 12_345),
            number("gate.mask.bos", 0, "conversations", gate={"op": "==", "bound": 0}),
        ],
        "knowledge": answer_measurements(),
        "train": [
            *(
                number(f"train.{k}", v)
                for k, v in {
                    "epochs": 3,
                    "best_epoch": 2,
                    "steps": 81,
                    "batch_size": 8,
                    "grad_accum_steps": 2,
                    "lora_rank": 16,
                    "lora_alpha": 16,
                    "effective_batch_size": 16,
                    "trainable_parameters": 4_884_480,
                }.items()
            ),
            number("train.learning_rate", 5e-4, ""),
            number("train.elapsed_seconds", 754.2, "seconds"),
            number("train.loss.last", 1.9384, "nats/token"),
        ],
        "merge": [number("gate.merge.adapter_norm", 3.25, "norm", gate={"op": ">", "bound": 0.001})],
        "export": [
            number("export.weights_bytes", 86_500_000, "bytes"),
            number("export.download_bytes", 88_950_000, "bytes"),
            number("export.bits_per_parameter", 5.0123, "bits/parameter"),
            number("export.float16_range", 0.4236, "fraction", 4000, "tokens"),
            *(
                number(f"export.recipe.{name}.{k}", v, unit, n)
                for name, ratio in (("rtn", 1.4), ("gptq", 1.04))
                for k, v, unit, n in (
                    ("perplexity_ratio", ratio, "ratio", 6),
                    ("weights_bytes", 84e6, "bytes", 1),
                    ("seconds", 9.5, "seconds", 1),
                )
            ),
        ],
        "bench": [
            *(
                number(f"bench.{device}.{k}", v, unit, 5, "runs")
                for device in ("wasm", "webgpu")
                for k, v, unit in (
                    ("load_seconds", 1.046, "seconds"),
                    ("first_token_seconds", 0.4512, "seconds"),
                    ("prompt_tokens", 41, "count"),
                    ("new_tokens", 64, "count"),
                )
            ),
            number("bench.wasm.decode_tokens_per_second", 8.7654, "tokens/s", 5, "runs", spread=range_),
            number("bench.webgpu.decode_tokens_per_second", 0.2512, "tokens/s", 5, "runs"),
            number("bench.wasm.warm_load_seconds", 0.5, "seconds", 1, "loads"),
            number("bench.wasm.peak_memory_bytes", 812_000_000, "bytes", 1, "browsers"),
            *_of_a_prompt("bench.wasm"),
        ],
        "remote": [
            number(
                "remote.1.wasm.decode_tokens_per_second",
                21.5,
                "tokens/s",
                5,
                "runs",
                spread={"min": 20.5, "max": 22.25},
            ),
            number("remote.1.wasm.first_token_seconds", 0.75, "seconds", 5, "runs"),
            number("remote.1.wasm.load_seconds", 4.25, "seconds", 1, "loads"),
            *_of_a_prompt("remote.1.wasm"),
        ],
    }
    return {**found, "evaluate": [], "review": [], "judge": []}


def _of_a_prompt(prefix: str) -> list[Measurement]:
    return [
        number(f"{prefix}.{key}.256", value, unit, 3, "runs")
        for key, value, unit in (
            ("first_token_seconds", 3.25, "seconds"),
            ("prefill_tokens_per_second", 78.5, "tokens/s"),
            ("decode_tokens_per_second", 15.5, "tokens/s"),
            ("prompt_tokens", 255, "count"),
            ("new_tokens", 32, "count"),
        )
    ]
