"""Writes ``samples.md``: what the codecs make of the public sample messages.

``python -m docs.samples FOLDER`` with the folder of the samples, by default ``shared/samples`` beside the checkout; ``tests/docs`` checks that the
page is current where the samples are there.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hub.codecs.base import Codec
from hub.codecs.hl7v2 import split_batch
from hub.codecs.registry import builtin_codecs
from hub.errors import CodecError
from hub.i18n import set_language

__all__ = ["OUTPUT", "SAMPLES", "report"]

OUTPUT = Path(__file__).parent / "samples.md"
SAMPLES = Path(os.environ.get("TONGQU_SAMPLES") or Path(__file__).resolve().parents[2] / "shared" / "samples")

#: Folder of the samples, the codec its files go through, and what ends their names.
_SETS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("hl7v2/cdc-reportstream", "hl7v2", (".hl7",)),
    ("hl7v2/hl7-v2-to-fhir", "hl7v2", (".txt",)),
    ("hl7v2/linuxforhealth", "hl7v2", (".hl7",)),
    ("hl7v2/ms-fhir-converter", "hl7v2", (".hl7",)),
    ("hl7v2/python-hl7", "hl7v2", (".hl7",)),
    ("hl7v2/ruby-hl7", "hl7v2", (".hl7", ".er7")),
    ("fhir/r4-examples", "fhir", (".json",)),
    ("fhir/r4b-examples", "fhir", (".json",)),
    ("cda/hl7-ccda-examples", "cda", (".xml",)),
    ("cda/ms-fhir-converter", "cda", (".ccda",)),
    ("cda/cn-wst500-xsd", "xml", (".xsd",)),
    ("other/hl7v3-ihe-ipf", "hl7v3", (".xml",)),
    ("other/cn-hip-messages/evaluation", "xml", (".xml",)),
    ("other/cn-hip-messages/xsd-services", "xml", (".xsd",)),
    ("other/v2-to-fhir-mappings", "csv", (".csv",)),
    ("dicom/charsets", "dicom", (".dcm",)),
    ("dicom/images", "dicom", (".dcm",)),
)
_HEAD = """# Sample files

Made by `python -m docs.samples`; do not edit. Every file of public collections of test messages goes through its codec: decoded, and encoded again
without a change. Batches of HL7 v2 are cut into their messages first. The files themselves are not part of the project.

| column | counts files |
|---|---|
| same bytes | that come out as the very bytes that went in |
| same content | whose bytes differ, by white space or order, while decoding them again gives the same |
| refused | that can't be decoded, or hold a message that can't be; the reasons stand below |
"""


@dataclass(slots=True)
class _Result:
    files: int = 0
    same_bytes: int = 0
    same_content: int = 0
    refused: list[tuple[str, CodecError]] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


def report(samples: Path) -> str:
    """The whole page."""
    set_language("en")
    codecs = {codec.name: codec for codec in builtin_codecs()}
    results = [(name, codec, _through(codecs[codec], _files(samples / name, ends))) for name, codec, ends in _SETS]
    lines = [_HEAD, "| collection | codec | files | same bytes | same content | refused |", "|---|---|---|---|---|---|"]
    total: Counter[str] = Counter()
    for name, codec, result in results:
        counts = (result.files, result.same_bytes, result.same_content, len(result.refused))
        lines.append(f"| {name} | `{codec}` | " + " | ".join(map(str, counts)) + " |")
        total.update(dict(zip(("files", "bytes", "content", "refused"), counts, strict=True)))
    lines.append("| **all** | | " + " | ".join(f"**{number}**" for number in total.values()) + " |")
    lines.append("\n## What is refused, and why\n")
    for name, _, result in results:
        by_code: dict[str, list[tuple[str, CodecError]]] = {}
        for file, error in result.refused:
            by_code.setdefault(error.code, []).append((file, error))
        for code, files in by_code.items():
            lines.append(f"{name}, `{code}`:\n")
            lines += [f"- `{file}`: {error}" for file, error in files]
            lines.append("")
    changed = [f"- `{name}/{file}`" for name, _, result in results for file in result.changed]
    if changed:
        lines += ["\n## What does not come back the same\n", *changed]
    return "\n".join(lines).rstrip() + "\n"


def _files(folder: Path, ends: tuple[str, ...]) -> Iterator[Path]:
    return iter(sorted(file for file in folder.rglob("*") if file.name.endswith(ends)))


def _through(codec: Codec, files: Iterator[Path]) -> _Result:
    result = _Result()
    for file in files:
        result.files += 1
        raw = file.read_bytes()
        try:
            parts = split_batch(raw) if codec.name == "hl7v2" else [raw]
            ways = {_way(codec, part) for part in parts}
        except CodecError as error:
            result.refused.append((file.name, error))
            continue
        if "changed" in ways:
            result.changed.append(file.name)
        elif "content" in ways:
            result.same_content += 1
        else:
            result.same_bytes += 1
    return result


def _way(codec: Codec, raw: bytes) -> str:
    """How one message comes back."""
    again = codec.encode(codec.decode(raw))
    if again == raw:
        return "bytes"
    return "content" if codec.encode(codec.decode(again)) == again else "changed"


if __name__ == "__main__":
    OUTPUT.write_text(report(Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES), encoding="utf-8")
