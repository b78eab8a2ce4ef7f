"""Where and how an interface is called: address, method, headers, who may call, and how the caller proves who it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel

from hub.contract import Interface
from hub.errors import HubError
from hub.handbook.authentication import inbound, outbound
from hub.handbook.blocks import Code, Inline, code, joined, say
from hub.handbook.security_words import Options
from hub.handbook.subject import Subject
from hub.handbook.words import label, references, size
from hub.i18n import t
from hub.registry import Registry

__all__ = ["Transport", "over_http"]

Fact = tuple[str, Inline]
_SECRET = re.compile(r"secret|passw|token|credential|private|authorization|cookie|(^|[._-])key$|api_key", re.IGNORECASE)
_MOST_OPTIONS = 60


def over_http(registry: Registry, interface: Interface) -> Literal["", "server", "client"]:
    """Whether the adapter serves or calls over HTTP: such adapters have an address and headers."""
    model = options_model(registry, interface)
    if model is None:
        return ""
    if getattr(model, "server", "") == "http":
        return "server"
    return "client" if {"url", "headers"} <= set(model.model_fields) else ""


def options_model(registry: Registry, interface: Interface) -> type[BaseModel] | None:
    adapter = registry.adapters.get(interface.adapter)
    if adapter is None:
        return None
    try:
        return adapter.listen_options if interface.direction == "in" else adapter.connect_options
    except HubError:  # a library it needs is not installed
        return None


class Transport:
    """The facts of one interface, in the language of the page."""

    def __init__(self, subject: Subject, interface: Interface, registry: Registry) -> None:
        self._subject = subject
        self._interface = interface
        self._given = interface.listen if interface.direction == "in" else interface.connect
        self._options = Options(subject, self._given, options_model(registry, interface))
        self._http = over_http(registry, interface)
        adapter = registry.adapters.get(interface.adapter)
        self._reads = interface.direction == "in" and adapter is not None and adapter.reads_source

    @property
    def sends(self) -> bool:
        """Whether the hub makes the call: also where it reads a source."""
        return self._interface.direction == "out" or self._http == "client" or self._reads

    @property
    def http(self) -> Literal["", "server", "client"]:
        return self._http

    def facts(self) -> list[Fact]:
        if self._http == "server":
            return [*self._served(), *self._served_limits()]
        if self._http == "client":
            return [*self._called(), *self._schedule()]
        if self._interface.adapter == "mllp":
            return self._mllp()
        return list(self._plain())

    def address(self) -> str:
        """Of a call over HTTP, with settings as ``{name}``."""
        options = self._options
        if self._http == "server":
            scheme = "https" if options.below("tls") else "http"
            host, port = _text(options, "host"), _text(options, "port")
            return f"{scheme}://{host}:{port}{_text(options, 'path')}"
        return _text(options, "url").rstrip("/") + _text(options, "path")

    def option(self, name: str) -> str:
        """An option that is no secret, settings as ``{name}``; "" where it is not given."""
        return "" if _SECRET.search(name) or name not in self._given else _text(self._options, name)

    def methods(self) -> list[str]:
        options = self._options
        if self._http == "client":
            return [options.text("method") or "POST"]
        found = options.raw("methods")
        return [str(one) for one in found] if isinstance(found, list) and found else ["POST"]

    def authentication(self) -> list[Inline]:
        """How the caller proves who it is, step by step; empty where there is nothing of the kind."""
        auth = self._options.below("auth")
        kind = str(auth.get("type", ""))
        if not kind:
            return []
        part = Options(self._subject, auth, None)
        return outbound(part, kind, self._moved()) if self._http == "client" else inbound(part, kind)

    def _moved(self) -> bool:
        """Whether the scheme ``token`` puts the token elsewhere than into a header."""
        return any(
            entry == "token" or (isinstance(entry, Mapping) and "token" in entry) for entry in self._interface.security
        )

    # -- over HTTP -----------------------------------------------------------------------------------------------

    def _served(self) -> Iterator[Fact]:
        options, interface = self._options, self._interface
        yield t("Address", "地址"), code(self.address())
        yield t("Method", "方法"), joined([code(one) for one in self.methods()])
        types = options.raw("content_types")
        if types:
            yield t("Content type", "内容类型"), joined([code(str(one)) for one in types])
        if interface.adapter == "http":
            yield t("Answer", "应答"), self._answer()
        if options.below("tls"):
            asks = bool(options.below("tls").get("client_ca"))
            yield (
                "TLS",
                (
                    t("yes, and callers show a client certificate", "是，且须出示客户端证书（双向 TLS）")
                    if asks
                    else t("yes", "是"),
                ),
            )
        yield t("Who may call", "允许的来源"), self._allowed()

    def _answer(self) -> Inline:
        if self._interface.style == "request":
            return (t("the answer to the request, once the target has replied", "业务应答：目标系统答复后返回"),)
        replies = self._options.below("replies")
        own = replies.get("accepted") if isinstance(replies.get("accepted"), Mapping) else None
        status = str((own or {}).get("status") or (200 if own else self._options.raw("accepted_status") or 202))
        return say(
            t("HTTP {status} once the message is stored durably", "消息持久化存储后返回 HTTP {status}"),
            status=Code(status),
        )

    def _served_limits(self) -> Iterator[Fact]:
        interface, options = self._interface, self._options
        limit = interface.max_size or options.raw("max_size")
        if isinstance(limit, int):
            yield t("Largest message", "报文上限"), (size(limit),)
        rate = options.below("rate")
        if rate:
            told = ", ".join(
                f"{name}: {rate[name]}" for name in sorted(rate) if isinstance(rate[name], str | int | float)
            )
            yield t("Rate limit", "频率限制"), references(told)
        if isinstance(options.raw("concurrency"), int) and options.raw("concurrency"):
            yield t("Calls at once", "并发上限"), (str(options.raw("concurrency")),)

    def _allowed(self) -> Inline:
        allowed = self._options.raw("allow")
        if isinstance(allowed, list) and allowed:
            return joined([references(str(one)) for one in allowed])
        if isinstance(allowed, str) and allowed:
            return say(t("addresses in the setting {name}", "由设置 {name} 指定的地址或网段"), name=references(allowed))
        return (t("this machine only, unless the operator allows others", "默认仅本机，由运维方放行其他地址"),)

    def _called(self) -> list[Fact]:
        options = self._options
        facts: list[Fact] = [
            (t("Address", "地址"), code(self.address())),
            (t("Method", "方法"), joined([code(one) for one in self.methods()])),
        ]
        for name, words in (("query", t("Query", "查询参数")), ("headers", t("Headers", "请求头"))):
            given = options.below(name)
            shown = [
                say("{name}: {value}", name=code(str(key)), value=self._value(str(key), value))
                for key, value in given.items()
            ]
            if shown:
                facts.append((words, joined(shown, "; ")))
        content = options.text("content_type")
        if content:
            facts.append((t("Content type", "内容类型"), code(content)))
        header = options.text("idempotency_header") if self._interface.direction == "out" else ""
        if header:
            facts.append(
                (
                    t("Repetitions", "重复识别"),
                    say(
                        t(
                            "the header {name} has the same value at every attempt for one message",
                            "同一消息的每次重发在请求头 {name} 中携带相同的值",
                        ),
                        name=Code(header),
                    ),
                )
            )
        tls = options.below("tls")
        if tls.get("certificate"):
            facts.append(("TLS", (t("the hub shows a client certificate", "枢纽出示客户端证书（双向 TLS）"),)))
        return facts

    def _schedule(self) -> Iterator[Fact]:
        """When a source is read."""
        schedule = self._options.below("schedule")
        for name, words in (
            ("every", t("Read every", "读取频率")),
            ("between", t("Only between", "读取时段")),
            ("cron", "cron"),
        ):
            value = schedule.get(name)
            if value:
                yield words, references(", ".join(map(str, value)) if isinstance(value, list) else str(value))

    # -- other transports ----------------------------------------------------------------------------------------

    def _mllp(self) -> list[Fact]:
        options = self._options
        host, port = _text(options, "host"), _text(options, "port")
        frame = say(
            t("{start} message {end}, one message in each frame", "{start} 消息 {end}，每帧一条消息"),
            start=Code("0x0B"),
            end=Code("0x1C 0x0D"),
        )
        facts: list[Fact] = [(t("Address", "地址"), code(f"{host}:{port} (TCP)")), (t("Framing", "分帧"), frame)]
        if self._interface.direction == "in":
            kind = options.text("ack") or "auto"
            told = {
                "auto": t(
                    "as MSH-15 and MSH-16 ask; without them AA, AE or AR",
                    "按 MSH-15、MSH-16 的要求；未填写时为 AA、AE 或 AR",
                ),
                "original": t("AA, AE or AR", "AA、AE 或 AR"),
                "enhanced": t("CA, CE or CR", "CA、CE 或 CR"),
                "none": t("none", "不应答"),
            }.get(kind, kind)
            facts.append((t("Acknowledgement", "应答"), (told,)))
            facts.append((t("Who may connect", "允许的来源"), self._allowed()))
        else:
            facts.append(
                (
                    t("Connections", "连接"),
                    (t("kept open, one message under way in each", "长连接，每个连接同时只有一条消息在途"),),
                )
            )
        if self._interface.max_size:
            facts.append((t("Largest message", "报文上限"), (size(self._interface.max_size),)))
        if options.below("tls"):
            facts.append(("TLS", (t("yes", "是"),)))
        return facts

    def _plain(self) -> Iterator[Fact]:
        """Any other adapter: its options as written."""
        for number, (name, value) in enumerate(_flat(self._given)):
            if number >= _MOST_OPTIONS:
                break
            words = _WORDS.get(name)
            yield (t(*words) if words else name), self._value(name, value)

    def _value(self, name: str, value: Any) -> Inline:
        if self._subject.is_secret(value):
            return (
                tuple(label(self._subject.settings, value[2:-1]))
                if re.fullmatch(r"\$\{\w+\}", str(value))
                else _hidden()
            )
        if _SECRET.search(name) and not re.fullmatch(r"\$\{\w+\}", str(value)):
            return _hidden()
        if isinstance(value, bool):
            return (t("yes", "是") if value else t("no", "否"),)
        return references(str(value))


_WORDS = {
    "host": ("Host", "主机"),
    "port": ("Port", "端口"),
    "path": ("Path", "路径"),
    "url": ("Address", "地址"),
    "folder": ("Folder", "目录"),
    "root": ("Root folder", "根目录"),
    "queue": ("Queue", "队列"),
    "topic": ("Topic", "主题"),
    "exchange": ("Exchange", "交换机"),
    "user": ("User", "用户"),
    "ae_title": ("AE title", "AE 标题"),
    "allow": ("Who may connect", "允许的来源"),
}


def _hidden() -> Inline:
    return (t("(not shown)", "（不公开）"),)


def _text(options: Options, name: str) -> str:
    """As it stands in an address; a setting as ``{name}``."""
    found = references(options.text(name))
    return found[0].text if found and isinstance(found[0], Code) else ""


def _flat(given: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in given.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{name}.")
        elif isinstance(value, list):
            if any(isinstance(item, Mapping) for item in value):
                for number, item in enumerate(value, 1):
                    if isinstance(item, Mapping):
                        yield from _flat(item, f"{name}[{number}].")
            else:
                yield name, ", ".join(str(item) for item in value)
        elif value not in (None, "", {}):
            yield name, value
