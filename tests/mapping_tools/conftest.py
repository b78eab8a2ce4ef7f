"""A folder of mappings with the tools around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from hub.codecs.registry import builtin_codecs
from hub.config import load_config
from hub.i18n import language, set_language
from hub.mapping import MappingLibrary
from hub.mapping_tools import Workbench, open_workbench
from hub.mapping_tools.workbench import Circumstances, Input

ROOT = Path(__file__).resolve().parents[2]
ADT = (
    "MSH|^~\\&|HIS|A&1^x|HUB|B|20260115093015||ADT^A01|M1|P|2.5.1\r"
    "EVN|A01|20260115\r"
    "PID|1||8^^^N&1.2.3&ISO^MR~11010519491231002X^^^^IDCARD||张^三~Z^S|||F||||||138\\T\\1~139\r"
    "OBR|1|O1|R1\r"
    "OBX|1|NM|K^钾||6.8|mmol/L\r"
    "NTE|1|L|called\r"
    "OBX|2|ST|C^色||红\r"
    "OBR|2|O2|R2\r"
    "OBX|1|NM|NA^钠||140|mmol/L\r"
)


class Bench:
    """Writes mappings and takes them up."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("tables/sex.csv", '# version: 7\nfrom,to,note\nM,1,male\nF,2,"female, of course"\n')

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def mapping(self, body: str, name: str = "m", source: str = "json", target: str = "json") -> str:
        self.write(f"{name}.yaml", f"from: {{codec: {source}}}\nto: {{codec: {target}}}\n{body}")
        return name

    def open(self, functions: Mapping[str, Callable[..., Any]] | None = None) -> Workbench:
        library = MappingLibrary([self.root], functions)
        return Workbench(library, {codec.name: codec for codec in builtin_codecs()}, [self.root], [])

    def given(self, raw: str | bytes, name: str = "m", **around: Any) -> tuple[Workbench, Input]:
        bench = self.open()
        data = raw.encode() if isinstance(raw, str) else raw
        return bench, bench.input(bench.library.get(name), data, Circumstances(**around), name="input")


def complete(bench: Workbench) -> list[str]:
    """The mappings that can be run, and so have tests of their own."""
    documents = ((name, bench.library.document(name)) for name in bench.library.names())
    return [
        name for name, document in documents if document is not None and not document.fragment and not document.shared
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(scope="session")
def shipped() -> Workbench:
    """The mappings that come with the hub."""
    return open_workbench(load_config(ROOT / "config" / "hub.yaml"))


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    before = language()
    set_language("en")
    yield
    set_language(before)
