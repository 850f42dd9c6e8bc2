"""Run a command where there is no network but this machine's own, and count what it tried to reach elsewhere.

`make demo-offline` runs the demo like this, once its inputs are in the cache. The command gets a network namespace of
its own, which has the loopback interface and nothing else. With `--trace`, strace notes each address outside loopback.
"""

import argparse
import ctypes
import fcntl
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

RESULTS = Path(__file__).parent / "results/demo_offline.json"
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_ROUTE_QUESTION = "2001:4860:4860::8888 port 443"
"""Chromium connects a UDP socket to it, which sends nothing, to learn whether there is a route for IPv6."""
_ADDRESS = re.compile(
    r'^\d+<([^>]*)>.*\b(?:connect|sendto|sendmsg)\(.*(?:sin_port=htons\((\d+)\), sin_addr=inet_addr\("([^"]+)"\)'
    r'|sin6_port=htons\((\d+)\).*?inet_pton\(AF_INET6, "([^"]+)")'
)


def enter_empty_network() -> None:
    """Move this process into a network namespace of its own, with loopback up."""
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "this system allows no network namespace; run it as root, or in a container")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _IFF_UP))
    interfaces = [name for _, name in socket.if_nameindex()]
    assert interfaces == ["lo"], interfaces


def traced_addresses(log: Path) -> dict[str, str]:
    """Addresses outside loopback that programs tried to connect or send to, and the same with the program's name."""
    addresses = {}
    for line in log.read_text(errors="replace").splitlines():
        if match := _ADDRESS.search(line):
            address, port = (match[3], match[2]) if match[3] else (match[5], match[4])
            if not address.startswith("127.") and address not in ("::1", "0.0.0.0", "::") and port != "0":
                addresses[f"{address} port {port}"] = f"{address} port {port} ({match[1]})"
    return addresses


def main() -> int:
    """Run the command; print and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trace", action="store_true", help="list addresses; needs strace")
    parser.add_argument("--save", action="store_true", help=f"write the result to {RESULTS.name}")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    enter_empty_network()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "trace"
        command = arguments.command
        if arguments.trace:
            options = [
                "-f",
                "-qq",
                "--seccomp-bpf",
                "--decode-pids=comm",
                "-e",
                "trace=connect,sendto,sendmsg",
                "-e",
                "signal=none",
            ]
            command = [str(shutil.which("strace")), *options, "-o", str(log), *command]
        code = subprocess.run(command, check=False).returncode
        result = {"command": arguments.command, "exit_code": code, "interfaces": ["lo"]}
        if arguments.trace:
            addresses = traced_addresses(log)
            result["addresses_tried"] = [shown for address, shown in addresses.items() if address != _ROUTE_QUESTION]
            result["asked_for_a_route_for_ipv6"] = _ROUTE_QUESTION in addresses
    print(json.dumps(result), file=sys.stderr)
    if arguments.save:
        RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    return code or bool(result.get("addresses_tried"))


if __name__ == "__main__":
    sys.exit(main())
