"""tinsmith turns a folder of conversations into a small chat model that runs in a browser tab, with its model card."""

__version__ = "0.1.0"
