"""One request to the facade: what it asks for, in which words it wants its answer, and what its body is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from adapters.fhir.call import Call
from adapters.fhir.form import JSON_TYPES, XML_TYPES, Form, media_type, utf8
from adapters.http.problem import Refusal
from hub.api import Codec, CodecError

__all__ = [
    "RESULT_PARAMETERS",
    "Exchange",
    "check_resource_type",
    "instance_message",
    "patch_message",
    "query_of",
    "question",
    "resource_tree",
    "validated",
]

_MOST_PARAMETERS = 1000
#: Parameters about the answer, not about what is looked for.
RESULT_PARAMETERS = frozenset(("_format", "_pretty"))
_PATCHES = frozenset(("add", "remove", "replace", "move", "copy", "test"))


@dataclass(slots=True)
class Exchange:
    """``base``: the address of the facade as the caller knows it."""

    request: web.BaseRequest
    call: Call
    form: Form
    base: str
    remote: str
    query: list[tuple[str, str]] = field(default_factory=list)
    raw: bytes = b""  # the body, where it is the message
    tree: dict[str, Any] = field(default_factory=dict)

    def header(self, name: str) -> str:
        return self.request.headers.get(name, "")

    def prefers(self, name: str) -> str:
        """The value of a preference (RFC 7240); "" for none."""
        for header in self.request.headers.getall("Prefer", ()):
            for part in header[:512].replace(";", ",").split(","):
                key, _, value = part.strip().partition("=")
                if key.strip().lower() == name:
                    return value.strip().strip('"')
        return ""

    @property
    def criteria(self) -> str:
        """The search in the address of a conditional interaction, as it is written."""
        raw = self.request.raw_path.partition("?")[2]
        kept = [part for part in raw.split("&") if part and part.partition("=")[0] not in RESULT_PARAMETERS]
        return "&".join(kept)


def query_of(text: str) -> list[tuple[str, str]]:
    """Raises :class:`Refusal` for a query that can't be read."""
    if not text:
        return []
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise Refusal(
            400,
            "http.query",
            ("the query is not UTF-8 or has too many parameters", "查询参数不是 UTF-8 编码或数量过多"),
        ) from None


def check_resource_type(header: str) -> None:
    """Raises :class:`Refusal` (415) for a body that is not said to be FHIR; nothing said is taken."""
    kind, charset = media_type(header)
    if (kind and kind not in JSON_TYPES | XML_TYPES) or not utf8(charset):
        accepted = "application/fhir+json, application/fhir+xml"
        raise Refusal(
            415,
            "http.content_type",
            (f"bodies are {accepted}, in UTF-8", f"消息体须为 UTF-8 编码的 {accepted}"),
            headers={"Accept": accepted},
        )


def resource_tree(raw: bytes, codec: Codec) -> dict[str, Any]:
    """What a body is, read fast where numbers need not be exact. Raises :class:`CodecError`."""
    try:
        tree = orjson.loads(raw)
        if isinstance(tree, dict) and isinstance(tree.get("resourceType"), str):
            return tree
    except orjson.JSONDecodeError:
        pass
    found: dict[str, Any] = codec.decode(raw)
    return found


def patch_message(exchange: Exchange, body: bytes) -> bytes:
    """The message of a PATCH: who is meant, and the patch itself, byte for byte. Raises :class:`Refusal`."""
    kind, charset = media_type(exchange.header("Content-Type"))
    if kind not in JSON_TYPES | {"application/json-patch+json"} or not utf8(charset):
        raise Refusal(
            415,
            "http.content_type",
            (
                "a patch is application/json-patch+json, or a FHIRPath Patch in application/fhir+json",
                "补丁须为 application/json-patch+json，或 application/fhir+json 的 FHIRPath Patch",
            ),
            headers={"Accept-Patch": "application/json-patch+json, application/fhir+json"},
        )
    try:
        patch = orjson.loads(body)
    except orjson.JSONDecodeError:
        patch = None
    if isinstance(patch, list):
        sound = bool(patch) and all(
            isinstance(one, dict) and one.get("op") in _PATCHES and isinstance(one.get("path"), str) for one in patch
        )
    else:
        sound = isinstance(patch, dict) and patch.get("resourceType") == "Parameters"
    if not sound:
        raise Refusal(
            400,
            "fhir.patch",
            (
                "the body is neither a JSON Patch (RFC 6902) nor a FHIRPath Patch",
                "消息体既不是 JSON Patch（RFC 6902），也不是 FHIRPath Patch",
            ),
        )
    return orjson.dumps(instance_message(exchange, "patch"))[:-1] + b',"patch":' + body.strip(b" \t\r\n") + b"}"


def instance_message(exchange: Exchange, interaction: str) -> dict[str, Any]:
    """Which resource is meant: ``Patient.read``, ``Patient.delete``, ``Patient.history``, the head of ``Patient.patch``."""
    call = exchange.call
    found: dict[str, Any] = {"resourceType": f"{call.type}.{interaction}", "type": call.type}
    if call.id:
        found["id"] = call.id
    if interaction == "history":
        found["parameters"] = _parameters(exchange.query, RESULT_PARAMETERS)
    elif not call.id:
        found["criteria"] = exchange.criteria
    if call.version:
        found["version"] = call.version
    return found


def question(kind: str, what: str, query: list[tuple[str, str]], leave_out: frozenset[str]) -> bytes:
    """``Observation.search`` with its parameters; a repeated one becomes a list."""
    return orjson.dumps({"resourceType": f"{kind}.{what}", "type": kind, "parameters": _parameters(query, leave_out)})


def _parameters(query: list[tuple[str, str]], leave_out: frozenset[str]) -> dict[str, str | list[str]]:
    found: dict[str, str | list[str]] = {}
    for name, value in query:
        if name in leave_out:
            continue
        earlier = found.get(name)
        if earlier is None:
            found[name] = value
        elif isinstance(earlier, list):
            earlier.append(value)
        else:
            found[name] = [earlier, value]
    return found


def validated(tree: dict[str, Any], raw: bytes, codec: Codec) -> bytes:
    """The resource that is to be validated: the body, or what it holds as ``resource`` of its Parameters."""
    if tree.get("resourceType") != "Parameters":
        return raw
    parameters = codec.decode(raw).get("parameter")
    for parameter in parameters if isinstance(parameters, list) else ():
        if isinstance(parameter, dict) and parameter.get("name") == "resource":
            try:
                return codec.encode(parameter.get("resource"))
            except CodecError:
                break
    raise Refusal(
        400, "fhir.validate", ("the Parameters have no resource to validate", "Parameters 中没有待校验的 resource")
    )
