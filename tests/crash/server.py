"""A process that has everything imported, and forks one process for each command it is asked to run.

Started as `python -m crash.server NUMBER [MODULE]`, with the number of a socket and a module to import first. A request
is a JSON object; if a descriptor comes with it, the command's file operations are filtered and the filter's descriptor
is sent there. Two answers follow: the process's number, and how it ended.
"""

import importlib
import json
import os
import signal
import socket
import sys
import traceback
from typing import Any

from crash import stand_ins
from crash.huge_pages import use_huge_pages
from crash.remembered import take_in_results
from crash.system_calls import install_filter
from tinsmith.cli import main


def serve(requests: socket.socket) -> None:
    """Fork for each request, until nobody asks any more."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, 1 << 16, 1)
        if not message:
            return
        child = os.fork()
        if child == 0:
            requests.close()
            code = 1
            try:
                code = run(json.loads(message), descriptors[0] if descriptors else None)
            finally:
                # ONNX Runtime would wait for a thread of the server, which this process does not have.
                os._exit(code)
        for descriptor in descriptors:
            os.close(descriptor)
        requests.send(str(child).encode())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        take_in_results()
        requests.send(str(code).encode())


def run(request: dict[str, Any], report: int | None) -> int:
    """Run the command here, as `tinsmith` does, and return its exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test runner in the background ignores it
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    output = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    getattr(stand_ins, request["stand_ins"])()
    if report is not None:
        descriptor = install_filter()
        socket.send_fds(socket.socket(fileno=report), [b"."], [descriptor])
        os.close(descriptor)
    try:
        main(request["arguments"], prog_name="tinsmith")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    for name in sys.argv[2:]:
        importlib.import_module(name)
    use_huge_pages()
    serve(socket.socket(fileno=int(sys.argv[1])))
