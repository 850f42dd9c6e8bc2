"""The reason why a document cannot be read."""


class Unreadable(Exception):
    """A file that cannot be used.

    Args:
        reason: Completes `<name>: ...` and says what to do. Files with the same reason are listed together.
        detail: What is peculiar to this file.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason = reason
        self.detail = detail
