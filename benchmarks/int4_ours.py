"""Run tinsmith's export stage once. Usage: python int4_ours.py RECIPE CALIBRATION_TOKENS RUN_DIR OUT_DIR

OUT_DIR gets the stage's own files and `measured.json`, every measurement by id.
"""

import json
import sys
from pathlib import Path

from tinsmith.core.config import ExportConfig
from tinsmith.core.stage_context import StageContext
from tinsmith.export.stage import export_int4

if __name__ == "__main__":
    (recipe, tokens), (run, out_dir) = sys.argv[1:3], map(Path, sys.argv[3:])
    config = ExportConfig.model_validate({"recipe": recipe, "calibration_tokens": int(tokens)})
    context = StageContext(seed=17)
    export_int4(config, run / "data", run / "merge", out_dir, context)
    (out_dir / "measured.json").write_text(json.dumps({one.id: one.value for one in context.recorder.measurements}))
