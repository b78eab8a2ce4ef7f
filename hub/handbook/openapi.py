"""OpenAPI 3.1 of what a plugin or system takes in over HTTP."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hub.contract import Interface
from hub.handbook.blocks import Bullets, Para, plain
from hub.handbook.bundle import Bundle
from hub.handbook.examples import examples
from hub.handbook.material import Material
from hub.handbook.openapi_answers import MEDIA_TYPES, common_schemas, responses
from hub.handbook.security_words import security_blocks
from hub.handbook.subject import Subject
from hub.handbook.transport import Transport
from hub.handbook.words import anchor, in_language, purpose_of
from hub.i18n import t

__all__ = ["openapi"]

_REFERENCE = re.compile(r"\$\{(\w+)\}")
_FIRST = re.compile(r"\$\{\w+\}")
_PART = re.compile(r"\{(\w+)\}")
_PLACES = {"header": "header", "query": "query"}


def openapi(material: Material, subject: Subject) -> dict[str, Any] | None:
    """The document in the language of the process; None where nothing comes in over HTTP."""
    made = _Document(material, subject)
    for name, interface in subject.interfaces.items():
        if interface.direction == "in":
            made.add(name, interface)
    return made.document() if made.paths else None


class _Document:
    def __init__(self, material: Material, subject: Subject) -> None:
        self._material = material
        self._subject = subject
        self._bundle = Bundle(material.schemas)
        self._schemes: dict[str, Any] = {}
        self._tags: list[dict[str, str]] = []
        self.paths: dict[str, dict[str, Any]] = {}

    def document(self) -> dict[str, Any]:
        contract = self._subject.contract
        description = [purpose_of(self._subject.plugin.file)]
        if contract.assumed:
            description.append(
                t(
                    "Assumed: no public specification is followed; agree on it before use.",
                    "自拟契约：没有可依据的公开规范，使用前须由双方确认。",
                )
            )
        if contract.sources:
            description.append(
                t("Sources: ", "依据：") + t("; ", "；").join(in_language(one) for one in contract.sources)
            )
        schemas = {**common_schemas(), **self._bundle.components}
        components: dict[str, Any] = {"schemas": {key: schemas[key] for key in sorted(schemas)}}
        if self._schemes:
            components["securitySchemes"] = {key: self._schemes[key] for key in sorted(self._schemes)}
        return {
            "openapi": "3.1.0",
            "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
            "info": {
                "title": in_language(self._subject.name),
                "version": contract.version,
                "description": "\n\n".join(part for part in description if part),
            },
            "tags": self._tags,
            "paths": self.paths,
            "components": components,
        }

    # -- operations ----------------------------------------------------------------------------------------------

    def add(self, name: str, interface: Interface) -> None:
        transport = Transport(self._subject, interface, self._material.registry)
        if transport.http != "server":
            return
        path, methods = str(interface.listen.get("path") or "/"), transport.methods()
        first = _FIRST.match(path)  # a setting at the beginning belongs to the address of the server
        base = first[0] if first is not None else ""
        path = _REFERENCE.sub(r"{\1}", path.removeprefix(base)) or "/"
        if interface.adapter == "fhir":
            path, methods = (path.rstrip("/") or "/fhir") + "/{resourceType}", ["POST"]
        item = self.paths.setdefault(path, {})
        for method in methods:
            if method.lower() not in item:
                item[method.lower()] = self._operation(name, interface, transport, path, method, len(methods) > 1)
        if "servers" not in item:
            item["servers"] = [self._server(interface, base)]
        self._tags.append({"name": name, "description": in_language(interface.name) or name})

    def _operation(
        self, name: str, interface: Interface, transport: Transport, path: str, method: str, several: bool
    ) -> dict[str, Any]:
        told = [*self._security_text(interface)]
        operation: dict[str, Any] = {
            "operationId": anchor(self._subject.id, name, method.lower())
            if several
            else anchor(self._subject.id, name),
            "summary": in_language(interface.name) or name,
            "tags": [name],
        }
        if told:
            operation["description"] = "\n".join(told)
        parameters = [
            {"name": part, "in": "path", "required": True, "schema": {"type": "string"}} for part in _PART.findall(path)
        ]
        if method == "GET" and interface.listen.get("query_as_body"):  # each member of the message is a parameter
            member = {"name": "message", "in": "query", "required": True, "style": "form", "explode": True}
            parameters.append({**member, "schema": self._schema(interface)})
        if interface.adapter == "http" and not interface.control_id and method != "GET":
            words = t(
                "the same value for a repetition: it is recognised and answered as before",
                "重发时取相同的值，枢纽据此识别重复并按首次结果应答",
            )
            parameters.append(
                {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "required": False,
                    "schema": {"type": "string", "maxLength": 256},
                    "description": words,
                }
            )
        if parameters:
            operation["parameters"] = parameters
        if method not in ("GET", "DELETE"):
            operation["requestBody"] = {"required": True, "content": self._request(interface)}
        operation["responses"] = responses(interface, self._material.mappings)
        operation["security"] = self._security(name, interface)
        return operation

    def _request(self, interface: Interface) -> dict[str, Any]:
        types = interface.listen.get("content_types")
        if not isinstance(types, list) or not types:
            types = (
                ["text/xml"]
                if interface.adapter == "soap"
                else [MEDIA_TYPES.get(interface.codec, "application/octet-stream")]
            )
        media: dict[str, Any] = {"schema": self._schema(interface)}
        shown: dict[str, Any] = {}
        for example in examples(self._subject, interface, self._material.bench):
            value = example.tree if example.tree is not None else example.text
            shown[anchor(example.file.rpartition(".")[0]) or "example"] = {"summary": example.file, "value": value}
        if shown:
            media["examples"] = shown
        return {str(kind): media for kind in types}

    def _schema(self, interface: Interface) -> dict[str, Any]:
        if interface.security:  # what is on the wire is signed or encrypted; the description tells how
            found = self._plain_schema(interface)
            note = t(
                "The content; signing and encrypting are described with the operation.",
                "业务内容；签名与加密方式见操作说明。",
            )
            return {"allOf": [found], "description": note} if found else {}
        return self._plain_schema(interface)

    def _plain_schema(self, interface: Interface) -> dict[str, Any]:
        names = interface.validation.schemas if interface.validation is not None else []
        found = [reference for one in names if (reference := self._bundle.reference(one)) is not None]
        if len(found) == 1:
            return dict(found[0])
        if found:
            return {"allOf": found}
        return {} if interface.codec in ("json", "fhir", "form") else {"type": "string"}

    # -- answers -------------------------------------------------------------------------------------------------

    # -- who calls -----------------------------------------------------------------------------------------------

    def _server(self, interface: Interface, base: str) -> dict[str, Any]:
        scheme = "https" if interface.listen.get("tls") else "http"
        variables: dict[str, Any] = {}
        parts = []
        given = (str(interface.listen.get("host", "127.0.0.1")), str(interface.listen.get("port", "8080")), base)
        for value, default in zip(given, ("127.0.0.1", "8080", ""), strict=True):
            found = _REFERENCE.fullmatch(value)
            if found is None:
                parts.append(value)
                continue
            setting = self._subject.settings.get(found[1])
            told = in_language(setting.description) if setting is not None else ""
            known = (
                setting.default
                if setting is not None and setting.type != "secret" and setting.default is not None
                else default
            )
            variables[found[1]] = {"default": str(known), **({"description": told} if told else {})}
            parts.append("{" + found[1] + "}")
        server: dict[str, Any] = {"url": f"{scheme}://{parts[0]}:{parts[1]}{parts[2]}"}
        if variables:
            server["variables"] = variables
        return server

    def _security(self, name: str, interface: Interface) -> list[dict[str, list[str]]]:
        auth = interface.listen.get("auth")
        kind = auth.get("type") if isinstance(auth, Mapping) else "none"
        needed: dict[str, list[str]] = {}
        choices: list[dict[str, list[str]]] = []
        if kind == "basic":
            needed[self._scheme("basic", {"type": "http", "scheme": "basic"})] = []
        elif kind == "bearer":
            needed[self._scheme("bearer", {"type": "http", "scheme": "bearer"})] = []
        elif kind == "api_key" and isinstance(auth, Mapping):
            header = str(auth.get("header") or "X-Api-Key")
            needed[self._scheme("apiKey", {"type": "apiKey", "in": "header", "name": header}, header)] = []
        elif kind == "caller" and isinstance(auth, Mapping):
            choices = [{one: []} for one in self._of_callers(auth, interface)]
        for number, entry in enumerate(interface.security, 1):
            signed = self._signed(entry)
            if signed is not None:
                needed[self._scheme(f"{anchor(name)}-signature-{number}", signed)] = []
        if choices:
            return [{**choice, **needed} for choice in choices]
        return [needed] if needed else []

    def _of_callers(self, auth: Mapping[str, Any], interface: Interface) -> list[str]:
        kinds = auth.get("accept")
        kinds = kinds if isinstance(kinds, list) else ["api_key", "bearer", "basic", "jwt", "oauth2"]
        found = []
        if {"bearer", "jwt", "oauth2"} & set(kinds):
            found.append(self._scheme("bearer", {"type": "http", "scheme": "bearer"}))
        if "basic" in kinds:
            found.append(self._scheme("basic", {"type": "http", "scheme": "basic"}))
        if "api_key" in kinds:
            header = str(auth.get("header") or "X-Api-Key")
            found.append(self._scheme("apiKey", {"type": "apiKey", "in": "header", "name": header}, header))
        if "mtls" in kinds:
            found.append(self._scheme("mutualTLS", {"type": "mutualTLS"}))
        return found

    def _signed(self, entry: Any) -> dict[str, Any] | None:
        """A signature in a header or in the query as far as OpenAPI can say it."""
        given = entry if isinstance(entry, Mapping) else {str(entry): {}}
        ((name, options),) = given.items() if len(given) == 1 else (("", {}),)
        place = options.get("at") if isinstance(options, Mapping) else None
        words = t("see the description of the operation", "见操作说明")
        for key, where in _PLACES.items():
            if isinstance(place, Mapping) and place.get(key):
                return {"type": "apiKey", "in": where, "name": str(place[key]), "description": words}
        header = {
            "wechat_pay": "Wechatpay-Signature",
            "aliyun_acs3": "Authorization",
            "tencent_tc3": "Authorization",
            "x_tif": "x-tif-signature",
            "hunan_insurance": "_api_signature",
            "logink": "X-Ca-Signature",
        }.get(str(name))
        return {"type": "apiKey", "in": "header", "name": header, "description": words} if header else None

    def _scheme(self, name: str, scheme: dict[str, Any], word: str = "") -> str:
        key = name if self._schemes.get(name, scheme) == scheme else f"{name}-{anchor(word)}"
        self._schemes[key] = scheme
        return key

    def _security_text(self, interface: Interface) -> list[str]:
        """The steps in words."""
        lines: list[str] = []
        for block in security_blocks(self._subject, interface, self._material.registry.schemes, sends=False):
            if isinstance(block, Para):
                lines.append(plain(block.text))
            elif isinstance(block, Bullets):
                lines += [f"{number}. {plain(item)}" for number, item in enumerate(block.items, 1)]
        return lines
