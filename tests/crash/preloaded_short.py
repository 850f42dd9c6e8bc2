"""Everything that the short line's commands need in memory."""

from crash import stand_ins
from crash.projects import write_short_project
from crash.warm import warm_up

stand_ins.replace_stages()
warm_up(write_short_project, "data")
