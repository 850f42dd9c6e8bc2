"""The site on real web servers: nginx with the configuration we ship, and Python's, which sends no headers."""

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from packages import tiny_run, write_site
from tinsmith.browser.chromium import Browser

pytestmark = pytest.mark.browser

NGINX_MAIN = """{user}daemon off;
pid {folder}/pid;
error_log stderr;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  include {folder}/site.conf;
}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    run, folder = tiny_run("llama", tmp_path_factory), tmp_path_factory.mktemp("site")
    write_site(run, folder)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(command, port):
    """A server process while it answers on 127.0.0.1."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def answers(origin):
    """Open the page, ask an example question, and return what the page and its console say."""
    with Browser(webgpu="none") as browser:
        page = browser.open(f"{origin}/")
        page.wait_for("crossOriginIsolated && !!document.querySelector('#questions button:enabled')", 60)
        page.evaluate("document.querySelector('#questions button').click()")
        page.wait_for("!!document.querySelector('.measure')", 60)
        assert page.exceptions == [] and [text for kind, text in page.console if kind == "error"] == []
        assert {request.url for request in page.requests if not request.url.startswith(f"{origin}/")} == set()
        card = browser.open(f"{origin}/card.html")
        assert card.evaluate("document.querySelector('h1').textContent") == "Model Card: tea"
        return [
            page.evaluate(f"document.getElementById('{name}').textContent") for name in ("facts", "notice", "fallback")
        ]


def test_nginx_with_the_configuration_beside_the_site(site, tmp_path):
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin:/usr/bin:/usr/local/bin")
    assert nginx, "nginx is not installed; make test installs it on Debian (apt-get install nginx-light)"
    port = free_port()
    text = (site / "nginx.conf").read_text()
    assert text.count("listen 8080;") == text.count("/path/to/this/folder") == 1
    text = text.replace("listen 8080;", f"listen 127.0.0.1:{port};").replace("/path/to/this/folder", str(site))
    (tmp_path / "site.conf").write_text(text)
    (tmp_path / "mime.types").write_text(
        "types { text/html html; text/css css; text/javascript js; application/json json; }\n"
    )
    # Started by root, nginx would read files as a user who may not look into a test's folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    (tmp_path / "main.conf").write_text(NGINX_MAIN.format(folder=tmp_path, user=user))
    with serving([nginx, "-p", str(tmp_path), "-c", str(tmp_path / "main.conf")], port) as origin:
        facts, notice, fallback = answers(origin)
    assert "threads" in facts and notice == "" and fallback == "Running on the processor: no WebGPU adapter was found"


def test_a_plain_server_without_headers(site):
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(site)]
    with serving(command, port) as origin:
        facts, notice, fallback = answers(origin)
    assert "threads" in facts and notice == "" and fallback == "Running on the processor: no WebGPU adapter was found"
