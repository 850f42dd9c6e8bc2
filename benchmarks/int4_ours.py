"""One run of tinsmith's export stage. Usage: python int4_ours.py RECIPE RUN_DIR OUT_DIR"""

import sys
from pathlib import Path

from tinsmith.config import ExportConfig
from tinsmith.export.stage import export_int4

if __name__ == "__main__":
    recipe, run, out_dir = sys.argv[1], *map(Path, sys.argv[2:])
    export_int4(ExportConfig(recipe=recipe), run / "data", run / "merge", out_dir, seed=17)
