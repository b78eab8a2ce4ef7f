"""CAS protocol 2.0 and 3.0: a ticket is validated at ``serviceValidate``, the answer is XML (CAS Protocol Specification 3.0.3, 2.5 and 2.8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from lxml import etree

from hub.i18n import t
from hub.people.ask_portal import ask, not_believed
from hub.people.config import CasConfig

__all__ = ["CasFlow", "read_answer"]

_NAMESPACE = "{http://www.yale.edu/tp/cas}"
_LONGEST_TICKET = 256


class CasFlow:
    """One login; see :class:`hub.people.portal.Flow`."""

    def __init__(self, config: CasConfig) -> None:
        self._config = config
        self._url = config.url.rstrip("/")

    async def location(self, back: str, state: str) -> tuple[str, dict[str, str]]:
        service = f"{back}?{urlencode({'state': state})}"
        return f"{self._url}/login?{urlencode({'service': service})}", {"service": service}

    async def claims(self, back: str, kept: Mapping[str, str], query: Mapping[str, str]) -> dict[str, Any]:
        ticket = query.get("ticket", "")
        if not ticket.startswith("ST-") or len(ticket) > _LONGEST_TICKET:
            raise not_believed(t("no ticket", "没有票据"))
        path = "/p3/serviceValidate" if self._config.version == 3 else "/serviceValidate"
        return read_answer(await ask(self._url + path, query={"service": kept["service"], "ticket": ticket}))


def read_answer(body: bytes) -> dict[str, Any]:
    """``user`` and the attributes; of those given several times a list. Raises :class:`LoginRefused` for a refusal and for what is no answer."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise not_believed(t("not XML", "不是 XML")) from error
    if root.getroottree().docinfo.internalDTD is not None or root.tag != f"{_NAMESPACE}serviceResponse":
        raise not_believed(t("not a service response", "不是票据验证应答"))
    success = root.find(f"{_NAMESPACE}authenticationSuccess")
    if success is None:
        raise not_believed(t("the ticket is not valid", "票据无效"))
    user = success.findtext(f"{_NAMESPACE}user", "").strip()
    if not user:
        raise not_believed("user")
    found: dict[str, Any] = {}
    attributes = success.find(f"{_NAMESPACE}attributes")
    for element in attributes if attributes is not None else ():
        if not isinstance(element.tag, str):  # a comment
            continue
        name, text = etree.QName(element).localname, (element.text or "").strip()
        known = found.get(name)
        found[name] = text if known is None else [*(known if isinstance(known, list) else [known]), text]
    return {**found, "user": user}
