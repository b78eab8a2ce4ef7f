"""Paths into real documents, against XPath."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from lxml import etree

from hub.codecs.xml_codec import XmlCodec, XmlDocument
from hub.errors import CodecError
from hub.mapping import Context, compile_expression

SAMPLES = Path(os.environ.get("TONGQU_SAMPLES") or Path(__file__).resolve().parents[2].parent / "shared" / "samples")
pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no samples in {SAMPLES}")
FILES = (
    sorted(path for path in SAMPLES.rglob("*") if path.suffix in (".xml", ".ccda") and path.is_file())
    if SAMPLES.is_dir()
    else []
)
#: Paths tried in each file.
TRIED = 12


def decoded(path: Path) -> XmlDocument | None:
    try:
        return XmlCodec().decode(path.read_bytes())
    except CodecError:
        return None


def name(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2]


def path_to(element: etree._Element, chance: random.Random) -> list[tuple[str, str]]:
    """(our step, XPath's) of a path that leads to an element, some by the value of an attribute or of a child's."""
    steps: list[tuple[str, str]] = []
    part: etree._Element | None = element
    while part is not None:
        ours, theirs = f"/{name(part)}", f"/*[local-name()='{name(part)}']"
        key = next((key for key in part.attrib if "{" not in key and '"' not in part.attrib[key]), None)
        child = next(part.iterchildren("{*}code"), None)
        if key and part.attrib[key] and chance.random() < 0.3:
            condition = f'[@{key}="{part.attrib[key]}"]'
            ours, theirs = ours + condition, theirs + condition
        elif child is not None and child.get("code") and chance.random() < 0.5:
            value = child.get("code")
            ours, theirs = f'{ours}[code/@code="{value}"]', f"{theirs}[*[local-name()='code']/@code=\"{value}\"]"
        steps.insert(0, (ours, theirs))
        part = part.getparent()
    cut = chance.randrange(len(steps))
    if chance.random() < 0.3:
        steps = [("/" + steps[cut][0], "/" + steps[cut][1]), *steps[cut + 1 :]]
    return steps


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_paths(path: Path) -> None:
    document = decoded(path)
    if document is None:
        pytest.skip("a fragment with undeclared prefixes, see the tests of the codec")
    chance = random.Random(path.name)
    tree = document.root.getroottree()
    every = list(document.root.iter("*"))
    for element in [chance.choice(every) for _ in range(TRIED)]:
        steps = path_to(element, chance)
        attribute = next((f"/@{key}" for key in element.attrib if "{" not in key), "")
        ours = "".join(step for step, _ in steps) + attribute
        theirs = "".join(step for _, step in steps) + attribute
        texts = [str(node) if attribute else "".join(node.itertext()).strip() for node in tree.xpath(theirs)]
        assert texts
        if attribute:
            texts = [text for text in texts if text]
        assert compile_expression(f"list({ours})", "xml")(document, Context()) == texts, ours
