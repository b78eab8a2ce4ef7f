"""Security schemes of an interface: weak algorithms, encryption nobody checks, calls that can be repeated."""

from __future__ import annotations

from typing import Any

from hub.api import Bound, Scheme
from hub.check_security.finding import Clause, Findings
from hub.i18n import t
from hub.validation import Origin

__all__ = ["look_at_protection"]

_WEAK = ("md5", "sha1")
#: Prescribed by their platforms: nothing can be chosen, but it should be known.
_PRESCRIBED = {
    "bosssoft": "MD5",
    "hunan_insurance": "HMAC-SHA1",
    "sinoiov": "HMAC-SHA1",
    "health_card": "SM4-ECB",
    "mobile_insurance": "SM4-ECB",
}
#: Neither time nor nonce: somebody who has one call can send it again.
_REPEATABLE = ("alipay", "bosssoft", "sinoiov", "tencent_health_card", "unionpay")
_LONGEST_WINDOW_S = 900.0
_PASSING = ("ecb", "cbc", "ctr")


def look_at_protection(bound: Bound, origin: Origin, findings: Findings) -> None:
    """What ``security`` of one interface leaves open."""
    protection = bound.protection
    if protection is None:
        return
    look = _Look(bound, origin, findings)
    encrypting: list[tuple[int, Scheme]] = []
    signing: list[int] = []
    for number, scheme in enumerate(protection.schemes):
        if scheme.name == "encryption":
            encrypting.append((number, scheme))
            look.encryption(number, scheme)
        else:
            signing.append(number)
        if scheme.name == "signature":
            look.signature(number, scheme)
        look.named(number, scheme)
    for number, scheme in encrypting:
        look.altered(number, scheme, signing)


