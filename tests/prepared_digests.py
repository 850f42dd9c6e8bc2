"""Print the SHA-256 of every file that the data stage writes: python prepared_digests.py DATA BASE OUT PROCESSES.

A program of its own, so that it can run with another Python and with another seed of `hash`.
"""

import json
import sys
from pathlib import Path

from stage_runs import run_stage
from tinsmith.core.config import DataConfig
from tinsmith.core.field_map import FieldMap
from tinsmith.core.run_dir import tree_sha256s
from tinsmith.data import pieces, stage


def main(data: str, base: str, out: str, processes: str) -> None:
    pieces.PART_BYTES, stage._SMALL_BYTES = 1, 0  # every file a part, in processes
    stage.process_count = lambda parts: int(processes)
    config = DataConfig(
        path=data,
        max_tokens=300,
        max_dropped=0.5,
        privacy="mask",
        system_prompt="You sell tea.",
        fields=FieldMap(assistant="Shop"),
    )
    Path(out).mkdir()
    run_stage(stage.prepare_data, config, Path(base), Path(out), seed=3)
    print(json.dumps(tree_sha256s(Path(out))))


if __name__ == "__main__":
    main(*sys.argv[1:])
