"""Imports, and what a process works out once, for the server that forks commands: it does so for all of them."""

import gc
import importlib
import pkgutil

import torch

import tinsmith
from tinsmith.core.code_version import code_version
from tinsmith.pipeline.stages import STAGES

_LIBRARIES = (
    "bitsandbytes",
    "matplotlib.backends.backend_agg",
    "onnx_ir.passes.common",
    "onnxruntime",
    "peft",
    "torch._inductor.compile_fx",
    "transformers.models.bert.modeling_bert",
    "transformers.models.llama.modeling_llama",
)

for name in _LIBRARIES:
    importlib.import_module(name)
for module in pkgutil.walk_packages(tinsmith.__path__, "tinsmith."):
    if "node_modules" not in module.name and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for stage in STAGES:
    code_version(stage.module)
torch.set_num_threads(1)
gc.collect()
gc.freeze()
