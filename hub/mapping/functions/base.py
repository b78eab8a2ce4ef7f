"""What a function of the expression language is, and how its arguments are checked when an expression is compiled."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from hub.i18n import t
from hub.mapping.nodes import CallNode, ExpressionError, LiteralNode
from hub.mapping.runtime import FunctionError, kind_of, plain_text

if TYPE_CHECKING:
    from hub.mapping.codegen import Generator
    from hub.mapping.paths import Code, Scope

__all__ = ["Function", "Registry", "check_arguments", "plugin_function", "text_of"]

F = TypeVar("F", bound=Callable[..., Any])
Emit = Callable[["Generator", CallNode, "Scope"], "Code"]


@dataclass(frozen=True, slots=True)
class Function:
    """``lists``: parameters that take everything a path reaches. ``check``: looks at literal arguments at compile time and
    raises :class:`FunctionError`. ``emit``: writes its own code. ``inline``: code for a single text. ``returns``: kind."""

    name: str
    call: Callable[..., Any]
    signature: inspect.Signature
    lists: frozenset[str] = frozenset()
    returns: str = "any"
    inline: str = ""
    check: Callable[[Mapping[str, Any]], None] | None = None
    emit: Emit | None = None

    @property
    def usage(self) -> str:
        """Name and parameters as a user sees them: ``round(value, digits=0, mode='half_up')``."""
        parameters = [
            parameter.replace(annotation=inspect.Parameter.empty) for parameter in self.signature.parameters.values()
        ]
        return f"{self.name}{inspect.Signature(parameters)}"

    @property
    def summary(self) -> str:
        """The first line of its documentation."""
        return (self.call.__doc__ or "").strip().partition("\n")[0]


@dataclass(slots=True)
class Registry:
    """Collects the functions of a module by decoration."""

    functions: dict[str, Function] = field(default_factory=dict)

    def add(
        self,
        name: str = "",
        *,
        lists: tuple[str, ...] = (),
        returns: str = "any",
        inline: str = "",
        check: Callable[[Mapping[str, Any]], None] | None = None,
        emit: Emit | None = None,
    ) -> Callable[[F], F]:
        def register(call: F) -> F:
            known = name or call.__name__
            self.functions[known] = Function(
                known, call, inspect.signature(call), frozenset(lists), returns, inline, check, emit
            )
            return call

        return register


def plugin_function(name: str, call: Callable[..., Any]) -> Function:
    """A function a plugin brings along; raises ``ValueError`` for a name that can't be written in an expression."""
    if not (name.isascii() and name.isidentifier() and not name.startswith("_")):
        raise ValueError(t(f"{name!r} can't be the name of a function", f"{name!r} 不能作函数名"))
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):
        # Some functions written in C tell nothing about their parameters; their own check at call time has to do.
        signature = inspect.Signature(
            [
                inspect.Parameter("values", inspect.Parameter.VAR_POSITIONAL),
                inspect.Parameter("options", inspect.Parameter.VAR_KEYWORD),
            ]
        )
    return Function(name, call, signature)


def check_arguments(function: Function, node: CallNode) -> list[str]:
    """The names of the parameters the positional arguments go to; raises :class:`ExpressionError`."""
    keywords = dict(node.keywords)
    try:
        bound = function.signature.bind(*node.arguments, **keywords)
    except TypeError as error:
        raise ExpressionError(
            t(f"{function.name}: {error}", f"{function.name}：参数有误（{error}）"),
            node.at,
            t(
                f"{function.usage}; what stands before | is the first argument",
                f"{function.usage}；| 之前的值是第一个参数",
            ),
        ) from None
    parameters: list[str] = []
    for parameter in function.signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            parameters += [parameter.name] * (len(node.arguments) - len(parameters))
        elif parameter.kind is not inspect.Parameter.VAR_KEYWORD and len(parameters) < len(node.arguments):
            parameters.append(parameter.name)
    if function.check is not None:
        literals = {name: value.value for name, value in bound.arguments.items() if isinstance(value, LiteralNode)}
        try:
            function.check(literals)
        except FunctionError as error:
            raise ExpressionError(f"{function.name}: {error.text}", node.at, error.remedy) from None
    return parameters


def text_of(value: Any, name: str) -> str:
    """The text a function works on: text, or a number as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or (not isinstance(value, int | float) and not hasattr(value, "adjusted")):
        raise FunctionError(
            t(f"{name} works on text, this is a {kind_of(value)}", f"{name} 处理文本，实为{kind_of(value)}"),
            remedy=t(
                "pick one value with [0] or first, or convert with string", "请用 [0] 或 first 取其一，或用 string 转换"
            ),
        )
    return plain_text(value)
