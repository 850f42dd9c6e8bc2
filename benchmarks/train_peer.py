"""Train once by the stock path: TRL's SFTTrainer + PEFT + bitsandbytes NF4 with its defaults, in its own environment.

Usage: python train_peer.py PLAN.json OUT_DIR. `PLAN.json` is written by `train.py`.
"""

import json
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback
from trl import SFTConfig, SFTTrainer


class StepTimes(TrainerCallback):
    """Wall time of every optimizer step."""

    def __init__(self):
        self.seconds: list[float] = []
        self.losses: list[float] = []

    def on_step_begin(self, *args, **kwargs):
        self._started = time.perf_counter()

    def on_step_end(self, *args, **kwargs):
        self.seconds.append(time.perf_counter() - self._started)
        print(f"step {len(self.seconds)}: {self.seconds[-1]:.1f} s", file=sys.stderr, flush=True)

    def on_log(self, args, state, control, logs, **kwargs):
        if "loss" in logs:
            self.losses.append(logs["loss"])


def main(plan_path: Path, out_dir: Path) -> None:
    plan = json.loads(plan_path.read_text())
    cuda = torch.cuda.is_available()
    model = AutoModelForCausalLM.from_pretrained(
        plan["model_dir"],
        dtype=torch.bfloat16,
        device_map={"": "cuda" if cuda else "cpu"},
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        ),
    )
    rows = [
        {"input_ids": ids, "labels": [token if on else -100 for token, on in zip(ids, mask, strict=True)]}
        for ids, mask in zip(plan["ids"], plan["masks"], strict=True)
    ]
    times = StepTimes()
    trainer = SFTTrainer(
        model=model,
        processing_class=AutoTokenizer.from_pretrained(plan["model_dir"]),
        train_dataset=Dataset.from_list(rows),
        peft_config=LoraConfig(
            r=plan["rank"],
            lora_alpha=plan["alpha"],
            lora_dropout=0.0,
            bias="none",
            task_type="CAUSAL_LM",
            target_modules=plan["target_modules"],
        ),
        callbacks=[times],
        args=SFTConfig(
            output_dir=str(out_dir / "trainer"),
            use_cpu=not cuda,
            max_steps=plan["steps"],
            per_device_train_batch_size=plan["peer_batch_size"],
            gradient_accumulation_steps=plan["effective_batch_size"] // plan["peer_batch_size"],
            learning_rate=plan["learning_rate"],
            lr_scheduler_type="constant",
            warmup_steps=0,
            weight_decay=0.0,
            max_grad_norm=1.0,
            max_length=None,
            train_sampling_strategy="sequential",
            logging_steps=1,
            gradient_checkpointing=plan["peer_checkpointing"],
            report_to="none",
            save_strategy="no",
            seed=0,
            disable_tqdm=True,
        ),
    )
    set_peft_model_state_dict(trainer.model, load_file(plan["initial_adapter"]))
    trainer.train()
    trainer.model.save_pretrained(out_dir / "adapter")
    peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (out_dir / "result.json").write_text(
        json.dumps(
            {
                "seconds": times.seconds,
                "losses": times.losses,
                "peak_bytes": peak,
                "packages": {name: version(name) for name in ("torch", "transformers", "trl", "peft", "bitsandbytes")},
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
