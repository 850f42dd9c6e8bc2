"""What the short line's commands import, and work out once."""

from tinsmith.core.code_version import code_version

code_version("tinsmith.core.errors")
