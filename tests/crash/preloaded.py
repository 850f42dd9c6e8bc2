"""Everything that the whole line's commands need in memory."""

from functools import cache

import torch

from crash import stand_ins
from crash.projects import write_whole_project
from crash.warm import warm_up
from tinsmith.model.private import published

published.find_private = cache(published.find_private)
torch.set_num_threads(1)
stand_ins.replace_browsers()
warm_up(write_whole_project, "app")
