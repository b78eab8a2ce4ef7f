"""Answers of the facade."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from functools import lru_cache
from typing import Any

import orjson
from aiohttp import web

from adapters.fhir.bundles import message_response, search_page, transaction_response
from adapters.fhir.exchange import Exchange
from adapters.fhir.options import FhirListen
from adapters.fhir.outcome import issue, issues_of, outcome, refused, status_of
from adapters.http.problem import MOST_FINDINGS, SERVER, Refusal, problem_of, retry_headers, target_code, wants
from hub.api import Codec, CodecError, HubError, Receipt
from hub.i18n import t
from hub.ids import id_text, millis_of
from hub.masking import mask_text

__all__ = ["Answers"]

_VERSION = re.compile(r"[A-Za-z0-9.-]{1,64}", re.ASCII)


class Answers:
    """The answers of one interface. ``codec``: of the messages, and of the replies of targets."""

    def __init__(self, codec: Codec, options: FhirListen) -> None:
        self._codec = codec
        self._options = options

    def plain(self, tree: Mapping[str, str]) -> bytes:
        return orjson.dumps(tree)

    def told(
        self, exchange: Exchange, status: int, tree: Any, headers: Mapping[str, str] | None = None
    ) -> web.Response:
        """``tree`` in the form the caller wants; where it can't be written so, an OperationOutcome that says it."""
        try:
            body = exchange.form.write(tree)
        except CodecError as error:
            status = 500
            body = exchange.form.write(refused(500, t("the answer can't be written", "应答无法写出"), error.code))
        return web.Response(
            status=status, body=body, headers={"Content-Type": exchange.form.content_type, **(headers or {}), **SERVER}
        )

    def refusal(self, exchange: Exchange, refusal: Refusal) -> web.Response:
        chosen = wants(exchange.header("Accept-Language"))
        pick = 1 if chosen == "zh" else 0
        tree = refused(refusal.status, refusal.detail[pick], refusal.code, refusal.remedy[pick])
        return self.told(exchange, refusal.status, tree, {**refusal.headers, "Content-Language": chosen})

    def failure(
        self,
        exchange: Exchange,
        error: HubError | None,
        findings: Sequence[Mapping[str, str]] = (),
        reply: bytes | None = None,
    ) -> web.Response:
        """A message that was not accepted, or whose exchange failed; ``reply``: what its contract makes of the target's refusal."""
        status, code = problem_of(error)
        if reply is not None:
            try:
                return self.told(exchange, status, self._codec.decode(reply), retry_headers(status, code))
            except CodecError as unreadable:
                return self._bad_reply(exchange, unreadable)
        target = target_code(error)
        code = f"{code} ({target})" if target else code
        text = mask_text(error.text) if error is not None else t("the message was refused", "消息被拒绝")
        issues = issues_of(self._codec, findings[:MOST_FINDINGS])
        tree = outcome(issues) if issues else refused(status, text, code, error.remedy if error is not None else "")
        return self.told(exchange, status, tree, retry_headers(status, error.code if error is not None else ""))

    def of(self, exchange: Exchange, receipt: Receipt, message: bytes) -> web.Response:
        """The answer to whatever is no search."""
        if not receipt.accepted:
            return self.failure(exchange, receipt.error, receipt.findings, receipt.reply)
        if receipt.reply is not None:
            return self._replied(exchange, receipt, receipt.reply)
        if exchange.call.interaction in ("bundle", "message"):
            kind = exchange.tree["type"]
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            if kind in ("transaction", "batch"):
                tree = transaction_response(exchange.tree, receipt.message_id, _instant(receipt.message_id))
                return self.told(exchange, 200, tree)
            if kind == "message":
                if any(name == "async" and value == "true" for name, value in exchange.query):
                    return web.Response(status=202, headers=SERVER)
                return self.told(exchange, 200, message_response(exchange.tree, receipt.message_id, exchange.base, now))
        return self._stored(exchange, receipt, message)

    # -- event style ---------------------------------------------------------------------------------------------

    def _stored(self, exchange: Exchange, receipt: Receipt, message: bytes) -> web.Response:
        call = exchange.call
        kind = call.type or "Bundle"
        created = call.interaction in ("create", "bundle")
        headers = _stored_headers(exchange, kind, call.id or id_text(receipt.message_id), receipt.message_id)
        wanted = exchange.prefers("return") or self._options.prefer
        if call.interaction == "delete":
            headers = {}
        status = 201 if created else 200
        if wanted == "OperationOutcome" or (wanted == "representation" and call.interaction in ("patch", "delete")):
            text = t("stored", "已存储")
            first = issue("information", "informational", text, f"message {id_text(receipt.message_id)}")
            noted = issues_of(self._codec, receipt.findings[:MOST_FINDINGS])
            return self.told(exchange, status, outcome([first, *noted]), headers)
        if wanted == "representation":
            tree = self._codec.decode(message)
            given = tree.get("meta")
            meta = given if isinstance(given, dict) else {}
            number = call.id or id_text(receipt.message_id)
            tree = {
                "resourceType": kind,
                **tree,
                "id": number,
                "meta": {**meta, "lastUpdated": _instant(receipt.message_id)},
            }
            try:
                body = exchange.form.write(tree)
            except CodecError:  # JSON that XML can't hold: it is stored all the same
                return web.Response(status=status, headers={**headers, **SERVER})
            told = {"Content-Type": exchange.form.content_type}
            return web.Response(status=status, body=body, headers={**told, **headers, **SERVER})
        return web.Response(status=204 if call.interaction == "delete" else status, headers={**headers, **SERVER})

    # -- request style -------------------------------------------------------------------------------------------

    def _replied(self, exchange: Exchange, receipt: Receipt, reply: bytes) -> web.Response:
        call = exchange.call
        if not reply.strip():
            headers = dict(SERVER)
            if call.interaction == "create":
                headers |= _stored_headers(exchange, call.type, id_text(receipt.message_id), receipt.message_id)
            empty = 404 if call.interaction in ("read", "history") else 201 if call.interaction == "create" else 204
            if empty == 404:
                return self.told(
                    exchange, 404, refused(404, t("there is no such resource", "没有该资源"), "fhir.reply")
                )
            return web.Response(status=receipt.reply_status or empty, headers=headers)
        try:
            tree = self._codec.decode(reply)
        except CodecError as error:
            return self._bad_reply(exchange, error)
        status = receipt.reply_status or status_of(tree)
        if tree["resourceType"] == "OperationOutcome":
            return self.told(exchange, status, tree)
        meta = tree.get("meta")
        version = meta.get("versionId") if isinstance(meta, dict) else None
        version = version if isinstance(version, str) and _VERSION.fullmatch(version) else ""
        headers = {"ETag": f'W/"{version}"'} if version else {}
        number = tree.get("id")
        if call.interaction == "create":
            status = receipt.reply_status or 201
        if call.interaction in ("create", "update") and isinstance(number, str) and number.isprintable():
            headers["Location"] = f"{exchange.base}/{call.type}/{number}" + (f"/_history/{version}" if version else "")
        if call.interaction == "read" and version and headers["ETag"] in exchange.header("If-None-Match"):
            return web.Response(status=304, headers={**headers, **SERVER})
        if call.interaction in ("bundle", "message", "history"):
            headers = {}
        return self.told(exchange, status, tree, headers)

    def search(self, exchange: Exchange, receipt: Receipt, unknown: Sequence[str]) -> web.Response:
        """A page of what the target found."""
        if not receipt.accepted or receipt.reply is None:
            return self.failure(exchange, receipt.error, receipt.findings, receipt.reply)
        try:
            tree = self._codec.decode(receipt.reply) if receipt.reply.strip() else {"resourceType": "Bundle"}
        except CodecError as error:
            return self._bad_reply(exchange, error)
        if tree["resourceType"] == "OperationOutcome" and status_of(tree) != 200:
            return self.told(exchange, receipt.reply_status or status_of(tree), tree)
        page = search_page(tree, exchange.base, exchange.call.type, exchange.query, self._options.page_size, unknown)
        return self.told(exchange, receipt.reply_status or 200, page)

    def _bad_reply(self, exchange: Exchange, error: CodecError) -> web.Response:
        text = t("the target's reply is not FHIR: ", "目标系统的应答不是 FHIR：") + mask_text(error.text)
        return self.told(exchange, 502, refused(502, text, error.code))


def _stored_headers(exchange: Exchange, kind: str, number: str, message_id: int) -> dict[str, str]:
    """Where a stored resource will be, without a version: versions are the target's, and it has not seen the resource yet."""
    return {
        "Location": f"{exchange.base}/{kind}/{number}",
        "Last-Modified": _http_date(millis_of(message_id) // 1000),
    }


@lru_cache(maxsize=64)
def _http_date(seconds: int) -> str:
    """Many messages are of the same second."""
    return formatdate(seconds, usegmt=True)


def _instant(message_id: int) -> str:
    milliseconds = millis_of(message_id)
    seconds, rest = divmod(milliseconds, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:03}Z"
