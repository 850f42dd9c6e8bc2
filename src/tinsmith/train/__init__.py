"""QLoRA fine-tuning: batching, loss and loop of its own around Transformers, PEFT and bitsandbytes."""
