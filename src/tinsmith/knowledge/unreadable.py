"""The reason why a document cannot be read."""


class Unreadable(Exception):
    """A file that cannot be used; its text completes `<name>: ...`."""
