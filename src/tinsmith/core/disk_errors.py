"""Recognizes a full, failing or read-only disk in whatever exception a library raises for it."""

import errno
import os
import re
from dataclasses import dataclass

_FREE_SPACE = "Free some disk space, or choose another disk."
_PERMISSIONS = "Correct the permissions, or choose another folder."
_OPEN_FILES = "Close other programs, or allow more open files, for example: ulimit -n 4096"
_FAILING = "Check the disk, and its connection if it is not in this machine: it does not read or write reliably."
_UNUSUAL = "Choose another folder, on a local disk."

_HINTS = {
    errno.ENOSPC: _FREE_SPACE,
    errno.EDQUOT: _FREE_SPACE,
    errno.EFBIG: _FREE_SPACE,
    errno.EACCES: _PERMISSIONS,
    errno.EPERM: _PERMISSIONS,
    errno.EROFS: _PERMISSIONS,
    errno.EMFILE: _OPEN_FILES,
    errno.ENFILE: _OPEN_FILES,
    errno.EIO: _FAILING,
    errno.ESTALE: _FAILING,
    errno.EBUSY: _UNUSUAL,
    errno.EISDIR: _UNUSUAL,
    errno.ELOOP: _UNUSUAL,
    errno.ENAMETOOLONG: _UNUSUAL,
    errno.ENOTDIR: _UNUSUAL,
    errno.ETXTBSY: _UNUSUAL,
    errno.EXDEV: _UNUSUAL,
}
"""What to do about errors that come from the machine or from permissions.

ENOENT is left out: a missing file is a bug or a lost input.
"""

_QUOTED = re.compile(
    r"\(os error (\d+)\)|SystemError : (\d+)|system error number (\d+)$|^unable to \w+ .*file <.*\((\d+)\)$"
)
"""How libraries quote a system error in their exceptions: safetensors and tokenizers (Rust), ONNX Runtime about weights
and about models, torch."""

_UNOPENED = re.compile(r"^No such file or directory: (.+)$")
"""What safetensors says of every file that it cannot open, whatever the reason."""

_UNWRITTEN = re.compile(
    r'Failed to (?:open for writing|write external initializers to file): ?"([^"]+)"|Protobuf serialization failed'
)
"""What ONNX Runtime says of files that it cannot write, whatever the reason."""

_SHORT_WRITE = re.compile(r"^\d+ requested and \d+ written$")
"""How numpy reports an incomplete write; its exception has no error code."""


@dataclass(frozen=True, slots=True)
class DiskProblem:
    """An error that the system reported about a disk, file or permission."""

    reason: str
    """The system's message, such as `No space left on device`."""
    where: str
    """The file or folder; empty if the error does not say."""
    hint: str
    """What to do about it, as sentences."""

    @property
    def text(self) -> str:
        """Such as `weights.bin: No space left on device`."""
        return f"{self.where}: {self.reason}" if self.where else self.reason


def disk_problem(error: BaseException | None) -> DiskProblem | None:
    """What the system reported about a disk, file or permission; None if the exception has another cause.

    Args:
        error: Any exception. Its chain of causes and contexts is searched too.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if problem := _own_problem(error):
            return problem
        error = error.__cause__ or error.__context__
    return None


def is_refused(error: OSError) -> bool:
    """Whether a file or folder is missing or may not be read, so that others beside it can still be."""
    return error.errno in (errno.EACCES, errno.EPERM, errno.ENOENT)


def reading_advice(error: OSError, otherwise: str) -> str:
    """What to do about an input that cannot be read.

    Args:
        error: Why it cannot be read.
        otherwise: The advice if neither the machine nor permissions are the reason, such as for a wrong path.
    """
    hint = _HINTS.get(error.errno or 0, _UNUSUAL)
    return otherwise if hint == _UNUSUAL else f"{hint} Then run the same command again."


def _own_problem(error: BaseException) -> DiskProblem | None:
    text = str(error)
    if isinstance(error, OSError) and error.errno in _HINTS:
        name = error.filename2 or error.filename
        where = os.fsdecode(name) if isinstance(name, str | bytes) else ""
        return DiskProblem(error.strerror or os.strerror(error.errno), where, _HINTS[error.errno])
    if isinstance(error, OSError) and _SHORT_WRITE.match(text):
        return DiskProblem(f"{os.strerror(errno.ENOSPC)} ({text} bytes or values)", "", _FREE_SPACE)
    if isinstance(error, FileNotFoundError) and (unopened := _UNOPENED.match(text)):
        return _unopened(unopened[1])
    quoted = _QUOTED.search(text)
    if quoted and (code := int(next(filter(None, quoted.groups())))) in _HINTS:
        return DiskProblem(os.strerror(code), "", _HINTS[code])
    if unwritten := _UNWRITTEN.search(text):
        return DiskProblem("cannot be written", unwritten[1] or "", f"{_FREE_SPACE} {_FAILING} {_OPEN_FILES}")
    return None


def _unopened(path: str) -> DiskProblem | None:
    """Why a file that is there could not be opened. None if it is missing."""
    try:
        with open(path, "rb"):
            return DiskProblem("cannot be opened", path, f"{_FAILING} {_OPEN_FILES}")
    except FileNotFoundError:
        return None
    except OSError as error:
        return _own_problem(error)
