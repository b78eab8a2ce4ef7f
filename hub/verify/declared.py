"""``verify.yaml`` in a plugin's folder: what contract tests can't find out by themselves.

Messages to send where neither mapping tests nor examples give one, and the tests that prove what only a published vector or a real
peer can. Nothing in it claims a level: tests named here must exist and pass.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from hub.errors import ConfigError, Problem
from hub.validation import validate
from hub.yaml_source import load

__all__ = ["FILE", "Declared", "GivenMessage", "ProofKind", "Proofs", "declared"]

FILE = "verify.yaml"

ProofKind = Literal["vectors", "peers", "fuzz", "flow"]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_Names = Annotated[list[str], BeforeValidator(_as_list)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GivenMessage(_Model):
    """A message as the source system would send it."""

    codec: str = Field("", description="default: that of the interface's mapping, or of the interface")
    type: str = Field("", description="message type; default: the codec's, or the first the interface accepts")
    keys: dict[str, str] = Field(default_factory=dict, description="business keys; they fill {name} in addresses")
    file: str = Field("", description="relative to the plugin's folder")
    body: Any = Field(None, description="the message itself, as text or as a tree")


class Proofs(_Model):
    """Tests by what they prove, as ``tests/…/test_x.py::test_y``, from the root of the project."""

    vectors: _Names = Field(default_factory=list, description="compare with published vectors")
    peers: _Names = Field(default_factory=list, description="talk to a real peer")
    fuzz: _Names = Field(default_factory=list, description="feed invented input")
    flow: _Names = Field(default_factory=list, description="run a flow through the plugin from end to end")


class Declared(_Model):
    """The whole file."""

    messages: dict[str, GivenMessage] = Field(default_factory=dict, description="interface -> what to send to it")
    settings: dict[str, Any] = Field(default_factory=dict, description="settings of the tested system")
    skip: dict[str, str] = Field(
        default_factory=dict, description="interface -> why it can't be tested by calls; it counts as skipped"
    )
    proof: Proofs = Proofs()


def declared(folder: Path, problems: list[Problem]) -> Declared:
    """What the file of a plugin says; nothing where there is none or it is wrong, which is then among ``problems``."""
    file = folder / FILE
    if not file.is_file():
        return Declared()
    try:
        document = load(file)
    except ConfigError as error:
        problems.extend(error.problems)
        return Declared()
    return validate(Declared, document.data or {}, document.place(), problems) or Declared()
