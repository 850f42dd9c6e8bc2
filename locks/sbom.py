"""Write `tinsmith.cdx.json`, the wheel's bill of materials in CycloneDX 1.6; `make lock` and `make sbom` run this.

It lists what an installation from the locks has: Python packages with the SHA-256 of each of their files, and the npm
packages of the browser runtime with the SHA-512 of their archives. The same locks give the same bytes.
"""

import base64
import json
import re
import sys
import tomllib
import uuid
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from tinsmith.browser.runtime import ONNX_RUNTIME, TRANSFORMERS

HERE = Path(__file__).parent
ROOT = HERE.parent
SBOM = HERE / "tinsmith.cdx.json"
LOCKS = {"run": ComponentScope.REQUIRED, "torch": ComponentScope.REQUIRED, "cuda": ComponentScope.OPTIONAL}
"""Lock -> whether every installation has its packages. NVIDIA's come with PyPI's PyTorch for Linux only."""
_ENTRY = re.compile(r"^([\w.-]+)==([\w.+!-]+)(.*?)(?=^[\w.-]+==|\Z)", re.MULTILINE | re.DOTALL)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def python_components() -> list[Component]:
    """The packages of the locks."""
    return [
        component(PackageURL("pypi", name=match[1].lower(), version=match[2]), scope, index_reference(match))
        for lock, scope in LOCKS.items()
        for match in _ENTRY.finditer((HERE / f"{lock}.txt").read_text())
    ]


def index_reference(match: re.Match) -> ExternalReference:
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in _HASH.findall(match[3])]
    url = XsUri(f"https://pypi.org/project/{match[1]}/{match[2]}/")
    return ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=url, hashes=hashes)


def npm_components() -> list[Component]:
    """The npm packages whose files a site has."""
    lock = json.loads((ROOT / "src/tinsmith/web/package-lock.json").read_text())["packages"]
    return [npm_component(name, lock[f"node_modules/{name}"]) for name in (TRANSFORMERS, ONNX_RUNTIME)]


def npm_component(name: str, entry: dict[str, str]) -> Component:
    namespace, _, base = name.rpartition("/")
    digest = base64.b64decode(entry["integrity"].removeprefix("sha512-")).hex()
    archive = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(f"https://registry.npmjs.org/{name}/-/{base}-{entry['version']}.tgz"),
        hashes=[HashType(alg=HashAlgorithm.SHA_512, content=digest)],
    )
    purl = PackageURL("npm", namespace=namespace or None, name=base, version=entry["version"])
    return component(purl, ComponentScope.REQUIRED, archive)


def component(purl: PackageURL, scope: ComponentScope, distribution: ExternalReference) -> Component:
    return Component(
        name=f"{purl.namespace}/{purl.name}" if purl.namespace else purl.name,
        version=purl.version,
        purl=purl,
        bom_ref=purl.to_string(),
        scope=scope,
        external_references=[distribution],
    )


def bill() -> str:
    """The bill's text."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    purl = PackageURL("pypi", name=project["name"], version=project["version"])
    tinsmith = Component(
        name=project["name"],
        version=project["version"],
        type=ComponentType.APPLICATION,
        purl=purl,
        bom_ref=purl.to_string(),
        licenses=[DisjunctiveLicense(id=project["license"])],
    )
    npm, components = npm_components(), python_components()
    required = {name.split(">")[0].replace("_", "-").lower() for name in project["dependencies"]}
    direct = [*npm, *(one for one in components if one.name.replace("_", "-") in required)]
    components += npm
    # The library would take the time and a random number, and the same locks would give other bytes each time.
    name = json.dumps(sorted(f"{one.bom_ref}" for one in components))
    bom = Bom(
        components=components,
        metadata=BomMetaData(component=tinsmith, timestamp=datetime(2026, 1, 1, tzinfo=UTC)),
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, name),
    )
    bom.register_dependency(tinsmith, direct)
    tree = json.loads(JsonV1Dot6(bom).output_as_string())
    del tree["metadata"]["timestamp"]
    return json.dumps(tree, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    text = bill()
    if sys.argv[1:] == ["--check"]:
        sys.exit(None if SBOM.read_text() == text else f"{SBOM.name} is not what the locks say: make sbom")
    SBOM.write_text(text)
    print(f"{SBOM.relative_to(ROOT)}: {len(json.loads(text)['components'])} packages")
