"""Typed calls by a WSDL: zeep reads it and makes messages of its types; the wire is ours.

Nothing is fetched but from the configured host or the folder of the file, no redirect is followed, and the address in the WSDL is not used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
import zeep
import zeep.exceptions
import zeep.helpers
import zeep.transports
from lxml import etree
from zeep.wsdl.bindings import Soap11Binding, Soap12Binding

from adapters.http.connection import Response
from adapters.http.request import encoded_path
from adapters.soap.envelope import Envelope
from adapters.soap.fault import FaultRefusal
from adapters.soap.names import local
from adapters.soap.options import SoapConnect
from hub.api import CodecError, HubError, PermanentError, SendError
from hub.codecs.xml_charset import to_utf8
from hub.codecs.xml_parse import parse
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["Fetch", "Typed"]

#: Gets path and query of a file on the host of ``url``; raises :class:`SendError`.
Fetch = Callable[[str], Response]
_MOST_FILES = 200


def _raise(record: logging.LogRecord) -> bool:
    """A value that does not fit its type is lost in zeep: it logs the value and goes on with none."""
    if record.exc_info and record.exc_info[1] is not None:
        raise ValueError(type(record.exc_info[1]).__name__)
    return True


for _name in ("zeep.xsd.types.simple", "zeep.xsd.elements.attribute"):
    logging.getLogger(_name).addFilter(_raise)


class _Loader(zeep.transports.Transport):
    """Where zeep gets WSDL and schemas from."""

    def __init__(self, options: SoapConnect, fetch: Fetch) -> None:
        self._close_session = False  # zeep closes a session of requests, which there is none of
        self._origin = urlsplit(options.url)
        self._fetch = fetch
        self._loaded = 0
        self._folder = (
            None if urlsplit(options.wsdl).scheme in ("http", "https") else Path(options.wsdl).resolve().parent
        )

    def load(self, url: str) -> bytes:
        self._loaded += 1
        if self._loaded > _MOST_FILES:
            raise _unusable(url, t(f"it imports more than {_MOST_FILES} files", f"导入的文件超过 {_MOST_FILES} 个"))
        parts = urlsplit(url)
        if parts.scheme in ("http", "https"):
            if (parts.scheme, parts.netloc.lower()) != (self._origin.scheme, self._origin.netloc.lower()):
                raise _unusable(url, t("it is on another host than url", "与 url 不在同一主机"))
            return self._get(parts.path or "/", parts.query)
        path = Path(unquote(parts.path) if parts.scheme == "file" else url).resolve()
        if self._folder is None or not path.is_relative_to(self._folder):
            raise _unusable(url, t("it is outside the folder of the WSDL", "位于 WSDL 文件夹之外"))
        try:
            return path.read_bytes()
        except OSError as error:
            raise _unusable(url, error.strerror or "") from error

    def _get(self, path: str, query: str) -> bytes:
        try:
            response = self._fetch(encoded_path(path, query))
        except SendError as error:
            raise _unusable(path, error.text, code="soap.wsdl_unreachable") from error
        if response.status != 200:
            raise _unusable(path, f"HTTP {response.status}", code="soap.wsdl_unreachable")
        return response.body


class Typed:
    """One operation of a WSDL. Reading it blocks: make it in a thread. Raises :class:`HubError` when it can't be used."""

    def __init__(self, options: SoapConnect, fetch: Fetch) -> None:
        settings = zeep.Settings(strict=True, xml_huge_tree=False, forbid_dtd=True, forbid_entities=True)
        try:
            loader = _Loader(options, fetch)
            self._client = zeep.Client(options.wsdl, transport=loader, settings=settings)  # type: ignore[no-untyped-call]
            binding = self._binding(options)
            self._operation = binding.get(options.operation)
        except HubError:
            raise
        except Exception as error:  # zeep lets through whatever its parsers raise
            raise _unusable(options.wsdl, mask_text(f"{type(error).__name__}: {error}"[:200])) from error
        self._schema = self._client.wsdl.types

    @property
    def action(self) -> str:
        return str(self._operation.soapaction or "")

    def _binding(self, options: SoapConnect) -> Any:
        services = self._client.wsdl.services
        service = services.get(options.service) if options.service else next(iter(services.values()), None)
        if service is None:
            raise _unusable(options.wsdl, t(f"no service {options.service}", f"没有服务 {options.service}"))
        kind = Soap11Binding if options.version == "1.1" else Soap12Binding
        for name, port in service.ports.items():
            if isinstance(port.binding, kind) and options.endpoint in ("", name):
                return port.binding
        raise _unusable(
            options.wsdl,
            t(
                f"no port {options.endpoint} of SOAP {options.version}".replace("  ", " "),
                f"没有 SOAP {options.version} 的端口 {options.endpoint}",
            ),
        )

    def content(self, body: bytes, encoding: str) -> str:
        """The content of the Body for a message: a JSON object of the parameters, or the operation's element.

        Raises :class:`PermanentError` for one that does not fit the types.
        """
        try:
            values = self._values(body, encoding)
            made = self._operation.create(**values).content
            space = made.nsmap[made.prefix]
            inner = made.find(f"{{{space}}}Body")
            return "".join(etree.tostring(child, encoding="unicode", with_tail=False) for child in inner)
        except PermanentError:
            raise
        except CodecError as error:
            raise PermanentError(error.text, code=error.code) from None
        except Exception as error:  # ValidationError, TypeError, ValueError …, by type and value
            raise _unfit(error) from error

    def _values(self, body: bytes, encoding: str) -> dict[str, Any]:
        if body.lstrip()[:1] != b"<":
            found = orjson.loads(body)
            if not isinstance(found, dict):
                raise PermanentError(
                    t("the message is not a JSON object of parameters", "消息不是由参数组成的 JSON 对象"),
                    code="soap.type",
                )
            return found
        root = parse(to_utf8(body, encoding).data)
        element = self._operation.input.body
        name = etree.QName(element.qname) if element is not None else None
        if element is None or name is None or root.tag != name.text:
            raise PermanentError(
                t(
                    f"the message is {local(str(root.tag))[:60]}, the operation takes {name.localname if name else '-'}",
                    f"消息为 {local(str(root.tag))[:60]}，该操作需要 {name.localname if name else '-'}",
                ),
                code="soap.type",
            )
        parsed = element.parse(root, self._schema)
        plain = zeep.helpers.serialize_object(parsed, dict)  # type: ignore[no-untyped-call]
        return plain if isinstance(plain, dict) else {}

    def result(self, envelope: Envelope) -> bytes:
        """The reply as JSON, by its types; raises :class:`FaultRefusal` for one that does not fit them."""
        try:
            expected = self._operation.output.body if self._operation.output is not None else None
            if expected is not None and (envelope.operation is None or envelope.operation.tag != str(expected.qname)):
                raise ValueError("another element than the operation's answer")
            value = self._operation.process_reply(envelope.root)
            plain = zeep.helpers.serialize_object(value, dict)  # type: ignore[no-untyped-call]
            return orjson.dumps(plain, default=str)
        except Exception as error:
            raise FaultRefusal(
                "client",
                "soap.reply_type",
                (
                    f"it does not fit the WSDL ({type(error).__name__})",
                    f"与 WSDL 不符（{type(error).__name__}）",
                ),
            ) from error


def _unfit(error: Exception) -> PermanentError:
    said = mask_text(" ".join(str(error).split())[:200])
    return PermanentError(
        t(f"the message does not fit the WSDL: {said}", f"消息与 WSDL 不符：{said}"), code="soap.type"
    )


def _unusable(name: str, reason: str, code: str = "soap.wsdl") -> HubError:
    return HubError(
        t(f"the WSDL {name} can't be used: {reason}", f"WSDL {name} 无法使用：{reason}"),
        code=code,
        remedy=t(
            "save it and all it imports into one folder, with relative names, and give the file",
            "请将其及全部导入文件以相对路径保存在同一文件夹，并填写该文件",
        ),
    )
