"""``verify.yaml`` in the folder of a plugin or profile: what contract tests can't find out by themselves.

Messages to send where neither mapping tests nor examples give one, and the tests that prove what only a published vector or a real
peer can. Nothing in it claims a level: tests named here must exist and pass.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from hub.errors import ConfigError, Problem
from hub.registry import LoadedPlugin
from hub.validation import validate
from hub.yaml_source import load

__all__ = ["FILE", "Declared", "GivenMessage", "Proofs", "declared"]

FILE = "verify.yaml"


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
    """Tests by what they prove, as ``tests/…/test_x.py::test_y``, from the root of the project.

    ``{plugin}`` in a name stands for the plugin: of a test that looks at many, ``test_y[{plugin}]`` is its own case.
    """

    vectors: _Names = Field(default_factory=list, description="compare with published vectors")
    peers: _Names = Field(default_factory=list, description="talk to a real peer")
    fuzz: _Names = Field(default_factory=list, description="feed invented input")
    flow: _Names = Field(default_factory=list, description="run a flow through the plugin from end to end")

    @property
    def all(self) -> list[str]:
        return [*self.vectors, *self.peers, *self.fuzz, *self.flow]


class Declared(_Model):
    """The whole file."""

    messages: dict[str, GivenMessage] = Field(default_factory=dict, description="interface -> what to send to it")
    settings: dict[str, Any] = Field(default_factory=dict, description="settings of the tested system")
    skip: dict[str, str] = Field(
        default_factory=dict, description="interface -> why it can't be tested by calls; it counts as skipped"
    )
    unsigned: dict[str, str] = Field(
        default_factory=dict, description="interface -> what proves its replies, where a scheme leaves them unsigned"
    )
    proof: Proofs = Proofs()


def declared(plugin: LoadedPlugin, problems: list[Problem]) -> Declared:
    """What is declared for a plugin: by its profiles, the farthest first, and by itself, which has the last word on each key.

    Tests named as proof add up. A file that is wrong counts as none; what is wrong is then among ``problems``.
    """
    found = Declared()
    for folder in (*(profile.folder for profile in reversed(plugin.profiles)), plugin.folder):
        own = _read(folder, problems)
        if own is not None:
            found = _over(found, _seen_from(own, folder, plugin.folder))
    proof = {kind: [_of_plugin(name, plugin) for name in names] for kind, names in found.proof.model_dump().items()}
    return found.model_copy(update={"proof": Proofs(**proof)})


def _read(folder: Path, problems: list[Problem]) -> Declared | None:
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        document = load(file)
    except ConfigError as error:
        problems.extend(error.problems)
        return None
    return validate(Declared, document.data or {}, document.place(), problems)


def _over(below: Declared, above: Declared) -> Declared:
    kinds = {
        kind: list(dict.fromkeys([*getattr(below.proof, kind), *getattr(above.proof, kind)]))
        for kind in Proofs.model_fields
    }
    return Declared(
        messages={**below.messages, **above.messages},
        settings={**below.settings, **above.settings},
        skip={**below.skip, **above.skip},
        unsigned={**below.unsigned, **above.unsigned},
        proof=Proofs(**kinds),
    )


def _seen_from(one: Declared, folder: Path, plugin: Path) -> Declared:
    """With the files of a profile named from the plugin's folder."""
    if folder == plugin:
        return one
    away = os.path.relpath(folder, plugin)
    messages = {
        name: given.model_copy(update={"file": Path(away, given.file).as_posix()}) if given.file else given
        for name, given in one.messages.items()
    }
    return one.model_copy(update={"messages": messages})


def _of_plugin(name: str, plugin: LoadedPlugin) -> str:
    return name.replace("{plugin}", plugin.contract.id)
