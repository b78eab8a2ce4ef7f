"""Real resources: JSON without loss, JSON and XML of the same content, XML as another library reads and orders it."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from hub.errors import CodecError
from tests.codecs.fhir_support import SAMPLES, Version, codec, sample_files

pytestmark = pytest.mark.skipif(not sample_files(), reason=f"no samples in {SAMPLES}")
IDS = [path.name for _, path in sample_files()]


def exact(raw: bytes) -> Any:
    return json.loads(raw, parse_float=Decimal, parse_int=Decimal)


@pytest.mark.parametrize(("version", "path"), sample_files(), ids=IDS)
def test_json_and_xml_have_the_same_content(version: Version, path: Path) -> None:
    raw = path.read_bytes()
    tree = codec(version).decode(raw)
    assert exact(codec(version).encode(tree)) == exact(raw)
    xml = codec(version, "xml").encode(tree)
    again = codec(version).decode(xml)
    assert again == tree
    assert exact(codec(version).encode(again)) == exact(raw)
    # Written once, XML comes back byte for byte.
    assert codec(version, "xml").encode(again) == xml


@pytest.mark.parametrize(("version", "path"), sample_files(), ids=IDS)
def test_xml_as_others_read_it(version: Version, path: Path) -> None:
    tree = codec(version).decode(path.read_bytes())
    root = ElementTree.fromstring(codec(version, "xml").encode(tree))
    assert root.tag == f"{{http://hl7.org/fhir}}{tree['resourceType']}"
    assert sorted(texts_of_xml(root)) == sorted(texts_of_json(tree))
    envelope = codec(version).envelope(tree)
    assert envelope[0].split(".")[0] == tree["resourceType"]


def texts_of_xml(element: ElementTree.Element) -> list[str]:
    """The values, ids and URLs of all elements, narratives left out."""
    if element.tag == "{http://www.w3.org/1999/xhtml}div":
        return []
    found = [value for key, value in element.attrib.items() if not key.startswith("{")]
    return found + [text for child in element for text in texts_of_xml(child)]


def texts_of_json(value: Any, key: str = "") -> list[str]:
    if isinstance(value, dict):
        return [text for name, item in value.items() for text in texts_of_json(item, name)]
    if isinstance(value, list):
        return [text for item in value for text in texts_of_json(item, key)]
    if value is None or key in ("resourceType", "div"):
        return []
    return [str(value).lower() if isinstance(value, bool) else str(value)]


@pytest.mark.parametrize(("version", "path"), [found for found in sample_files() if found[0] != "R5"])
def test_content_as_another_library_has_it(version: Version, path: Path) -> None:
    """What has been through XML is the same to fhir.resources, whose models of R4B read nearly all of R4."""
    models = pytest.importorskip("fhir.resources.R4B")
    tree = codec(version).decode(path.read_bytes())
    try:
        model = models.get_fhir_model_class(tree["resourceType"]).model_validate_json(path.read_bytes())
    except ValueError:
        pytest.skip("fhir.resources refuses this resource")
    ours = models.get_fhir_model_class(tree["resourceType"]).model_validate(
        codec(version).decode(codec(version, "xml").encode(tree))
    )
    assert ours == model


def test_damaged_resources_are_refused_or_read_but_never_break_the_codec() -> None:
    random_ = random.Random(20260115)
    files = [(version, path.read_bytes()) for version, path in sample_files()]
    xml = [(version, codec(version, "xml").encode(codec(version).decode(raw))) for version, raw in files]
    refused = 0
    for _ in range(1500):
        version, raw = random_.choice(files + xml * 3)
        data = bytearray(raw[: random_.randrange(200, 3000)] if random_.random() < 0.3 else raw)
        for _ in range(random_.choice((1, 1, 3, 10))):
            at = random_.randrange(len(data))
            data[at : at + random_.choice((0, 1, 1, 5))] = random_.choice(
                (b"", b"<", b"\xff", b"&", b'"', b"\x00", b"</", b"[", b"{", b"extension", b"1e999", b"<div>", b"null")
            )
        try:
            tree = codec(version).decode(bytes(data))
            codec(version).envelope(tree)
            codec(version, "xml").encode(tree)
        except CodecError:
            refused += 1
    assert refused > 200
