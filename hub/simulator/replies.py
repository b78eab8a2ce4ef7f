"""The good reply and the refusals of one interface: as ``simulate`` says, or as the contract's own rules would read them."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from hub.api import Bound, Reply
from hub.codecs.base import Codec
from hub.codecs.registry import builtin_codecs
from hub.delivery.classify import Classifier
from hub.errors import HubError
from hub.i18n import t
from hub.mapping import Context
from hub.mapping.formats import kind_of_tree
from hub.mapping.nodes import Node
from hub.message import Outcome
from hub.simulator.solve import assign, give, hold, parsed, plain_paths
from hub.simulator.solve_xml import written
from hub.simulator.texts import Making, Writer

__all__ = ["Replies"]

_ABOUT_TOKENS = ("security.token", "http.auth")
_ABOUT_CALLER = ("security.", "http.auth")
_TRANSIENT, _PERMANENT, _NOT_AUTHORISED = 500, 400, 401


class Replies:
    """``problems``: codes whose refusal can't be derived, with the remedy. Raises :class:`HubError` where the good reply can't."""

    def __init__(self, bound: Bound, writer: Writer, expired: str = "", *, answered: bool = True) -> None:
        """``expired``: expression that says of a reply that the caller's token is no longer good; ``answered``: there are replies."""
        self._bound = bound
        contract = self._contract = bound.contract
        self._rule = rule = contract.simulate
        self._settings = bound.settings
        self._codec: Codec = bound.reply_codec or bound.codec
        self._judge = Classifier(bound, {codec.name: codec for codec in builtin_codecs()})
        kind = kind_of_tree(self._codec.name)
        self._plain, self._xml = kind == "json", kind == "xml"
        self._success = parsed(contract.success, self._codec.name)
        self._code = parsed(contract.reply.code, self._codec.name)
        self._message = parsed(contract.reply.message, self._codec.name)
        self.problems: list[HubError] = []
        self._own = {code: writer.making(given, f"refusals.{code}") for code, given in rule.refusals.items()}
        self._refusal = writer.making(rule.refusal, "refusal") if rule.refusal is not None else None
        self._answer: Making | None = writer.making(rule.answer, "answer") if rule.answer is not None else None
        self.status = rule.status or 200
        self._good = b"" if self._answer is not None or not answered else self._derived_good()
        self._derived: dict[str, bytes] = {}
        self._expired = self._code_of_expired(parsed(expired, self._codec.name)) if expired and self._plain else ""
        if answered and (self._plain or self._xml):
            for code in contract.errors:
                self._check(code)

    # -- the good reply ------------------------------------------------------------------------------------------

    def good(self, tree: Any, context: Context) -> bytes:
        """The body of the good reply. Raises :class:`HubError` when an expression of ``answer`` fails."""
        return self._good if self._answer is None else self._answer(tree, context)

    def _derived_good(self) -> bytes:
        contract = self._contract
        if not contract.success and not self._plain:
            body: bytes | None = b""
        elif not self._plain and not self._xml:
            body = None
        elif self._codec.name == "binary":
            body = b"simulated"
        else:
            tree: Any = hold({}, self._success, True, self._settings)
            if contract.callback is not None and contract.callback.of == "reply":
                tree = give(tree, parsed(contract.callback.key, self._codec.name), "simulated-1")
            body = self._encoded(tree)
        if (
            body is None
            or self._judge.judge(Reply(True, body, self.status, str(self.status))).outcome is not Outcome.OK
        ):
            raise HubError(
                t(
                    f"{self._bound.interface_id}: the good reply can't be derived from success: {contract.success}",
                    f"{self._bound.interface_id}：无法由 success 推出成功应答：{contract.success}",
                ),
                code="simulate.answer",
                remedy=t("write simulate: {answer: …}", "请写 simulate: {answer: …}"),
            )
        return body

    # -- refusals ------------------------------------------------------------------------------------------------

    @property
    def codes(self) -> list[str]:
        """Every business error that can be answered."""
        return list(dict.fromkeys([*self._contract.errors, *self._rule.refusals]))

    def code_of(self, why: str) -> str:
        """The party's code for a refusal the simulator found itself; ``why`` is the simulator's own."""
        for pattern, code in self._rule.codes.items():
            if fnmatchcase(why, pattern):
                return code
        return self._expired if self._expired and why.startswith(_ABOUT_TOKENS) else why

    def _code_of_expired(self, expired: Node | None) -> str:
        """What the contract reads as the code of a reply in which ``expired`` holds."""
        body = self._encoded(hold(hold({}, self._success, False, self._settings), expired, True, self._settings))
        return self._judge.judge(Reply(True, body or b"", 200, "200")).code

    def refused(self, code: str, message: str, tree: Any, context: Context) -> tuple[int, bytes]:
        """(HTTP status, body) of a refusal."""
        status = self._status(code)
        variables = {**context.variables, "code": code, "text": message}
        told = Context(context.settings, context.message, context.now_us, variables)
        making = self._own.get(code) or self._refusal
        if making is not None:
            return status, making(tree, told)
        return status, self._solved(code, message)

    def _status(self, code: str) -> int:
        statuses = self._rule.statuses
        if code in statuses or "*" in statuses:
            return statuses.get(code) or statuses["*"]
        if code.startswith(_ABOUT_CALLER):  # the contract has no code for it: so much HTTP says by itself
            return _NOT_AUTHORISED
        rule = self._contract.errors.get(code)
        if self._contract.success and (self._code is not None or rule is None):
            return 200  # the body says it
        if code.isascii() and code.isdecimal() and 400 <= int(code) <= 599:
            return int(code)
        return _TRANSIENT if rule is not None and rule.kind == "transient" else _PERMANENT

    def _check(self, code: str) -> None:
        """Whether the contract reads this refusal as what it is."""
        try:
            status, body = self.refused(code, "refused by the simulator", {}, Context())
        except HubError:
            return  # an expression needs the request: it is judged when it is used
        ok = 200 <= status < 300
        transient = status == _TRANSIENT
        verdict = self._judge.judge(Reply(ok, body, status, str(status), "refused", transient=transient))
        rule = self._contract.errors[code]
        wanted = {
            "delivered": (Outcome.OK,),
            "transient": (Outcome.TRANSIENT,),
            "permanent": (Outcome.REJECTED, Outcome.PERMANENT),
        }[rule.kind]
        if verdict.code != code or verdict.outcome not in wanted:
            self.problems.append(
                HubError(
                    t(
                        f"{self._bound.interface_id}.errors.{code}: the reply with this code can't be derived from reply.code",
                        f"{self._bound.interface_id}.errors.{code}：无法由 reply.code 推出含此返回码的应答",
                    ),
                    code="simulate.refusal",
                    remedy=t(
                        f"write simulate: {{refusals: {{{code}: …}}}}", f"请写 simulate: {{refusals: {{{code}: …}}}}"
                    ),
                )
            )

    def _solved(self, code: str, message: str) -> bytes:
        known = self._derived.get(code)
        if known is None:
            known = self._derived[code] = self._found(code, message)
            if len(self._derived) > 200:
                self._derived.clear()
        return known

    def _found(self, code: str, message: str) -> bytes:
        """The first candidate the contract reads as a refusal with this code; else the simplest."""
        if not self._plain and not self._xml:
            return b""
        candidates = list(self._candidates(code, message))
        status = self._status(code)
        for body in candidates:
            verdict = self._judge.judge(Reply(200 <= status < 300, body, status, str(status), "refused"))
            if verdict.code == code:
                return body
        if self._xml:
            return candidates[0] if candidates else f"<refused><code>{code}</code></refused>".encode()
        return candidates[0] if candidates else b"{}"

    def _candidates(self, code: str, message: str) -> Iterator[bytes]:
        start = hold({}, self._success, False, self._settings)
        if self._code is not None:
            yield from self._told(give(start, self._code, code), message)
            for path in plain_paths(self._code):
                yield from self._told(assign(start, path, code), message)
        yield from self._told(start if self._success is not None else {"code": code, "message": message}, message)

    def _told(self, tree: Any, message: str) -> Iterator[bytes]:
        body = self._encoded(give(tree, self._message, message))
        if body is not None:
            yield body

    def _encoded(self, tree: Any) -> bytes | None:
        if self._xml:
            return written(tree)
        try:
            return self._codec.encode(tree, encoding=self._contract.encoding)
        except HubError:
            return None
