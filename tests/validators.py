"""Whether files are what their formats' own schemas allow, checked without a network."""

import importlib.resources
import json
from functools import cache

import yaml
from jsonschema import FormatChecker
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for


def schema_errors(schema: dict, tree) -> list[str]:
    """What a JSON schema refuses, with its place; empty if the tree is valid."""
    errors = _validator(json.dumps(schema)).iter_errors(tree)
    return [f"{error.json_path}: {error.message}" for error in errors]


@cache
def _validator(schema: str) -> Validator:
    """The validator of a JSON schema, which is valid itself."""
    kind = validator_for(json.loads(schema))
    kind.check_schema(json.loads(schema))
    return kind(json.loads(schema), format_checker=FormatChecker())


def citation_errors(content: bytes) -> list[str]:
    """What the schema of the Citation File Format refuses."""
    return schema_errors(citation_schema(), yaml.safe_load(content))


@cache
def citation_schema() -> dict:
    folder = importlib.resources.files("check_jsonschema.builtin_schemas.vendor")
    return json.loads((folder / "citation-file-format.json").read_text())


def bom_errors(content: bytes) -> list[str]:
    """What the strict JSON schema of CycloneDX refuses, in the version that the file names."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    version = SchemaVersion.from_version(json.loads(content)["specVersion"])
    problems = JsonStrictValidator(version).validate_str(content.decode(), all_errors=True)
    return [repr(problem) for problem in problems or ()]
