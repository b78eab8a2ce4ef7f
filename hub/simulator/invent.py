"""Settings of a system that talks to the simulator: invented from their types, with keys for both sides."""

from __future__ import annotations

import re
import secrets
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from hub.api import Adapter
from hub.contract import Setting
from hub.registry import LoadedPlugin
from hub.settings import referenced
from hub.simulator.counterpart import Counterpart
from hub.simulator.keys import KeyBook, random_text
from hub.simulator.sides import entry_of, key_kind

__all__ = ["folder_settings", "free_port", "invent", "key_settings", "of_adapters"]

_DIGITS = re.compile(r"(\d{1,3}) ?位")
_LEAST = re.compile(r"至少 ?(\d{1,3}) ?个字符")
_BYTES = re.compile(r"(\d{1,3}) ?(?:字节|bytes|个字符|characters)")
#: Types of optional settings without which an interface that uses them can't be called.
_NEEDED = frozenset(("url", "host", "port", "secret"))
_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_PAIRED = frozenset(("wechat_pay", "alipay", "unionpay", "mobile_insurance", "signature"))


def free_port(host: str) -> int:
    """A port nobody listens on just now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def invent(
    plugin: LoadedPlugin, given: Mapping[str, Any], keys: KeyBook, host: str, interfaces: Iterable[str]
) -> dict[str, Any]:
    """Every setting that is required, or used by one of the interfaces, with a value; ``given`` go before. Secrets are in plain.

    Addresses lead to ``host``: one free port for each setting of type url that a ``connect`` uses.
    """
    chosen = list(interfaces)
    raw = {name: entry for name, entry in plugin.document.data["interfaces"].items() if name in chosen}
    declared = plugin.contract.settings
    values = {name: value for name, value in given.items() if value is not None}
    used = {name for entry in raw.values() for name in _referenced(entry)}
    wanted = {
        name: setting
        for name, setting in declared.items()
        if setting.required or setting.default is not None or (name in used and setting.type in _NEEDED)
    }
    # An address under ``listen`` is that of a source the hub reads.
    called = {name for entry in raw.values() for part in ("connect", "listen") for name in _referenced(entry.get(part))}
    ports = {name for entry in raw.values() for name in _referenced(entry.get("listen"))}
    for name in folder_settings(raw) & (wanted.keys() - values.keys()):
        values[name] = f"{tempfile.gettempdir()}/simulated-{secrets.token_hex(8)}/{name}"
    for name, setting in wanted.items():
        if name not in values and setting.type not in ("secret", "list") and (setting.type != "url" or name in called):
            values[name] = _plain(name, setting, host, ports)
    for name, setting in wanted.items():
        if name not in values and setting.type == "url":
            values[name] = _told(raw, values, host, declared)
    _keys(raw, values, declared, keys)
    for name, setting in wanted.items():
        if name not in values and setting.type == "secret":
            found = _BYTES.search(setting.description)
            values[name] = random_text(int(found[1]) if found else 32)
    return {name: value for name, value in values.items() if value is not None}


def of_adapters(
    plugin: LoadedPlugin, adapters: Mapping[str, Adapter], host: str, interfaces: Iterable[str]
) -> dict[str, Any]:
    """The settings only the other ends of transports can give: which database, say."""
    together: dict[type[Counterpart], tuple[Counterpart, list[Mapping[str, Any]]]] = {}
    for name in interfaces:
        adapter = adapters.get(plugin.contract.interfaces[name].adapter)
        counterpart = adapter.counterpart() if adapter is not None else None
        if counterpart is not None:
            entries = together.setdefault(type(counterpart), (counterpart, []))[1]
            entries.append(plugin.document.data["interfaces"].get(name) or {})
    found: dict[str, Any] = {}
    for counterpart, entries in together.values():
        found |= counterpart.invented(entries, plugin.contract.settings, host)
    return found


def folder_settings(raw: Mapping[str, Any]) -> set[str]:
    """The settings that say which folder is shared with the other party; a simulator uses none that somebody else may use."""
    parts = [entry.get(part) or {} for entry in raw.values() for part in ("connect", "listen")]
    return {name for part in parts if (name := referenced(part.get("root")))}


def _plain(name: str, setting: Setting, host: str, ports: set[str]) -> Any:
    if setting.type == "url":
        path = urlsplit(str(setting.default)).path if setting.default else ""
        return f"http://{host}:{free_port(host)}{path}"
    if setting.type == "host":
        return host
    if setting.type == "port":
        return free_port(host)
    if setting.default is not None:
        return setting.default
    if setting.choices:
        return setting.choices[0]
    match setting.type:
        case "string":
            return _text(name, setting.description)
        case "integer" | "number":
            return 1
        case "boolean":
            return False
        case "duration":
            return 5.0
    return None


def _text(name: str, description: str) -> str:
    """A text that fits what the description says of its length."""
    if found := _DIGITS.search(description):
        return "".join(["1", *(secrets.choice("0123456789") for _ in range(int(found[1]) - 1))])
    if found := _LEAST.search(description) or _BYTES.search(description):
        return random_text(int(found[1]))
    text = ("sim" + re.sub(r"[^A-Za-z0-9]", "", name).lower())[:20]
    if name.endswith("path"):
        return f"/{text}"
    return f"{tempfile.gettempdir()}/{text}" if name.endswith(("folder", "dir")) else text


def _told(raw: Mapping[str, Any], values: Mapping[str, Any], host: str, declared: Mapping[str, Setting]) -> str:
    """An address told to the other party: that of the first ``in`` interface over HTTP."""
    for entry in raw.values():
        listen = entry.get("listen") or {}
        port = values.get(referenced(listen.get("port")), listen.get("port"))
        if entry.get("direction") == "in" and isinstance(port, int) and isinstance(listen.get("path"), str):
            path = _REFERENCE.sub(lambda found: str(values.get(found[1].strip(), "")), listen["path"])
            return f"http://{host}:{port}{path}"
    return f"http://{host}:9/"  # the port of discard: nothing of this plugin listens


def _keys(raw: Mapping[str, Any], values: dict[str, Any], declared: Mapping[str, Setting], keys: KeyBook) -> None:
    """Secrets that are keys of a scheme, of the kind and length it wants."""
    for name, whose, kind in key_settings(raw, values):
        if name not in declared or values.get(name) is not None:
            continue
        if whose == "theirs":
            values[name] = keys.new_pair(kind)[1]  # type: ignore[arg-type]  # a pair's kind
        elif whose == "ours":
            values[name] = KeyBook().new_pair(kind)[0]  # type: ignore[arg-type]
        else:
            size = int(kind.removeprefix("text"))
            values[name] = random_text(size) if kind.startswith("text") else secrets.token_hex(size)


def key_settings(raw: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(setting, whose, kind) of every setting that is a key of a scheme.

    Whose: ``ours`` a private key of the hub's side, ``theirs`` a public key of the other party, ``both`` a shared one, whose kind is
    then its length: ``text16`` characters, ``16`` bytes in hexadecimal.
    """
    for entry in raw.values():
        for one in entry.get("security") or []:
            scheme, options = entry_of(one)
            plain = _filled(options, values)
            for option, whose, kind in _places(scheme, options, plain):
                if name := referenced(option):
                    yield name, whose, kind


