"""Entries of the simulated gateway: a report or a message in the hub's words as what a gateway brings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import orjson

from adapters.cmpp.gateway_pdu import pack_deliver, report_content
from adapters.cmpp.pdu import Deliver, Report
from adapters.cmpp.texts import TextError, pieces_of
from hub.api import HubError
from hub.i18n import t

__all__ = ["STAMP", "VERSION", "delivers_of"]

VERSION = 0x30
#: How reports write times.
STAMP = "%y%m%d%H%M"
_CODINGS: Mapping[int, Any] = {0: "ascii", 8: "ucs2", 15: "gbk"}


def delivers_of(body: bytes, new_id: Callable[[], int]) -> list[Deliver]:
    """The DELIVERs of a report or message written as the hub would make of it; a long text has several. Raises :class:`HubError`."""
    try:
        tree = orjson.loads(body)
        kind, msg_id = tree["kind"], int(tree.get("msg_id") or new_id())
        phone, dest, service = str(tree["phone"]), str(tree.get("dest_id", "")), str(tree.get("service_id", ""))
        if kind == "report":
            now = datetime.now().strftime(STAMP)
            report = Report(
                msg_id, str(tree["stat"]), str(tree.get("submitted", now)), str(tree.get("done", now)), phone, 1
            )
            content = report_content(report, VERSION)
            return [Deliver(new_id(), dest, service, 0, 0, 0, phone, True, content)]
        if kind != "message":
            raise ValueError(kind)
        link = str(tree.get("link_id", ""))
        coding = int(tree.get("msg_fmt", 8))
        if "data" in tree:
            found = [Deliver(msg_id, dest, service, 0, 0, coding, phone, False, bytes.fromhex(tree["data"]), link)]
        else:
            reference = msg_id & 0xFF
            _, pieces, long = pieces_of(
                tree["text"], _CODINGS[coding], reference=reference, wide_reference=False, most=255
            )
            found = [
                Deliver(msg_id + n, dest, service, 0, int(long), coding, phone, False, piece, link)
                for n, piece in enumerate(pieces)
            ]
        for one in found:
            pack_deliver(1, one, VERSION)  # whether everything fits
        return found
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, OverflowError, TextError):
        raise HubError(
            t("this is neither a report nor a message", "既不是状态报告也不是上行短信"),
            code="simulate.offer",
            remedy=t(
                'e.g. {"kind": "message", "phone": "13900000000", "dest_id": "1069", "text": "…"}',
                '例如 {"kind": "message", "phone": "13900000000", "dest_id": "1069", "text": "…"}',
            ),
        ) from None
