"""Write the digests of the browser runtime's files to `web/runtime_digests.js`: what `make runtime-digests` runs."""

import tempfile
from pathlib import Path

from tinsmith.browser.runtime import DIGESTS_FILE, digests_script, file_digests, write_files
from tinsmith.core.run_dir import write_text

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder))
        write_text(DIGESTS_FILE, digests_script(file_digests(Path(folder))))
