"""Which request a message becomes: by its resource, and by what the interface says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from adapters.fhir.call import BUNDLES
from adapters.fhir.exchange import resource_tree
from adapters.fhir.options import FhirConnect
from adapters.http.request import encoded_path, join_path
from adapters.template import MissingVariable, Template
from hub.api import Codec, CodecError, PermanentError
from hub.codecs.json_codec import JsonCodec
from hub.i18n import t

__all__ = ["Request", "RequestMaker"]

_JSON = JsonCodec()
_MADE = ("search", "read", "history", "delete", "patch")


@dataclass(slots=True)
class Request:
    """``target``: path and query, encoded; ``content_type`` "": no body."""

    method: str
    target: str
    body: bytes = b""
    content_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    interaction: str = ""  # "read", "history", "validate": those whose answers are understood in another way

    @property
    def repeatable(self) -> bool:
        """Whether the server may get it twice (FHIR R4, RESTful API, 3.1.0.8.1: a conditional create as well)."""
        return self.method in ("GET", "PUT", "DELETE") or "if-none-exist" in self.headers


class RequestMaker:
    """Makes the requests of one interface. ``base``: path of the server's base."""

    def __init__(self, place: str, options: FhirConnect, base: str, codec: Codec) -> None:
        self._place = place
        self._options = options
        self._base = base
        self._codec = codec
        self._none_exist = Template(options.if_none_exist)
        self._criteria = Template(options.criteria)
        self._match = Template(options.if_match)

    def make(self, body: bytes, variables: Mapping[str, Any]) -> Request:
        """Raises :class:`PermanentError` for a message that can't be sent so."""
        try:
            tree = resource_tree(body, self._codec)
        except CodecError as error:
            raise PermanentError(
                t(f"the body is no FHIR resource: {error.text}", f"消息体不是 FHIR 资源：{error.text}"), code=error.code
            ) from None
        request = self._made(tree, body, variables)
        if self._options.prefer:
            request.headers["prefer"] = f"return={self._options.prefer}"
        match = self._condition(self._match, variables, plain=True)
        if match and request.method in ("PUT", "PATCH", "DELETE"):
            request.headers["if-match"] = match
        return request

    def _made(self, tree: dict[str, Any], body: bytes, variables: Mapping[str, Any]) -> Request:
        kind, _, made = str(tree["resourceType"]).partition(".")
        wanted = self._options.interaction
        if made in _MADE:
            if wanted not in ("auto", made):
                raise self._unfit(kind, wanted)
            return self._of_facade(kind, made, tree, body, variables)
        of = tree.get("type") if kind == "Bundle" else None
        content_type = self._codec.content_type
        if wanted == "message" or (wanted == "auto" and of == "message"):
            if of != "message":
                raise self._unfit(kind, wanted)
            return Request("POST", self._target("$process-message"), body, content_type)
        if wanted == "validate":
            query = urlencode({"profile": self._options.profile}) if self._options.profile else ""
            return Request("POST", self._target(f"{kind}/$validate", query), body, content_type, {}, "validate")
        if wanted == "auto" and of in BUNDLES:
            return Request("POST", self._target(""), body, content_type)
        if wanted not in ("auto", "create", "update"):
            raise self._unfit(kind, wanted)
        criteria = self._condition(self._criteria, variables)
        number = tree.get("id")
        if criteria and wanted != "create":
            return Request("PUT", self._target(kind, criteria), body, content_type)
        none_exist = self._condition(self._none_exist, variables)
        if wanted == "update" or (wanted == "auto" and isinstance(number, str) and number and not none_exist):
            return Request("PUT", self._target(f"{kind}/{self._part(number)}"), body, content_type)
        headers = {"if-none-exist": none_exist} if none_exist else {}
        return Request("POST", self._target(kind), body, content_type, headers)

    def _of_facade(
        self, kind: str, made: str, tree: dict[str, Any], body: bytes, variables: Mapping[str, Any]
    ) -> Request:
        """What the facade, or a mapping, wrote instead of a resource: ``Observation.search``, ``Patient.read`` …"""
        if made in ("search", "history"):
            parameters = tree.get("parameters", {})
            if not isinstance(parameters, dict):
                raise self._unfit(kind, made)
            of = f"{kind}/{self._part(tree['id'])}" if made == "history" and "id" in tree else kind
            path = f"{of}/_history" if made == "history" else of
            return Request("GET", self._target(path, urlencode(parameters, doseq=True)), interaction=made)
        criteria = self._condition(self._criteria, variables) or tree.get("criteria")
        if made != "read" and not tree.get("id") and isinstance(criteria, str) and criteria:
            target = self._target(kind, criteria)
        else:
            path = f"{kind}/{self._part(tree.get('id'))}"
            version = tree.get("version") if made == "read" else None
            target = self._target(f"{path}/_history/{self._part(version)}" if version else path)
        if made == "read":
            return Request("GET", target, interaction="read")
        if made == "delete":
            return Request("DELETE", target)
        patch = _JSON.decode(body).get("patch")
        kind = "application/json-patch+json" if isinstance(patch, list) else "application/fhir+json"
        return Request("PATCH", target, _JSON.encode(patch), kind)

    def _target(self, path: str, query: str = "") -> str:
        return encoded_path(join_path(self._base, path), query)

    def _part(self, value: Any) -> str:
        if not isinstance(value, str) or value in ("", ".", ".."):
            raise PermanentError(
                t(f"{self._place}: the resource has no id", f"{self._place}：资源没有 id"),
                code="fhir.id",
            )
        return quote(value, safe="")

    def _condition(self, template: Template, variables: Mapping[str, Any], *, plain: bool = False) -> str:
        """A condition, filled; "" where there is none. One that is a single place is taken as it is, and may be missing.

        A search with a value that is missing is an error: without it everything would be found.
        """
        if not template.names:
            return template.fill({}, str)
        alone = plain or (len(template.names) == 1 and template.fill(dict.fromkeys(template.names, ""), str) == "")
        try:
            if plain:
                known = all(variables.get(name) for name in template.names)
                return template.fill(variables, str) if known else ""
            return template.fill(variables, str if alone else _encoded)
        except MissingVariable as error:
            if alone:
                return ""
            raise PermanentError(
                t(
                    f"{self._place}: the call has no value for {{{error.name}}}",
                    f"{self._place}：调用缺少 {{{error.name}}} 的值",
                ),
                code="http.variable",
            ) from None

    def _unfit(self, kind: str, wanted: str) -> PermanentError:
        return PermanentError(
            t(f"{self._place}: {wanted} can't be made of this body", f"{self._place}：该消息体不能用于 {wanted}"),
            code="fhir.interaction",
        )


def _encoded(value: str) -> str:
    return quote(value, safe="")
