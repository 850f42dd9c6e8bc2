"""Recognizes a full, failing or read-only disk in whatever exception a library raises for it."""

import errno
import os
import re

_CODES = frozenset(
    {
        errno.EACCES,
        errno.EBUSY,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.EISDIR,
        errno.ELOOP,
        errno.EMFILE,
        errno.ENAMETOOLONG,
        errno.ENFILE,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
        errno.ESTALE,
        errno.ETXTBSY,
        errno.EXDEV,
    }
)
"""Errors of the machine or of its permissions. A missing file is not among them: that is a bug or a lost input."""

_RUST = re.compile(r"\(os error (\d+)\)")
"""How safetensors and tokenizers, which are written in Rust, quote the system's error in an exception of their own."""

_SHORT_WRITE = re.compile(r"^\d+ requested and \d+ written$")
"""How numpy reports a write that the disk cut short; it passes on no error code."""


def disk_problem(error: BaseException | None) -> str:
    """What the system said about a disk, file or permission, such as `weights.bin: No space left on device`.

    Args:
        error: Any exception. Those it was raised from, or raised while handling, are looked at too.

    Returns:
        Empty if no such problem is behind it.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if problem := _own_problem(error):
            return problem
        error = error.__cause__ or error.__context__
    return ""


def _own_problem(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno in _CODES:
        reason = error.strerror or os.strerror(error.errno)
        return f"{os.fsdecode(error.filename)}: {reason}" if isinstance(error.filename, str | bytes) else reason
    text = str(error)
    if isinstance(error, OSError) and _SHORT_WRITE.match(text):
        return f"{os.strerror(errno.ENOSPC)} ({text} bytes or values)"
    code = _RUST.search(text)
    if code and int(code[1]) in _CODES:
        return os.strerror(int(code[1]))
    return ""
