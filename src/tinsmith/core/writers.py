"""The names and addresses that `answers.writer` accepts."""

import ipaddress
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

LOCAL_WRITERS = ("rules", "base")
"""Writers that need no endpoint."""


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own, so that nothing sent there leaves it."""
    host = urlsplit(address).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address_problem(address: str, instead: str = "") -> str:
    """What makes an endpoint's address unusable; empty if nothing does. `instead` names what else would be accepted."""
    try:
        parts = urlsplit(address)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or not address.isascii() or not address.isprintable() or " " in address:
        return f"must be {instead}the http or https address of an endpoint"
    if parts.username or parts.password or parts.query or parts.fragment:
        return "must be an address without a user, a password, '?' or '#'"
    if parts.scheme == "http" and not is_loopback(address):
        return "must start with https, unless it is this machine's own address, such as http://127.0.0.1"
    return ""


def _checked_writer(writer: str) -> str:
    if writer not in LOCAL_WRITERS and (problem := address_problem(writer, "'rules', 'base', or ")):
        raise PydanticCustomError("writer", "{problem}", {"problem": problem})
    return writer


def _checked_model(model: str, info: ValidationInfo) -> str:
    if not model and info.data.get("writer", LOCAL_WRITERS[0]) not in LOCAL_WRITERS:
        raise PydanticCustomError("writer_model", "must name the endpoint's model")
    if not model.isprintable():
        raise PydanticCustomError("control_character", "must not contain control characters")
    return model


WriterName = Annotated[str, Field(max_length=500), AfterValidator(_checked_writer)]
WriterModel = Annotated[str, Field(max_length=200, validate_default=True), AfterValidator(_checked_model)]
