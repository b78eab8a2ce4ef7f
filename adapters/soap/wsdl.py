"""The WSDL of a service: generated from its options, or a file with what it imports (WSDL 1.1)."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, urlsplit

from lxml import etree

from adapters.soap.names import XSD, Version
from adapters.soap.options import SoapListen
from adapters.soap.payload import Place
from adapters.soap.text import attribute
from hub.api import CodecError, HubError
from hub.codecs.xml_charset import to_utf8
from hub.codecs.xml_parse import parse
from hub.i18n import t

__all__ = ["WsdlFiles", "generated"]

_WSDL = "http://schemas.xmlsoap.org/wsdl/"
_BINDINGS = {Version.V11: f"{_WSDL}soap/", Version.V12: f"{_WSDL}soap12/"}
_TRANSPORT = "http://schemas.xmlsoap.org/soap/http"
_MOST_FILES = 200
#: Elements and attributes by which one file names another.
_LINKS = (
    (f"{{{_WSDL}}}import", "location"),
    (f"{{{XSD}}}import", "schemaLocation"),
    (f"{{{XSD}}}include", "schemaLocation"),
    (f"{{{XSD}}}redefine", "schemaLocation"),
)


def generated(options: SoapListen, address: str) -> bytes:
    """A WSDL with one port for each version; every parameter and every result is a string (or base64Binary)."""
    space = options.namespace or "urn:tongqu:service"
    operations = options.operations or ["message"]
    rpc = options.style == "rpc"
    names = options.parameters or (
        [Place(options.payload).name or "message"] if options.payload != "body" or rpc else []
    )
    payload = Place(options.payload).find_name(names)
    types: list[str] = []
    messages: list[str] = []
    for operation in operations:
        result = options.result.replace("{operation}", operation)
        answer = options.response.replace("{operation}", operation)
        inputs = [(name, _type(options.binary and name == payload)) for name in names]
        outputs = [(result, _type(options.binary))]
        for name, element, members in ((operation, operation, inputs), (f"{operation}Response", answer, outputs)):
            messages.append(_message(name, element, members, rpc))
            if not rpc:
                types.append(_element(element, members, options.style == "bare"))
    form = "qualified" if options.qualified else "unqualified"
    schema = (
        f'<wsdl:types><xsd:schema targetNamespace="{attribute(space)}" elementFormDefault="{form}">{"".join(types)}</xsd:schema></wsdl:types>'
        if types
        else ""
    )
    port_operations = "".join(
        f'<wsdl:operation name="{name}"><wsdl:input message="tns:{name}"/><wsdl:output message="tns:{name}Response"/></wsdl:operation>'
        for name in operations
    )
    name = operations[0]
    bindings = ports = ""
    for version in Version:
        if version in options.accepts:
            suffix = "" if version is Version.V11 else "12"
            bindings += _binding(options, operations, name, space, version, suffix, rpc)
            ports += (
                f'<wsdl:port name="{name}Soap{suffix}" binding="tns:{name}Binding{suffix}">'
                f'<b{suffix}:address xmlns:b{suffix}="{_BINDINGS[version]}" location="{attribute(address)}"/></wsdl:port>'
            )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<wsdl:definitions name="{name}Service" targetNamespace="{attribute(space)}" xmlns:tns="{attribute(space)}" '
        f'xmlns:wsdl="{_WSDL}" xmlns:xsd="{XSD}">{schema}{"".join(messages)}'
        f'<wsdl:portType name="{name}PortType">{port_operations}</wsdl:portType>{bindings}'
        f'<wsdl:service name="{name}Service">{ports}</wsdl:service></wsdl:definitions>'
    ).encode()


def _type(binary: bool) -> str:
    return "xsd:base64Binary" if binary else "xsd:string"


def _message(name: str, element: str, members: list[tuple[str, str]], rpc: bool) -> str:
    if not rpc:
        return f'<wsdl:message name="{name}"><wsdl:part name="parameters" element="tns:{element}"/></wsdl:message>'
    parts = "".join(f'<wsdl:part name="{part}" type="{kind}"/>' for part, kind in members)
    return f'<wsdl:message name="{name}">{parts}</wsdl:message>'


def _element(name: str, members: list[tuple[str, str]], bare: bool) -> str:
    if bare:
        return f'<xsd:element name="{name}" type="xsd:anyType"/>'
    inner = "".join(f'<xsd:element name="{part}" type="{kind}" minOccurs="0"/>' for part, kind in members)
    inner = inner or '<xsd:any minOccurs="0" maxOccurs="unbounded" processContents="lax"/>'
    return f'<xsd:element name="{name}"><xsd:complexType><xsd:sequence>{inner}</xsd:sequence></xsd:complexType></xsd:element>'


def _binding(
    options: SoapListen, operations: list[str], name: str, space: str, version: Version, suffix: str, rpc: bool
) -> str:
    prefix = f"b{suffix}"
    body = f'<{prefix}:body use="literal"' + (f' namespace="{attribute(space)}"' if rpc else "") + "/>"
    action = attribute(options.soap_actions[0]) if options.soap_actions else ""
    return (
        f'<wsdl:binding name="{name}Binding{suffix}" type="tns:{name}PortType" xmlns:{prefix}="{_BINDINGS[version]}">'
        f'<{prefix}:binding style="{"rpc" if rpc else "document"}" transport="{_TRANSPORT}"/>'
        + "".join(
            f'<wsdl:operation name="{operation}"><{prefix}:operation soapAction="{action}"/>'
            f"<wsdl:input>{body}</wsdl:input><wsdl:output>{body}</wsdl:output></wsdl:operation>"
            for operation in operations
        )
        + "</wsdl:binding>"
    )


class WsdlFiles:
    """A WSDL file and all it imports from its folder, read once. Raises :class:`HubError` for what can't be served."""

    def __init__(self, path: str) -> None:
        main = Path(path)
        self._folder = main.resolve().parent
        self._files: dict[str, etree._Element] = {}
        self._main = main.name
        waiting = [self._main]
        while waiting:
            name = waiting.pop()
            if name in self._files:
                continue
            if len(self._files) >= _MOST_FILES:
                raise _unusable(
                    path, t(f"it imports more than {_MOST_FILES} files", f"导入的文件超过 {_MOST_FILES} 个")
                )
            self._files[name] = root = self._read(name)
            for element, key in _links(root):
                other = self._relative(name, element.get(key) or "")
                if other:
                    waiting.append(other)

    def served(self, name: str, address: str) -> bytes | None:
        """A file with its links and addresses turned to ``address``; "" for the WSDL itself. None: there is none of this name."""
        root = self._files.get(name or self._main)
        if root is None:
            return None
        twin = parse(etree.tostring(root, encoding="utf-8"))
        for element, key in _links(twin):
            other = self._relative(name or self._main, element.get(key) or "")
            if other:
                element.set(key, f"{address}?xsd={quote(other)}")
        for space in _BINDINGS.values():
            for element in twin.iter(f"{{{space}}}address"):
                element.set("location", address)
        return etree.tostring(twin, encoding="UTF-8", xml_declaration=True)

    def _read(self, name: str) -> etree._Element:
        path = self._folder / name
        try:
            return parse(to_utf8(path.read_bytes(), "").data)
        except OSError as error:
            raise _unusable(str(path), error.strerror or "") from error
        except CodecError as error:
            raise _unusable(str(path), error.text) from error

    def _relative(self, name: str, link: str) -> str:
        """The file a link means, relative to the folder; "" for an address elsewhere."""
        if not link or urlsplit(link).scheme:
            return ""
        path = (self._folder / name).parent / link
        try:
            return path.resolve().relative_to(self._folder).as_posix()
        except ValueError:
            raise _unusable(str(path), t("it is outside the folder of the WSDL", "位于 WSDL 文件夹之外")) from None


def _links(root: etree._Element) -> list[tuple[etree._Element, str]]:
    return [(element, key) for tag, key in _LINKS for element in root.iter(tag)]


def _unusable(path: str, reason: str) -> HubError:
    return HubError(
        t(f"{path} can't be served: {reason}", f"{path} 无法提供：{reason}"),
        code="soap.wsdl",
        remedy=t(
            "give a WSDL 1.1 file; what it imports lies in or below its folder",
            "请提供 WSDL 1.1 文件，其导入的文件须位于同一文件夹或其下",
        ),
    )
