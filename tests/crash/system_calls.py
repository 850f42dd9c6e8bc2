"""Every file operation of a process, reported before it happens, by the kernel.

`install_filter` makes the kernel hold each of a process's file operations until a listener answers: go on, or fail with
an error. It sees what Python does and what libraries in C, C++ and Rust do, in every thread and child process, and
needs no compiler and no rights (seccomp user notification, Linux 5.5 and newer).
"""

import ctypes
import errno
import fcntl
import os
import platform
import select
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class _Kind:
    """A system call, and which of its arguments say what it is about."""

    x86_64: int | None
    aarch64: int | None
    file: int | None = None
    """Argument with the open file that it changes or flushes."""
    names: tuple[tuple[int | None, int], ...] = ()
    """Arguments with a folder (None: the current one) and a name in it; two of them for a rename or link."""
    flags: int | None = None
    """Argument with the flags of `open`."""


_KINDS = {
    "write": _Kind(1, 64, file=0),
    "pwrite64": _Kind(18, 68, file=0),
    "writev": _Kind(20, 66, file=0),
    "pwritev": _Kind(296, 70, file=0),
    "sendfile": _Kind(40, 71, file=0),
    "copy_file_range": _Kind(326, 285, file=2),
    "fallocate": _Kind(285, 47, file=0),
    "ftruncate": _Kind(77, 46, file=0),
    "fsync": _Kind(74, 82, file=0),
    "fdatasync": _Kind(75, 83, file=0),
    "open": _Kind(2, None, names=((None, 0),), flags=1),
    "openat": _Kind(257, 56, names=((0, 1),), flags=2),
    "creat": _Kind(85, None, names=((None, 0),)),
    "truncate": _Kind(76, 45, names=((None, 0),)),
    "mkdir": _Kind(83, None, names=((None, 0),)),
    "mkdirat": _Kind(258, 34, names=((0, 1),)),
    "rmdir": _Kind(84, None, names=((None, 0),)),
    "unlink": _Kind(87, None, names=((None, 0),)),
    "unlinkat": _Kind(263, 35, names=((0, 1),)),
    "rename": _Kind(82, None, names=((None, 0), (None, 1))),
    "renameat": _Kind(264, 38, names=((0, 1), (2, 3))),
    "renameat2": _Kind(316, 276, names=((0, 1), (2, 3))),
    "link": _Kind(86, None, names=((None, 0), (None, 1))),
    "linkat": _Kind(265, 37, names=((0, 1), (2, 3))),
    "symlink": _Kind(88, None, names=((None, 1),)),
    "symlinkat": _Kind(266, 36, names=((1, 2),)),
}
"""The kernel's numbers on both kinds of machine, from its tables; None where there is no such call."""

_SECCOMP = {"x86_64": 317, "aarch64": 277}
_NO_NEW_PRIVILEGES, _SET_FILTER, _NEW_LISTENER = 38, 1, 8
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_LOAD_NUMBER, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NOTIFICATION, _ANSWER = "QIIiIQ6Q", "QqiI"
_RECEIVE = (3 << 30) | (struct.calcsize(_NOTIFICATION) << 16) | (ord("!") << 8) | 0
_SEND = (3 << 30) | (struct.calcsize(_ANSWER) << 16) | (ord("!") << 8) | 1
_GO_ON = 1
_CURRENT_FOLDER = 0xFFFFFF9C
_POLL_MILLISECONDS = 100


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that is about to happen."""

    name: str
    path: Path
    """The file or folder that it is about."""
    target: Path | None
    """The new name, for renames and links."""
    changes: bool
    """False if it opens a file for reading only."""


def unsupported() -> str:
    """Why operations cannot be watched on this machine; empty if they can."""
    if platform.system() != "Linux" or platform.machine() not in _SECCOMP:
        return "file operations are watched by Linux, on x86-64 and 64-bit ARM"
    child = os.fork()
    if child == 0:
        try:
            install_filter()
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return f"the kernel refuses a filter of system calls: {os.strerror(code)}" if code else ""


def install_filter() -> int:
    """Hold every file operation of this process and its children until the returned descriptor's reader answers.

    It cannot be undone. Pass the descriptor to another process at once.

    Raises:
        OSError: the kernel refuses.
    """
    numbers = sorted(_names_by_number())
    code = [(_LOAD_NUMBER, 0, 0, 0)]
    code += [(_JUMP_IF_EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    code += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _NOTIFY)]
    instructions = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code), ctypes.addressof(instructions)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    descriptor = libc.syscall(_SECCOMP[platform.machine()], _SET_FILTER, _NEW_LISTENER, program)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return descriptor


def serve(descriptor: int, root: Path, decide: Callable[[Call], int], is_over: Callable[[], bool]) -> None:
    """Answer a filtered process's operations until it ends.

    Args:
        descriptor: From `install_filter` in that process.
        root: Only operations below this folder are shown to `decide`; all others go on.
        decide: Returns 0 to go on, or the number of the error that the operation fails with.
        is_over: Whether the process has been killed, so that nothing more needs an answer.
    """
    names = _names_by_number()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while not is_over():
        events = poll.poll(_POLL_MILLISECONDS)
        if not events:
            continue
        if events[0][1] & (select.POLLHUP | select.POLLERR):
            return
        received = bytearray(struct.calcsize(_NOTIFICATION))
        try:
            fcntl.ioctl(descriptor, _RECEIVE, received)
            identity, thread, _, number, _, _, *arguments = struct.unpack(_NOTIFICATION, received)
            call = _call(names[number], thread, arguments, root)
            code = decide(call) if call else 0
            if not is_over():
                fcntl.ioctl(descriptor, _SEND, struct.pack(_ANSWER, identity, 0, -code, 0 if code else _GO_ON))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESRCH, errno.EINTR):  # the process ended meanwhile
                raise


def _names_by_number() -> dict[int, str]:
    machine = platform.machine()
    return {number: name for name, kind in _KINDS.items() if (number := getattr(kind, machine)) is not None}


def _call(name: str, thread: int, arguments: list[int], root: Path) -> Call | None:
    """What the call is about; None if that does not lie below `root`."""
    kind = _KINDS[name]
    if kind.file is not None:
        places = [_open_file(thread, arguments[kind.file])]
    else:
        places = [
            _named(thread, None if folder is None else arguments[folder], arguments[address])
            for folder, address in kind.names
        ]
    if not any(place and place.is_relative_to(root) for place in places):
        return None
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
    changes = kind.flags is None or bool(arguments[kind.flags] & writing)
    return Call(name, places[0], places[1] if len(places) > 1 else None, changes)


def _open_file(thread: int, descriptor: int) -> Path | None:
    try:
        place = os.readlink(f"/proc/{thread}/fd/{descriptor & 0xFFFFFFFF}")
    except FileNotFoundError:  # the process closed it: the call will fail by itself
        return None
    return Path(place) if place.startswith("/") else None  # not a pipe or socket


def _named(thread: int, folder: int | None, address: int) -> Path:
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        try:
            content = memory.read(4096)
        except OSError:  # the name ends before a page that is not there
            memory.seek(address)
            content = memory.read(4096 - address % 4096)
    name = Path(os.fsdecode(content.partition(b"\0")[0]))
    if name.is_absolute():
        return name
    is_here = folder is None or folder & 0xFFFFFFFF == _CURRENT_FOLDER
    start = "cwd" if is_here else f"fd/{folder & 0xFFFFFFFF}"
    return Path(os.path.normpath(Path(os.readlink(f"/proc/{thread}/{start}")) / name))