def _places(scheme: str, options: Mapping[str, Any], plain: Mapping[str, Any]) -> Iterator[tuple[Any, str, str]]:
    kind = key_kind(scheme, plain)
    pairs = [options.get("envelope") or {}] if scheme == "encryption" else []
    pairs += [options] if scheme in _PAIRED else []
    for pair in pairs:
        yield pair.get("private"), "ours", kind
        yield pair.get("public"), "theirs", kind
    for other in options.get("others") or []:
        yield other.get("key"), "theirs", kind
    if scheme == "wechat_pay":
        yield options.get("api_key"), "both", "text16" if kind == "sm2" else "text32"
    if scheme == "health_card":
        yield options.get("app_secret"), "both", "text16"
    if scheme == "encryption":
        yield options.get("key"), "both", "text16" if plain.get("key_form") in ("text", "sha1prng") else "16"
        text = (plain.get("iv") or {}).get("const_form") == "text"
        yield (options.get("iv") or {}).get("const"), "both", "text16" if text else "16"


def _filled(options: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(options, dict):
        return {key: _filled(value, values) for key, value in options.items()}
    name = referenced(options)
    return values.get(name) if name else options


def _referenced(tree: Any) -> Iterator[str]:
    """Names of the settings a part of a contract uses."""
    if isinstance(tree, dict):
        for value in tree.values():
            yield from _referenced(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _referenced(value)
    elif isinstance(tree, str):
        yield from (found.strip() for found in _REFERENCE.findall(tree))
