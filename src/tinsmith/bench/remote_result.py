"""Results from other devices: schema, signature, and storage until they are on the card."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tinsmith.core.errors import ArtifactError, UserError
from tinsmith.core.run_dir import entries, read_json, write_json
from tinsmith.model.package_format import GRAPHS

_Word = Annotated[str, Field(max_length=200)]
_Count = Annotated[int, Field(ge=0, le=1_000_000)]
_Seconds = Annotated[float, Field(gt=0, le=86_400)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, strict=True)


class _Adapter(_Part):
    vendor: _Word
    architecture: _Word
    device: _Word
    description: _Word
    software: bool


class _Ready(_Part):
    device: Literal["wasm", "webgpu"]
    engine: Literal["own", "onnxruntime"]
    graph: Annotated[str, Field(pattern=f"^({'|'.join(graph.id for graph in GRAPHS)})$")]
    notice: _Word
    adapter: _Adapter | None
    crossOriginIsolated: bool
    threads: Annotated[int, Field(ge=1, le=256)]
    versions: Annotated[dict[_Word, _Word], Field(max_length=8)]
    seconds: _Seconds


class _Run(_Part):
    askedAt: float
    times: Annotated[list[float], Field(min_length=2, max_length=4096)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if any(later < earlier for earlier, later in zip([self.askedAt, *self.times], self.times, strict=False)):
            raise ValueError("times run backwards")
        if self.times[-1] <= self.times[0] or self.times[0] <= self.askedAt:
            raise ValueError("no time passed")
        return self


class _Prompt(_Part):
    name: Annotated[str, Field(pattern=r"^(question|[1-9]\d{0,4})$")]
    promptTokens: Annotated[int, Field(ge=1, le=1_000_000)]
    newTokens: _Count
    notMeasured: _Word
    runs: Annotated[list[_Run], Field(max_length=100)]

    @model_validator(mode="after")
    def _has_its_tokens(self) -> Self:
        if any(len(run.times) != self.newTokens for run in self.runs):
            raise ValueError("the number of tokens in a run differs from its prompt's newTokens")
        return self


class _Measured(_Part):
    ready: _Ready
    software: bool
    prompts: Annotated[list[_Prompt], Field(min_length=1, max_length=20)]

    @model_validator(mode="after")
    def _has_the_question(self) -> Self:
        if self.prompts[0].name != "question" or not self.prompts[0].runs:
            raise ValueError("the first question has no runs")
        return self


class _Reloaded(_Part):
    warmLoadSeconds: _Seconds | None
    placement: Annotated[dict[_Word, _Count], Field(max_length=8)] | None


class _Backend(_Part):
    asked: Literal["wasm", "webgpu"]
    measured: _Measured
    reloaded: _Reloaded


class RemoteResult(_Part):
    """The body of a result. Unknown fields are dropped."""

    package: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """sha256 of the package's SHA256SUMS."""
    name: Annotated[str, Field(min_length=1, max_length=60)]
    """What the device's owner calls it."""
    userAgent: Annotated[str, Field(max_length=500)]
    cores: Annotated[int, Field(ge=0, le=4096)]
    backends: Annotated[list[_Backend], Field(min_length=1, max_length=2)]


def signature_of(code: str, body: bytes) -> str:
    """HMAC-SHA256 of `body` with the one-time code as its key, in hexadecimal."""
    return hmac.new(code.encode(), body, hashlib.sha256).hexdigest()


def accept(code: str, body: bytes, signature: str) -> RemoteResult:
    """Check the signature of `body` and return the result in it.

    Raises:
        UserError: `body` is not signed with `code`, or is not a valid result.
    """
    if not hmac.compare_digest(signature_of(code, body).encode(), signature.lower().encode()):
        raise UserError("not signed with the code of this page")
    try:
        return RemoteResult.model_validate(json.loads(body))
    except ValidationError as error:
        problem = error.errors()[0]
        path = ".".join(map(str, problem["loc"])) or "the whole body"
        raise UserError(f"not a result: {path}: {problem['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise UserError("not a result: not JSON") from error


def store(folder: Path, code: str, body: bytes, signature: str) -> Path:
    """Write an accepted result and its signature to a new file in `folder`, and return its path."""
    now = datetime.now(UTC)
    path = folder / f"{now:%Y%m%dT%H%M%S%fZ}.json"
    received_at = now.isoformat(timespec="seconds")
    write_json(path, {"received_at": received_at, "code": code, "signature": signature, "body": body.decode()})
    return path


def read_results(folder: Path) -> list[tuple[str, RemoteResult]]:
    """`(time received, result)` of every file in `folder`, oldest first.

    Raises:
        ArtifactError: a file no longer matches its device's signature.
    """
    results = []
    for path in entries(folder, "*.json"):
        envelope: dict[str, Any] = read_json(path)
        try:
            result = accept(envelope["code"], envelope["body"].encode(), envelope["signature"])
            results.append((envelope["received_at"], result))
        except (UserError, KeyError, AttributeError, TypeError) as error:
            raise ArtifactError(f"{path}: not what the device signed ({error})", "Delete the file.") from error
    return results
