"""What the short line's commands import, and work out once."""

import tinsmith.commands.run
import tinsmith.data.stage
from tinsmith.core.code_version import code_version

code_version("tinsmith.core.errors")
