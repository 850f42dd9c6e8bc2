"""tinsmith turns a folder of conversations into a small chat model that runs in a browser tab, with its model card."""

import os

__version__ = "0.1.0"

# ONNX Runtime's builds for Linux and macOS send events to their maker unless this is set before they are loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
