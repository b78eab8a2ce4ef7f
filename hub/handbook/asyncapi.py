"""AsyncAPI 3.0 of messages: what comes in by other ways than HTTP, and what is sent."""

from __future__ import annotations

from typing import Any

from hub.contract import Interface
from hub.handbook.bundle import Bundle
from hub.handbook.examples import examples
from hub.handbook.material import Material
from hub.handbook.subject import Subject
from hub.handbook.transport import Transport
from hub.handbook.words import anchor, in_language, purpose_of
from hub.i18n import t

__all__ = ["asyncapi"]

#: Protocol of the servers of an adapter, as AsyncAPI or the adapter itself calls it.
_PROTOCOLS = {"mq": "amqp", "amqp1": "amqp1", "kafka": "kafka", "redis": "redis", "stomp": "stomp"}
_TYPES = {
    "json": "application/json",
    "xml": "application/xml",
    "cda": "application/xml",
    "hl7v3": "application/xml",
    "fhir": "application/fhir+json",
    "hl7v2": "application/hl7-v2",
    "form": "application/x-www-form-urlencoded",
    "csv": "text/csv",
    "dicom": "application/dicom",
}
#: Options that say where messages stand, the first that is there.
_ADDRESSES = ("queue", "topic", "stream", "channel", "exchange", "subject", "destination", "folder", "mailbox", "path")


def asyncapi(material: Material, subject: Subject) -> dict[str, Any] | None:
    """The document in the language of the process; None where everything comes in over HTTP and nothing is sent."""
    bundle = Bundle(material.schemas)
    servers: dict[str, Any] = {}
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for name, interface in subject.interfaces.items():
        transport = Transport(subject, interface, material.registry)
        if transport.http == "server" or interface.adapter == "results":
            continue
        key = anchor(name)
        server = _server(interface, transport)
        known = next((one for one, other in servers.items() if other == server), "")
        if not known:
            known = anchor("server", name)
            servers[known] = server
        message = _message(material, subject, interface, bundle)
        messages[key] = {"name": key, "title": in_language(interface.name) or name, **message}
        channels[key] = {
            "address": _address(interface, transport),
            "title": in_language(interface.name) or name,
            "servers": [{"$ref": f"#/servers/{known}"}],
            "messages": {key: {"$ref": f"#/components/messages/{key}"}},
        }
        operations[key] = {
            "action": "receive" if interface.direction == "in" else "send",
            "channel": {"$ref": f"#/channels/{key}"},
            "summary": in_language(interface.name) or name,
            "messages": [{"$ref": f"#/channels/{key}/messages/{key}"}],
        }
        types = [] if interface.direction == "in" else [one for one in interface.accepts if one != "*"]
        if types:
            operations[key]["tags"] = [{"name": one} for one in dict.fromkeys(types)]
    if not channels:
        return None
    components: dict[str, Any] = {"messages": messages}
    if bundle.components:
        components["schemas"] = {key: bundle.components[key] for key in sorted(bundle.components)}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": in_language(subject.name),
            "version": subject.contract.version,
            "description": _described(subject),
        },
        "defaultContentType": "application/json",
        "servers": servers,
        "channels": channels,
        "operations": operations,
        "components": components,
    }


def _described(subject: Subject) -> str:
    told = [purpose_of(subject.plugin.file)]
    told.append(t("Seen from the hub: it receives or sends.", "以枢纽为主体：receive 为枢纽接收，send 为枢纽发送。"))
    if subject.contract.assumed:
        told.append(
            t(
                "Assumed: no public specification is followed; agree on it before use.",
                "自拟契约：没有可依据的公开规范，使用前须由双方确认。",
            )
        )
    return "\n\n".join(part for part in told if part)


def _server(interface: Interface, transport: Transport) -> dict[str, Any]:
    if transport.http == "client":
        scheme, _, rest = transport.address().partition("://")
        host = (rest or scheme).partition("/")[0]
        return {"host": _plain(host), "protocol": scheme if rest and scheme in ("http", "https") else "https"}
    given = interface.listen if interface.direction == "in" else interface.connect
    host = (
        transport.option("host")
        or transport.option("root")
        or transport.option("url").partition("://")[2]
        or "localhost"
    )
    port = transport.option("port")
    server = {
        "host": _plain(f"{host}:{port}" if port else host),
        "protocol": _PROTOCOLS.get(interface.adapter, interface.adapter),
    }
    if given.get("tls"):
        server["description"] = "TLS"
    return server


def _plain(host: str) -> str:
    """Names of settings without braces, which stand for variables of the document."""
    return host.replace("{", "").replace("}", "") or "localhost"


def _address(interface: Interface, transport: Transport) -> str | None:
    if transport.http == "client":
        rest = transport.address().partition("://")[2]
        path = "/" + rest.partition("/")[2] if "/" in rest else transport.address().partition("}")[2] or "/"
        return _plain(path) if "{" in path else path
    for name in _ADDRESSES:
        found = transport.option(name)
        if found:
            return _plain(found)
    return None


def _message(material: Material, subject: Subject, interface: Interface, bundle: Bundle) -> dict[str, Any]:
    message: dict[str, Any] = {"contentType": _TYPES.get(interface.codec, "application/octet-stream")}
    names = interface.validation.schemas if interface.validation is not None else []
    found = [reference for one in names if (reference := bundle.reference(one)) is not None]
    if found:
        message["payload"] = dict(found[0]) if len(found) == 1 else {"allOf": found}
    shown = []
    for example in examples(subject, interface, material.bench):
        tree, text = (example.sent_tree, example.sent) if example.sent else (example.tree, example.text)
        if interface.direction == "in" or example.sent or not interface.mapping:
            payload = tree if isinstance(tree, dict) else text
            shown.append(
                {
                    "name": anchor(example.file.rpartition(".")[0]) or "example",
                    "summary": example.file,
                    "payload": payload,
                }
            )
    if shown:
        message["examples"] = shown
    return message
