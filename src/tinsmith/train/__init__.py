"""QLoRA fine-tuning: own batching, loss and loop around Transformers, PEFT and bitsandbytes."""
