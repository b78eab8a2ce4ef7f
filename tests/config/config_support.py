"""What the tests of the configuration share: writing files, and a transport of their own."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from pydantic import BaseModel, ConfigDict, Field

from hub.api import Adapter, Problem, hookimpl


class WireListen(BaseModel):
    model_config = ConfigDict(extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(ge=0, le=65535)
    path: str = ""
    methods: list[str] = Field(default_factory=list)


class WireAuth(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: str = "bearer"
    secret: str = ""


class WireConnect(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str
    connections: int = Field(1, ge=1)
    auth: WireAuth | None = None


class WireAdapter(Adapter):
    name = "wire"
    listen_options = WireListen
    connect_options = WireConnect


class SinkAdapter(Adapter):
    name = "sink"
    connect_options = WireConnect


@hookimpl
def hub_adapters() -> list[Adapter]:
    return [WireAdapter(), SinkAdapter()]


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write files below a folder; returns the path of its ``config/hub.yaml``."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
    return folder / "config" / "hub.yaml"


def told(problems: list[Problem], folder: Path) -> list[str]:
    """Problems as people read them, with paths relative to the folder."""
    return [f"{p.severity} {p}".replace(f"{folder}/", "") for p in problems]
