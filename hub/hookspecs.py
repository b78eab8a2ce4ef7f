"""The hooks a plugin or an installed package may implement (pluggy). Few, stable, each documented here.

A plugin folder implements them in ``plugin.py``; a package names a module in the entry point group ``tongqu``:

.. code-block:: toml

    [project.entry-points.tongqu]
    my_adapter = "my_package.hooks"

.. code-block:: python

    from hub.api import hookimpl

    @hookimpl
    def hub_functions():
        return {"pinyin": to_pinyin}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from hub.api import Adapter, Codec
    from hub.security import Scheme

__all__ = ["PROJECT", "hookimpl", "hookspec"]

PROJECT = "tongqu"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def hub_adapters() -> Sequence[Adapter]:  # type: ignore[empty-body]
    """Adapters (transports) to add. Names must be new: replacing a built-in adapter is an error."""


@hookspec
def hub_codecs() -> Sequence[Codec]:  # type: ignore[empty-body]
    """Codecs to add. Names must be new."""


@hookspec
def hub_functions() -> dict[str, Callable[..., Any]]:  # type: ignore[empty-body]
    """Functions for mapping expressions, called as ``value | name(args)`` with the value first.

    They must be pure, quick and thread-safe: a mapping's result has to be repeatable from the stored bytes.
    """


@hookspec
def hub_security_schemes() -> Sequence[type[Scheme]]:  # type: ignore[empty-body]
    """Classes of security schemes for ``security`` of interfaces. Names must be new."""


@hookspec
def hub_plugin_folders() -> Sequence[str]:  # type: ignore[empty-body]
    """Folders with plugin.yaml files that an installed package brings along."""
