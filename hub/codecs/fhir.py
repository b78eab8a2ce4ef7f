"""FHIR R4, R4B and R5, JSON and XML: one tree for both, that of JSON.

JSON is read and written by the JSON codec, exactly and without a look at the definitions. XML is told by its first byte and becomes the same
tree: ``birthDate`` beside ``_birthDate`` with its extensions, nulls where one of a list has only extensions, the narrative as text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field

from hub.codecs.base import Codec, Joint
from hub.codecs.fhir_bundle import BUNDLES, bundle_of
from hub.codecs.fhir_read import read_xml, telling
from hub.codecs.fhir_write import write_xml
from hub.codecs.json_codec import JsonCodec
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["FhirCodec", "FhirFormat"]

_JSON = JsonCodec()
_LEADING = b" \t\r\n"
_STARTS_OF_XML = (b"<", b"\xef\xbb\xbf<", b"\xff\xfe<", b"\xfe\xff\x00<")
_EVENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)


class FhirFormat(BaseModel):
    """``format`` of the codec ``fhir``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal["R4", "R4B", "R5"] = Field(
        "R4", description="the version of FHIR, by which XML is read and written"
    )
    write: Literal["json", "xml"] = Field("json", description="what is written; both are read")


class FhirCodec(Codec):
    """See the module."""

    name: ClassVar[str] = "fhir"
    content_type: ClassVar[str] = "application/fhir+json"
    joins: ClassVar[tuple[str, ...]] = BUNDLES
    format_options: ClassVar[type[BaseModel] | None] = FhirFormat

    def __init__(self, options: FhirFormat | None = None) -> None:
        self._options = options or FhirFormat()

    def configured(self, options: BaseModel) -> Self:
        chosen = cast(FhirFormat, options)
        return cast(Self, _FhirXmlCodec(chosen) if chosen.write == "xml" else FhirCodec(chosen))

    def decode(self, raw: bytes, *, encoding: str = "") -> dict[str, Any]:
        if raw.startswith(_STARTS_OF_XML) or raw[:64].lstrip(_LEADING).startswith(b"<"):
            return read_xml(raw.lstrip(_LEADING), self._options.version, encoding)
        tree = _JSON.decode(raw, encoding=encoding)
        return _resource_type(tree)

    def encode(self, tree: Any, *, encoding: str = "") -> bytes:
        _resource_type(tree)
        return _JSON.encode(tree, encoding=encoding)

    def join(self, trees: Sequence[Any], way: str, joint: Joint) -> Any:
        return bundle_of([_resource_type(tree) for tree in trees], way, joint)

    def envelope(self, tree: Any) -> tuple[str, str]:
        """(type, number of the sender) of a resource.

        The type is ``Patient``, ``Bundle.transaction``, of a message with its event ``Bundle.message.admin-notify``. Only what is sent once has
        a number: a bundle (``identifier.value``, else ``id``; a message without either its MessageHeader's ``id``), and one version of
        a resource (``id/meta.versionId``). The ``id`` of a resource alone is no number of a message: its next state has it, too.
        """
        kind: str = tree["resourceType"]
        if kind != "Bundle":
            number, version = tree.get("id"), _member(tree.get("meta"), "versionId")
            return kind, f"{number}/{version}" if isinstance(number, str) and isinstance(version, str) else ""
        of = tree.get("type")
        if isinstance(of, str) and _EVENT.fullmatch(of):
            kind = f"Bundle.{of}"
        number = _member(tree.get("identifier"), "value") or tree.get("id")
        if of == "message":
            entries = tree.get("entry")
            header = _member(entries[0], "resource") if isinstance(entries, list) and entries else None
            event = _member(_member(header, "eventCoding"), "code") or _member(header, "eventUri")
            event = re.split("[/#:]", event)[-1] if isinstance(event, str) else ""
            if _EVENT.fullmatch(event):
                kind = f"{kind}.{event}"
            number = number or _member(header, "id")
        return kind, number if isinstance(number, str) else ""


class _FhirXmlCodec(FhirCodec):
    """The same, writing XML."""

    content_type: ClassVar[str] = "application/fhir+xml"

    def encode(self, tree: Any, *, encoding: str = "") -> bytes:
        """``encoding`` has no effect: FHIR is UTF-8."""
        _resource_type(tree)
        return write_xml(tree, self._options.version).encode("utf-8")


def _member(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _resource_type(tree: Any) -> dict[str, Any]:
    """The tree, which must be a resource."""
    if not isinstance(tree, dict):
        raise CodecError(t("a FHIR resource is an object", "FHIR 资源须为对象"), code="fhir.resource_type")
    kind = tree.get("resourceType")
    if not isinstance(kind, str) or telling(kind) != kind:
        raise CodecError(
            t("resourceType is missing", "缺少 resourceType"),
            code="fhir.resource_type",
            remedy=t("FHIR names its kind there: Patient, Bundle …", "FHIR 在此写明类型：Patient、Bundle 等"),
        )
    return tree
