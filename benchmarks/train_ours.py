"""Run tinsmith's train stage once. Usage: python train_ours.py SETTINGS.json BASE_DIR DATA_DIR OUT_DIR

Besides `seed` and `train`, the settings may have `pass_size`, conversations in a pass, and `record`, whether a GPU
records its passes. tinsmith itself has no keys for them.
"""

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

from tinsmith.core.config import TrainConfig
from tinsmith.core.stage_context import StageContext
from tinsmith.train import recorded, stage

if __name__ == "__main__":
    settings, base_dir, data_dir, out_dir = map(Path, sys.argv[1:])
    values = json.loads(settings.read_text())
    patches = ExitStack()
    if "pass_size" in values:
        patches.enter_context(patch.object(stage, "conversations_per_pass", return_value=values["pass_size"]))
    if not values.get("record", True):
        patches.enter_context(patch.object(recorded, "RecordedEngine", lambda plain, *_: plain))
    with patches:
        stage.train_adapter(TrainConfig(**values["train"]), base_dir, data_dir, out_dir, StageContext(values["seed"]))
