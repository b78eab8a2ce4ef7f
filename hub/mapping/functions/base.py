"""What a function of the expression language is, and how its arguments are checked when an expression is compiled."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from hub.i18n import t
from hub.mapping.nodes import CallNode, ExpressionError, LiteralNode
from hub.mapping.paths import Code
from hub.mapping.runtime import FunctionError, kind_of, plain_text

if TYPE_CHECKING:
    from hub.mapping.codegen import Generator
    from hub.mapping.paths import Scope

__all__ = [
    "POLICIES",
    "Function",
    "Registry",
    "check_arguments",
    "lenient",
    "or_absent",
    "plugin_function",
    "text_of",
]

F = TypeVar("F", bound=Callable[..., Any])
Emit = Callable[["Generator", CallNode, "Scope"], Code]


#: What ``invalid=`` may say.
POLICIES = ("error", "null", "keep")
_INVALID = inspect.Parameter("invalid", inspect.Parameter.KEYWORD_ONLY, default="error")


@dataclass(frozen=True, slots=True)
class Function:
    """``lists``: parameters that take everything a path reaches. ``check``: looks at literal arguments at compile time and
    raises :class:`FunctionError`. ``emit``: writes its own code, ``emit_list`` in the place of a list. ``inline``: code for a single text. ``returns``: kind.
    ``memo``: in loops it is worth while to keep what it gave for the same texts. ``converts``: takes ``invalid=``, which says what becomes of a value it can't work on; its ``call`` does not know of it."""

    name: str
    call: Callable[..., Any]
    signature: inspect.Signature
    lists: frozenset[str] = frozenset()
    returns: str = "any"
    inline: str = ""
    check: Callable[[Mapping[str, Any]], None] | None = None
    emit: Emit | None = None
    converts: bool = False
    emit_list: Emit | None = None
    memo: bool = False

    @property
    def usage(self) -> str:
        """Name and parameters as a user sees them: ``round(value, digits=0, mode='half_up')``; without ``invalid=``."""
        parameters = [
            parameter.replace(annotation=inspect.Parameter.empty)
            for parameter in self.signature.parameters.values()
            if parameter is not _INVALID
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
        converts: bool = False,
        emit_list: Emit | None = None,
        memo: bool = False,
    ) -> Callable[[F], F]:
        def register(call: F) -> F:
            known = name or call.__name__
            signature = inspect.signature(call)
            if converts:
                signature = signature.replace(parameters=[*signature.parameters.values(), _INVALID])
            self.functions[known] = Function(
                known, call, signature, frozenset(lists), returns, inline, check, emit, converts, emit_list, memo
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


def lenient(function: Function, node: CallNode) -> tuple[Callable[..., Any], str, CallNode]:
    """(what a call calls, a name for it, the call without ``invalid=``); raises :class:`ExpressionError`."""
    given = dict(node.keywords).get("invalid")
    if not function.converts or given is None:
        return function.call, f"f_{function.name}", node
    policy = given.value if isinstance(given, LiteralNode) else None
    if policy not in POLICIES:
        raise ExpressionError(
            t(
                f"{function.name}: invalid= is one of {', '.join(POLICIES)}",
                f"{function.name}：invalid= 须为 {'、'.join(POLICIES)} 之一",
            ),
            given.at,
            t("another value: | default(…) behind invalid='null'", "其他取值请在 invalid='null' 之后写 | default(…)"),
        )
    keywords = tuple(pair for pair in node.keywords if pair[0] != "invalid")
    plain = CallNode(node.at, node.name, node.arguments, keywords, node.piped)
    if policy == "error":
        return function.call, f"f_{function.name}", plain
    call, keep = function.call, policy == "keep"

    def convert(value: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return call(value, *arguments, **options)
        except FunctionError:
            return value if keep else None

    return convert, f"f_{function.name}_{policy}", plain


def or_absent(g: Generator, code: Code) -> Code:
    """A text that was put together; "" is no value on purpose, in a plain tree neither."""
    return code if g.source.empty_is_absent else Code(f"({code.text} or None)", "any", code.risky)


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
