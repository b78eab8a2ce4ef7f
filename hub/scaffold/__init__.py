"""Skeletons: what ``hub new plugin`` and ``hub new system`` write. It is valid at once, and never replaces a file."""

from __future__ import annotations

from hub.scaffold.formats import FORMATS
from hub.scaffold.plugin import PluginAnswers, new_plugin
from hub.scaffold.system import new_system
from hub.scaffold.transports import TRANSPORTS

__all__ = ["FORMATS", "TRANSPORTS", "PluginAnswers", "new_plugin", "new_system"]
