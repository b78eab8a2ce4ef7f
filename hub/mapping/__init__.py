"""The mapping language: expressions over source trees, and mappings from a source tree to a target tree."""

from __future__ import annotations

from hub.mapping.compiler import compile_expression, compile_extract
from hub.mapping.context import Context
from hub.mapping.library import MappingLibrary
from hub.mapping.mapping import CompiledMapping

__all__ = ["CompiledMapping", "Context", "MappingLibrary", "compile_expression", "compile_extract"]
