"""Python imports this at its start if its folder is on the path: reading a pickle from a file raises, and is noted.

`pickle.loads` stays, because processes that tinsmith starts itself send each other their tasks with it.
"""

import importlib.abc
import importlib.util
import os
import pickle
import sys
import traceback


def refuse(*_: object, **__: object) -> None:
    with open(os.environ["TINSMITH_TEST_PICKLES"], "a") as file:
        file.write("".join(traceback.format_stack()) + "\n")
    raise AssertionError("a pickle was read")


class Refused:
    def __init__(self, *_: object, **__: object) -> None:
        refuse()


def numpy_load(load):
    def guarded(file, *arguments, allow_pickle=False, **options):
        if allow_pickle:
            refuse()
        return load(file, *arguments, allow_pickle=False, **options)

    return guarded


class Loader(importlib.abc.Loader):
    """Loads a module and replaces what reads pickles in it."""

    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        module.load = numpy_load(module.load) if module.__name__ == "numpy" else refuse


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name not in ("torch", "numpy", "joblib", "dill"):
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            spec.loader = Loader(spec.loader)
        return spec


pickle.load = pickle._load = refuse
pickle.Unpickler = pickle._Unpickler = Refused
sys.meta_path.insert(0, Finder())
