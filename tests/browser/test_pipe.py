"""A browser's processes end with it, also those that ignore being asked."""

import os
import sys
import tempfile

import psutil

from tinsmith.browser.pipe import PipedProcess

OUTLIVED_BY_A_CHILD = """
import json, os, signal, sys, time
child = os.fork()
if child == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(1)
os.write(4, json.dumps({"child": child}).encode() + bytes(1))
os.read(3, 1)
"""


def test_a_child_that_outlives_the_browser_is_ended():
    with tempfile.TemporaryFile() as log:
        process = PipedProcess([sys.executable, "-c", OUTLIVED_BY_A_CHILD], log, os.environ)
        child = psutil.Process(next(process.messages())["child"])
        process.stop()
        process.close()
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
