"""Run tinsmith's train stage once. Usage: python train_ours.py SETTINGS.json BASE_DIR DATA_DIR OUT_DIR"""

import json
import sys
from pathlib import Path

from tinsmith.core.config import TrainConfig
from tinsmith.core.stage_context import StageContext
from tinsmith.train.stage import train_adapter

if __name__ == "__main__":
    settings, base_dir, data_dir, out_dir = map(Path, sys.argv[1:])
    values = json.loads(settings.read_text())
    train_adapter(TrainConfig(**values["train"]), base_dir, data_dir, out_dir, StageContext(values["seed"]))
