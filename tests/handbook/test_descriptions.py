"""OpenAPI, AsyncAPI and WSDL: valid by the judgement of others, complete, and what the hub really does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import zeep
from openapi_spec_validator import OpenAPIV31SpecValidator

from adapters.http.problem import problem_response
from hub.handbook.asyncapi import asyncapi
from hub.handbook.material import Material, gather
from hub.handbook.openapi import openapi
from hub.handbook.openapi_answers import common_schemas
from hub.handbook.services import descriptions
from hub.handbook.subject import of_plugin
from tests.adapters.http_support import MemoryIntake, call
from tests.adapters.soap_support import HIP, listening
from tests.handbook.support import Site, subjects


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


def target(document: Any, reference: str) -> Any:
    assert reference.startswith("#/"), reference
    for part in reference[2:].split("/"):
        document = document[part.replace("~1", "/").replace("~0", "~")]
    return document


def test_openapi_of_every_plugin_is_valid(repository: Material) -> None:
    seen = 0
    for name, plugin in repository.registry.plugins.items():
        if plugin.folder.parent.name == "provincial" and seen > 20:
            continue  # they share one profile
        document = openapi(repository, of_plugin(plugin))
        served = [
            key
            for key, one in plugin.contract.interfaces.items()
            if one.direction == "in" and one.adapter in ("http", "soap", "fhir")
        ]
        assert (document is not None) == bool(served), name
        if document is None:
            continue
        seen += 1
        assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == [], name
        for reference in references(document):
            target(document, reference)
        tags = {
            tag for item in document["paths"].values() for one in item.values() if "tags" in one for tag in one["tags"]
        }
        assert tags >= set(served) or len(document["paths"]) < len(served), name
    assert seen > 5


def test_examples_fit_the_schemas_they_stand_beside(repository: Material, chosen: tuple[str, ...]) -> None:
    checked = 0
    for subject in subjects(repository, *chosen):
        document = openapi(repository, subject)
        for item in (document or {"paths": {}})["paths"].values():
            for operation in item.values():
                for media in (
                    operation.get("requestBody", {}).get("content", {}).values() if "tags" in operation else ()
                ):
                    if not list(references(media["schema"])):
                        continue
                    validator = jsonschema_rs.Draft202012Validator(
                        {**media["schema"], "components": document["components"]}
                    )
                    for example in media.get("examples", {}).values():
                        assert validator.is_valid(example["value"]), (subject.id, example["summary"])
                        checked += 1
    assert checked >= 5


def test_a_refusal_has_the_form_that_is_described() -> None:
    """The schema of problem documents against what the adapter writes."""
    body = problem_response(
        "en", "/a", 422, "x.y", ("no", "否"), remedy=("do", "改"), message_id=7, target="T", findings=[{"place": "a"}]
    ).body
    assert isinstance(body, bytes)
    written = json.loads(body)
    schema = common_schemas()["Problem"]
    jsonschema_rs.validate(schema, written)
    assert set(written) == set(schema["properties"])
    assert set(schema["required"]) == set(written) - {"remedy", "message_id", "target_code", "findings"}


def test_asyncapi_of_every_plugin_is_whole(repository: Material) -> None:
    for name, plugin in repository.registry.plugins.items():
        document = asyncapi(repository, of_plugin(plugin))
        if document is None:
            continue
        assert document["asyncapi"] == "3.0.0"
        for reference in references(document):
            target(document, reference)
        wanted = {
            key: "receive" if one.direction == "in" else "send"
            for key, one in plugin.contract.interfaces.items()
            if one.adapter != "results" and not (one.direction == "in" and one.adapter in ("http", "soap", "fhir"))
        }
        assert {key: one["action"] for key, one in document["operations"].items()} == wanted, name
        for server in document["servers"].values():
            assert set(server) <= {"host", "protocol", "description"}
            assert not set("{}/") & set(server["host"]), (name, server)


def test_what_comes_over_http_is_no_channel_and_what_comes_otherwise_no_path(repository: Material) -> None:
    his, desk = subjects(repository, "his_hl7v2", "payment_desk")
    assert openapi(repository, his) is None
    assert list(asyncapi(repository, his)["channels"]) == ["adt", "results", "order_status", "notices"]  # type: ignore[index]
    assert list(openapi(repository, desk)["paths"]) == ["/payment/v1/commands"]  # type: ignore[index]
    assert list(asyncapi(repository, desk)["channels"]) == ["result"]  # type: ignore[index]


SOAP = """\
id: hip
name: 平台
settings: {port: {type: port, required: true}}
interfaces:
  service:
    direction: in
    adapter: soap
    listen: {port: "${port}", path: /hip, auth: {type: none}, operations: [HIPMessageServer], namespace: "urn:hl7-org:v3",
             parameters: [action, message], payload: parameter message}
    codec: hl7v3
"""


def test_the_wsdl_loads_and_is_linked(site: Site, tmp_path: Path) -> None:
    material = gather(site({"plugins/some/hip/plugin.yaml": SOAP}), quality=False)
    found = descriptions(material, of_plugin(material.plugin("hip")))
    assert list(found) == ["service.wsdl"]
    client = zeep.Client(BytesIO(found["service.wsdl"]))
    (service,) = client.wsdl.services.values()
    assert {operation for port in service.ports.values() for operation in port.binding.all()} == {"HIPMessageServer"}


async def test_the_wsdl_is_the_one_that_is_served() -> None:
    from adapters.soap import SoapAdapter

    async with listening(MemoryIntake(), address="https://hub.example/hip", **HIP) as receiver:
        served = await call(receiver, b"", method="GET", path="/hip?wsdl")
        described = SoapAdapter().descriptions(receiver._soap)
    assert served.body == described["wsdl"]


def test_a_system_has_its_own_address_in_the_wsdl(site: Site) -> None:
    from hub.handbook.subject import of_system

    config = site(
        {"plugins/some/hip/plugin.yaml": SOAP}, "systems: {platform: {plugin: hip, settings: {port: 18432}}}\n"
    )
    material = gather(config, quality=False)
    found = descriptions(material, of_system(material.deployment, "platform"))
    assert b"http://127.0.0.1:18432/hip" in found["service.wsdl"]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_operations_tell_how_calls_are_signed(handbook: dict[str, str], language: str) -> None:
    document = json.loads(handbook[f"wechat_pay/openapi.{language}.json"])
    operation = document["paths"]["/wechat/notify"]["post"]
    assert "AEAD_AES_256_GCM" in operation["description"]
    (needed,) = operation["security"]
    (scheme,) = (document["components"]["securitySchemes"][name] for name in needed)
    assert (scheme["in"], scheme["name"]) == ("header", "Wechatpay-Signature")