class _Look:
    def __init__(self, bound: Bound, origin: Origin, findings: Findings) -> None:
        self._bound = bound
        self._inbound = bound.contract.direction == "in"
        self._origin = origin
        self._findings = findings

    def _add(self, rule: str, severity: Any, number: int, text: str, remedy: str, clause: str, *path: str) -> None:
        problem = self._origin.problem(text, ("security", number, *path), remedy=remedy)
        self._findings.add(rule, severity, problem, clause, self._bound.place)

    def signature(self, number: int, scheme: Scheme) -> None:
        options = chosen(scheme)
        if options is None:
            return
        if any(word in options.algorithm for word in _WEAK):
            self._add(
                "scheme.weak_algorithm",
                "medium",
                number,
                t(f"signs with {options.algorithm}", f"使用 {options.algorithm} 签名"),
                t(
                    "agree on sm2, hmac-sm3, rsa-sha256 or hmac-sha256",
                    "请与对方约定 sm2、hmac-sm3、rsa-sha256 或 hmac-sha256",
                ),
                Clause.ALGORITHM,
                "signature",
                "algorithm",
            )
        if not self._inbound:
            return
        if not any(value.now for value in options.values.values()):
            if not self._bound.contract.control_id:
                self._add(
                    "scheme.repeatable",
                    "medium",
                    number,
                    t(
                        "no time is signed: whoever has one call can send it again",
                        "未对时间签名：截获的调用可被重复发送",
                    ),
                    t("sign a timestamp and a nonce, or give control_id", "请对时间戳与随机数签名，或配置 control_id"),
                    Clause.INTEGRITY,
                    "signature",
                )
        elif options.window > _LONGEST_WINDOW_S:
            self._add(
                "scheme.long_window",
                "low",
                number,
                t(f"calls of the last {options.window:g} s are taken", f"接受 {options.window:g} 秒内签名的调用"),
                t("5 minutes are usual", "通常为 5 分钟"),
                Clause.INTEGRITY,
                "signature",
                "window",
            )
        if getattr(self._bound.options, "query_as_body", False) and not _signs_query(options):
            self._add(
                "scheme.query_not_signed",
                "high",
                number,
                t("the query is the message, and it is not signed", "查询参数即消息，却未被签名"),
                t(
                    "sign {target}, {query_sorted} or fields of the query",
                    "请对 {target}、{query_sorted} 或查询字段签名",
                ),
                Clause.INTEGRITY,
                "signature",
            )

    def encryption(self, number: int, scheme: Scheme) -> None:
        options = chosen(scheme)
        if options is None:
            return
        if options.algorithm.endswith("ecb"):
            self._add(
                "scheme.ecb",
                "medium",
                number,
                t("ecb shows which blocks are equal", "ecb 会暴露相同的分组"),
                t("agree on sm4-gcm", "请与对方约定 sm4-gcm"),
                Clause.ALGORITHM,
                "encryption",
                "algorithm",
            )
        if options.iv.const.get_secret_value():
            self._add(
                "scheme.constant_iv",
                "medium",
                number,
                t("the iv is always the same: equal beginnings are seen", "iv 固定不变：会暴露相同的开头"),
                t("leave iv out, so that each call has its own", "请删除 iv.const，使每次调用使用各自的 iv"),
                Clause.ALGORITHM,
                "encryption",
                "iv",
            )
        rules = [(options, "encryption", "medium"), (options.reply, "reply", "low")]
        for rule, name, severity in rules:
            if rule is not None and not rule.required:
                path = ("encryption",) if rule is options else ("encryption", "reply")
                self._add(
                    "scheme.plain_allowed",
                    severity,
                    number,
                    t(f"{name}: what comes in plain is taken as well", f"{name}：明文内容也会被接受"),
                    t("remove required: false once both sides encrypt", "双方均加密后请删除 required: false"),
                    Clause.CONFIDENTIALITY,
                    *path,
                    "required",
                )

    def altered(self, number: int, scheme: Scheme, signing: list[int]) -> None:
        """Encryption without authentication has to be signed, and the signature to be checked before anything is decrypted."""
        options = chosen(scheme)
        if options is None or not options.algorithm.endswith(_PASSING):
            return
        if not signing:
            text = t(
                f"{options.algorithm} alone does not notice that somebody changed the content",
                f"单用 {options.algorithm} 无法发现内容被篡改",
            )
            remedy = t("add a signature after it, or use sm4-gcm", "请在其后增加签名，或改用 sm4-gcm")
            self._add("scheme.not_authenticated", "high", number, text, remedy, Clause.INTEGRITY, "encryption")
        elif max(signing) < number:
            text = t(
                "what comes is decrypted before its signature is checked: answers may tell how a forged one fails",
                "先解密后验签：应答可能泄露伪造密文的失败方式",
            )
            remedy = t(
                "list the signature after the encryption where the partner allows", "对方允许时请将签名列在加密之后"
            )
            self._add("scheme.decrypted_first", "low", number, text, remedy, Clause.INTEGRITY, "encryption")

    def named(self, number: int, scheme: Scheme) -> None:
        weak = _PRESCRIBED.get(scheme.name)
        if weak:
            text = t(f"{scheme.name} prescribes {weak}", f"{scheme.name} 规定使用 {weak}")
            remedy = t("use it over TLS only, and from known addresses", "仅在 TLS 上、且仅对已知地址使用")
            self._add("scheme.prescribed_weak", "low", number, text, remedy, Clause.ALGORITHM)
        if self._inbound and scheme.name in _REPEATABLE and not self._bound.contract.control_id:
            text = t("the scheme has no nonce: a call can be sent again", "该方案无随机数：调用可被重复发送")
            remedy = t("give control_id, by which repetitions are recognised", "请配置 control_id 以识别重复")
            self._add("scheme.repeatable", "medium", number, text, remedy, Clause.INTEGRITY)


def chosen(scheme: Scheme) -> Any:
    """The options of a scheme; None for one of a plugin that keeps them elsewhere."""
    return getattr(scheme, "_options", None)


def _signs_query(options: Any) -> bool:
    fields = options.fields
    if fields is not None and "query" in fields.of:
        return True
    return any(name in ("query", "query_sorted", "target") or name.startswith("query.") for name in options.names())
