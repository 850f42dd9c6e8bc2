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
"""Errors caused by the machine or by permissions. ENOENT is left out: a missing file is a bug or a lost input."""

_RUST = re.compile(r"\(os error (\d+)\)")
"""How the Rust libraries safetensors and tokenizers quote a system error in their own exceptions."""

_SHORT_WRITE = re.compile(r"^\d+ requested and \d+ written$")
"""How numpy reports an incomplete write; its exception has no error code."""


def disk_problem(error: BaseException | None) -> str:
    """The system's message about a disk, file or permission, such as `weights.bin: No space left on device`.

    Args:
        error: Any exception. Its chain of causes and contexts is searched too.

    Returns:
        Empty if the exception has another cause.
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
