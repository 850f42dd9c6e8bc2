"""The wheel's bill of materials says what the locks say, and an audit without an answer is no clean audit."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from packageurl import PackageURL
from packaging.utils import canonicalize_name

from validators import bom_errors

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "locks"


@pytest.fixture(scope="module")
def bill(tmp_path_factory) -> bytes:
    """The bill in a wheel."""
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("dist")), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        return archive.read("tinsmith-0.1.0.dist-info/sboms/tinsmith.cdx.json")


def test_the_wheels_bill_is_written_from_the_locks_and_valid(bill):
    assert bom_errors(bill) == []
    done = subprocess.run([sys.executable, LOCKS / "sbom.py", "--check"], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    assert bill == (LOCKS / "tinsmith.cdx.json").read_bytes()


def test_the_bill_has_every_locked_file(bill):
    components = json.loads(bill)["components"]
    digests = {
        PackageURL.from_string(one["purl"]): {h["content"] for r in one["externalReferences"] for h in r["hashes"]}
        for one in components
    }
    assert len(digests) == len(components) > 80
    locked = "".join((LOCKS / f"{name}.txt").read_text() for name in ("run", "torch", "cuda"))
    for line in locked.replace("\\\n", " ").splitlines():
        if not line.startswith("#"):
            name, version = re.split(r"==|\s|;", line)[:2]
            assert digests.pop(PackageURL("pypi", name=name.lower(), version=version)) == set(
                re.findall(r"sha256:(\w+)", line)
            )
    assert {url.name for url in digests} == {"transformers", "onnxruntime-web"}, "what is left is the browser runtime"


def test_the_bill_names_what_tinsmith_itself_requires(bill):
    tree = json.loads(bill)
    (own,) = (entry["dependsOn"] for entry in tree["dependencies"] if entry["ref"].startswith("pkg:pypi/tinsmith@"))
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {canonicalize_name(PackageURL.from_string(ref).name) for ref in own if ref.startswith("pkg:pypi")}
    assert names == {canonicalize_name(re.split(r"[<>=]", name)[0]) for name in required}


@pytest.fixture
def audit(monkeypatch):
    monkeypatch.syspath_prepend(str(LOCKS))
    import audit

    return audit


def test_packages_that_the_service_does_not_know_are_not_called_safe(audit):
    known = {"name": "jinja2", "version": "2.10", "vulns": [{"id": "PYSEC-1"}]}
    unknown = {"name": "tea", "skip_reason": "not found"}
    assert str(audit.python_audit({"dependencies": [known, unknown, unknown]})) == (
        "Python packages: 1 known weaknesses in 1 packages; WARNING: 2 WERE NOT AUDITED: the service does not know them"
        "\n  jinja2 2.10: PYSEC-1"
    )
    nothing = "WARNING: Python packages WERE NOT AUDITED: the service gave no answer"
    assert str(audit.python_audit({"dependencies": [unknown]})) == str(audit.python_audit({})) == nothing
    assert str(audit.npm_audit({"error": {}})) == nothing.replace("Python", "npm")


def test_a_weakness_fails_and_silence_does_not(audit, monkeypatch, capsys):
    answers = [{}, {"vulnerabilities": {}, "metadata": {"dependencies": {"total": 9}}}]
    monkeypatch.setattr(audit, "answer_of", lambda command, folder: answers[command[0] == "npm"])
    assert audit.main() == 0
    assert "npm packages: 0 known weaknesses in 9 packages" in capsys.readouterr().out
    answers[1]["vulnerabilities"] = {"x": {"range": "<2", "severity": "high"}}
    assert audit.main() == 1
    assert "\n  x <2: high" in capsys.readouterr().out


def test_what_is_no_json_is_no_answer(audit, tmp_path):
    assert audit.answer_of([sys.executable, "-c", "print('no')"], tmp_path) == {}
