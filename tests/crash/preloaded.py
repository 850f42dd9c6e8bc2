"""Everything that the whole line's commands need in memory."""

import os
from functools import partial

import torch

from crash import stand_ins
from crash.projects import write_whole_project
from crash.remembered import Remembered
from crash.warm import warm_up
from tinsmith.model.private import published

published.find_private = Remembered(published.find_private)
# torch replaces its thread pool in a forked process. Two threads that do so at the same time would fail.
os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))
torch.set_num_threads(1)
stand_ins.replace_browsers()
warm_up(write_whole_project, "app")
