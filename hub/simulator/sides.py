"""The other side of a security scheme: from the options of a contract to those of whom it talks to.

A scheme of a plugin says so itself: ``other_side(options, keys)``, a static method that gives the options of the other party.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hub.codecs.json_codec import JsonCodec
from hub.errors import CodecError, HubError
from hub.i18n import t
from hub.security import Opening, Protection, Refused, Scheme, Wire
from hub.security.load import scheme_class
from hub.security.places import form_pairs, json_object, json_text
from hub.security.replay import ReplayGuard
from hub.security.schemes.cloud import TencentTc3
from hub.security.schemes.form import AsForm, AsFormOptions
from hub.security.schemes.freight import Sinoiov
from hub.security.schemes.payments import Alipay
from hub.simulator.keys import KeyBook, KeyKind, public_of, random_text
from hub.simulator.tickets import Tickets

__all__ = ["OTHER_INTERFACE", "entry_of", "forged_options", "key_kind", "other_side", "partner"]

Options = dict[str, Any]
#: Why a call is refused by an interface it is not meant for.
OTHER_INTERFACE = "simulate.other_interface"
#: Schemes whose both sides have the same options.
_ALIKE = frozenset(
    (
        "aliyun_acs3",
        "bosssoft",
        "health_card",
        "hunan_insurance",
        "logink",
        "sinoiov",
        "tencent_health_card",
        "tencent_tc3",
        "x_tif",
    )
)
#: Options that hold what only the one who signs or encrypts has.
_SECRETS = frozenset(("private", "secret", "key", "token", "app_secret", "api_key"))


def entry_of(entry: Any) -> tuple[str, Options]:
    """Name and options of an entry of ``security``."""
    if isinstance(entry, str):
        return entry, {}
    ((name, options),) = entry.items()
    return str(name), dict(options or {})


def key_kind(name: str, options: Mapping[str, Any]) -> KeyKind:
    """Of the key pairs of a scheme."""
    if name == "mobile_insurance":
        return "sm2"
    if name == "encryption":
        return "rsa" if (options.get("envelope") or {}).get("by") == "rsa" else "sm2"
    word = str(options.get("algorithm") or options.get("sign_type") or "rsa").lower()
    return "sm2" if word.startswith("sm2") else "rsa"


def partner(
    entries: Sequence[Any],
    keys: KeyBook,
    tickets: Tickets,
    added: Mapping[str, type[Scheme]],
    *,
    inbound: bool = False,
    forged: bool = False,
) -> Protection | None:
    """What the other party protects with; ``inbound``: of an ``in`` interface. Raises :class:`HubError` saying why it can't be made.

    ``forged``: with keys nobody agreed on, to see whether the hub refuses what they sign.
    """
    made = [_made(entry, keys, tickets, added, inbound, forged) for entry in entries]
    return Protection(made) if made else None


def _made(
    entry: Any, keys: KeyBook, tickets: Tickets, added: Mapping[str, type[Scheme]], inbound: bool, forged: bool
) -> Scheme:
    name, options = entry_of(entry)
    if name == "token":
        return tickets.inbound(options) if inbound else tickets.scheme(options)
    if name == "login":
        return tickets.login(options)
    if name == "as_form":
        return _AnyForm(AsFormOptions(place=options.get("place", "body")))
    theirs = other_side(name, options, keys, added)
    if forged:
        theirs = forged_options(theirs, key_kind(name, options))
    kind = _PLATFORMS.get(name) or scheme_class(name, added)
    if kind is None:
        raise HubError(t(f"unknown security scheme {name!r}", f"未知的安全方案 {name!r}"), code="simulate.scheme")
    return kind(kind.options.model_validate(theirs))


def other_side(name: str, options: Options, keys: KeyBook, added: Mapping[str, type[Scheme]]) -> Options:
    """The options of the other party. Raises :class:`HubError`."""
    kind = key_kind(name, options)
    if name in _ALIKE:
        return options
    if name == "wechat_pay":
        other = options["others"][0]
        return {
            **options,
            "serial": other["serial"],
            "private": keys.private_of(kind, other["key"]),
            "others": [{"serial": options["serial"], "key": public_of(kind, options["private"])}],
            "role": "platform" if options.get("role", "merchant") == "merchant" else "merchant",
        }
    if name == "alipay":
        return {**_swapped(options, kind, keys), "role": "platform"}
    if name in ("unionpay", "mobile_insurance"):
        return _swapped(options, kind, keys)
    if name == "signature":
        if options.get("keys") == "caller":
            raise _callers()
        asymmetric = str(options.get("algorithm", "")).partition("-")[0] in ("sm2", "rsa")
        return _swapped(options, kind, keys) if asymmetric else options
    if name == "encryption":
        envelope = options.get("envelope")
        return options if envelope is None else {**options, "envelope": _swapped(dict(envelope), kind, keys)}
    scheme = added.get(name)
    own: Callable[[Options, KeyBook], Options] | None = getattr(scheme, "other_side", None)
    if own is None:
        raise HubError(
            t(
                f"what the other side of the security scheme {name!r} does is not known",
                f"未知安全方案 {name!r} 的对方如何处理",
            ),
            code="simulate.scheme",
            remedy=t(
                "let the scheme have other_side: docs/simulator.md", "请为该方案实现 other_side：docs/simulator.md"
            ),
        )
    return own(options, keys)


def _swapped(options: Options, kind: KeyKind, keys: KeyBook) -> Options:
    """Our public key where theirs was, and their private one where ours was."""
    ours, theirs = options.get("private"), options.get("public")
    swapped = {key: value for key, value in options.items() if key not in ("private", "public", "password")}
    if ours:
        swapped["public"] = public_of(kind, ours, options.get("password") or "")
    if theirs:
        swapped["private"] = keys.private_of(kind, theirs)
    return swapped


def forged_options(options: Options, kind: KeyKind) -> Options:
    """The same with other keys of the same kind and length."""
    forged: Options = {}
    for name, value in options.items():
        if isinstance(value, dict):
            forged[name] = forged_options(value, kind)
        elif name not in _SECRETS or not isinstance(value, str) or not value:
            forged[name] = value
        elif name == "private":
            forged[name] = KeyBook().new_pair(kind)[0]
        elif all(char in "0123456789abcdefABCDEF" for char in value) and len(value) % 2 == 0:
            forged[name] = secrets.token_hex(len(value) // 2)
        else:
            forged[name] = random_text(len(value))
    return forged


class _AlipayPlatform(Alipay):
    """Takes one operation only, and hands on what the merchant wrote: ``biz_content``."""

    def open_request(self, wire: Wire, opening: Opening) -> None:
        method = dict(form_pairs(wire.body.decode("utf-8", "replace"))).get("method", "")
        if self._own.method and method != self._own.method:
            raise Refused(
                t("this is another operation of the gateway", "这是网关的另一操作"), code=OTHER_INTERFACE, status=400
            )
        super().open_request(wire, opening)
        wire.body = json_text(json_object(wire.body).get("biz_content"))


class _AnyForm(AsForm):
    """A form comes in as an object; texts that are JSON objects or lists are read as such."""

    def open_request(self, wire: Wire, opening: Opening) -> None:
        super().open_request(wire, opening)
        codec = JsonCodec()
        tree = json_object(wire.body)
        for name, text in tree.items():
            if isinstance(text, str) and text[:1] in "{[" and text:
                try:
                    tree[name] = codec.decode(text.encode())
                except CodecError:
                    continue
        wire.body = json_text(tree)


class _SinoiovPlatform(Sinoiov):
    """Hands on the object the form was made of."""

    def open_request(self, wire: Wire, opening: Opening) -> None:
        super().open_request(wire, opening)
        wire.body = json_text({name: value for name, value in form_pairs(wire.body.decode()) if name != "cid"})
        wire.headers["content-type"] = "application/json"


class _Timed(Opening):
    """A call has a time and no nonce: the platform takes two alike within a second, as a client that tries again makes them."""

    def once(self, guard: ReplayGuard, signed_at: float, nonce: str) -> None:
        guard.check_time(signed_at)


class _TencentPlatform(TencentTc3):
    def open_request(self, wire: Wire, opening: Opening) -> None:
        super().open_request(wire, _Timed(opening.notes, opening.undo, opening.live))


#: Schemes whose opened call is not yet what the contract's mapping made, or that the platform checks less strictly than the hub.
_PLATFORMS: dict[str, type[Scheme]] = {
    "alipay": _AlipayPlatform,
    "sinoiov": _SinoiovPlatform,
    "tencent_tc3": _TencentPlatform,
}


def _callers() -> HubError:
    return HubError(
        t(
            "calls are signed with the key of a registered caller, which only the hub can issue",
            "调用须以已登记调用方的密钥签名，该密钥由枢纽签发",
        ),
        code="simulate.caller",
        remedy=t("issue one with hub callers and call with it", "请用 hub callers 签发后自行调用"),
    )
