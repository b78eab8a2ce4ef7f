"""QIDO-RS and WADO-RS served: what is asked for goes to a target, whose reply is the answer.

The message is that of a query by DIMSE (:mod:`adapters.dicom.queries`): ``{"service": "study", "keys": {…}}`` for a search, ``retrieve`` or
``metadata`` for the rest, with the level in QueryRetrieveLevel. A reply to a search is a list of data sets; to a retrieval it names files
that a sender of this hub has fetched (``objects``); one to ``metadata`` may be either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from aiohttp import web

from adapters.dicom.model import dumps, read_json
from adapters.dicomweb.receiver import DicomWebReceiver, Resource
from adapters.dicomweb.retrieval import Fetched, accepted, send_metadata, send_objects
from adapters.dicomweb.search import LEVELS, results_of, search_of, with_address
from adapters.http.auth import caller_of
from adapters.http.problem import SERVER, Refusal, problem_of, problem_response, retry_headers, target_code
from hub.api import HubError, Receipt
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["LookupReceiver"]

_JSON = "application/dicom+json"
_UIDS = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "instance": "SOPInstanceUID"}
_OF_STUDY, _OF_SERIES = "/studies/{study}", "/studies/{study}/series/{series}"
_SEARCHES = {
    "/studies": "studies",
    "/series": "series",
    "/instances": "instances",
    f"{_OF_STUDY}/series": "series",
    f"{_OF_STUDY}/instances": "instances",
    f"{_OF_SERIES}/instances": "instances",
}
_RETRIEVALS = {
    _OF_STUDY: "studies",
    _OF_SERIES: "series",
    f"{_OF_SERIES}/instances/{{instance}}": "instances",
}
#: WADO-URI (PS3.18, clause 9).
_BY_QUERY = {"studyUID": "study", "seriesUID": "series", "objectUID": "instance"}
_MORE = "There are additional results that can be requested."


class LookupReceiver(DicomWebReceiver):
    """Searches and retrievals."""

    wants: ClassVar[tuple[str, str]] = ("json", "request")
    threads: ClassVar[int] = 4

    def resources(self) -> Sequence[Resource]:
        found: list[Resource] = []
        if "qido" in self._options.services:
            found += [("GET", path, partial(self._search, level)) for path, level in _SEARCHES.items()]
        if "wado" in self._options.services:
            for path, level in _RETRIEVALS.items():
                found += [
                    ("GET", path, partial(self._retrieve, level)),
                    ("GET", f"{path}/metadata", partial(self._metadata, level)),
                ]
            found.append(("GET", "/wado", self._by_query))
        return found

    # -- calls ---------------------------------------------------------------------------------------------------

    async def _search(self, level: str, request: web.BaseRequest, parts: dict[str, str]) -> web.StreamResponse:
        if not accepted(request.headers.get("Accept", ""), _JSON, "application/json"):
            raise _not_acceptable(_JSON)
        above = _named(parts)
        search = search_of(level, above, request.query.items())
        most = self._options.max_answers
        wanted = min(search.limit or most, most)
        message = {"service": "study", "keys": {**search.keys, "limit": search.offset + wanted + 1}}
        receipt = await self._ask(request, message, "QIDO-RS")
        if not receipt.accepted:
            return _failed(request, receipt)
        try:
            found = await self._in_thread(results_of, receipt.reply or b"")
        except HubError as error:
            return _failed(request, Receipt(receipt.outcome, receipt.message_id, error=error))
        chosen = found[search.offset : search.offset + wanted]
        if len(found) > search.offset + wanted:
            search.warnings.append(_MORE)
        base = f"{request.scheme}://{request.host}{self._options.path}"
        headers = {"Content-Type": _JSON, **SERVER}
        if search.warnings:
            headers["Warning"] = ", ".join(f'299 tongqu: "{one}"' for one in search.warnings)
        if not chosen:
            return web.Response(status=204, headers=headers)
        body = dumps([with_address(one, base, above) for one in chosen])
        return web.Response(body=body, headers=headers)

    async def _retrieve(self, level: str, request: web.BaseRequest, parts: dict[str, str]) -> web.StreamResponse:
        kind = accepted(request.headers.get("Accept", ""), "multipart/related", "application/dicom")
        if not kind or (kind == "application/dicom" and level != "instances"):
            raise _not_acceptable('multipart/related; type="application/dicom"')
        return await self._objects(level, request, parts, single=kind == "application/dicom")

    async def _objects(
        self, level: str, request: web.BaseRequest, parts: dict[str, str], *, single: bool
    ) -> web.StreamResponse:
        receipt = await self._ask(request, {"service": "retrieve", "keys": _keys(level, parts)}, "WADO-RS")
        if not receipt.accepted:
            return _failed(request, receipt)
        fetched = await self._fetched(request, receipt)
        if isinstance(fetched, web.Response):
            return fetched
        timeout = self._options.part_timeout
        return await send_objects(request, fetched, self._in_thread, timeout, single=single)

    async def _metadata(self, level: str, request: web.BaseRequest, parts: dict[str, str]) -> web.StreamResponse:
        if not accepted(request.headers.get("Accept", ""), _JSON, "application/json"):
            raise _not_acceptable(_JSON)
        receipt = await self._ask(request, {"service": "metadata", "keys": _keys(level, parts)}, "WADO-RS")
        if not receipt.accepted:
            return _failed(request, receipt)
        if (receipt.reply or b"").lstrip()[:1] == b"[":  # the target knows metadata itself
            return web.Response(body=receipt.reply, headers={"Content-Type": _JSON, **SERVER})
        fetched = await self._fetched(request, receipt)
        if isinstance(fetched, web.Response):
            return fetched
        return await send_metadata(request, fetched, self._in_thread, self._options.part_timeout)

    async def _by_query(self, request: web.BaseRequest, _parts: dict[str, str]) -> web.StreamResponse:
        query = request.query
        parts = {part: query[name] for name, part in _BY_QUERY.items() if name in query}
        if query.get("requestType") != "WADO" or len(parts) < len(_BY_QUERY):
            raise Refusal(
                400,
                "dicom.wado",
                (
                    "requestType=WADO, studyUID, seriesUID and objectUID are needed",
                    "需要 requestType=WADO、studyUID、seriesUID 与 objectUID",
                ),
            )
        if not accepted(query.get("contentType", ""), "application/dicom"):
            raise _not_acceptable("application/dicom")
        return await self._objects("instances", request, parts, single=True)

    # -- the target ----------------------------------------------------------------------------------------------

    async def _ask(self, request: web.BaseRequest, message: Mapping[str, Any], service: str) -> Receipt:
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()

        def done(receipt: Receipt) -> None:
            if not future.done():
                future.set_result(receipt)

        params = {"service": service, "User-Agent": mask_text(request.headers.get("User-Agent", "")[:200])}
        params |= caller_of(request)
        self._intake.submit(
            self._bound, dumps(message), done, remote=request.remote or "", control_id="", params=params
        )
        return await future

    async def _fetched(self, request: web.BaseRequest, receipt: Receipt) -> list[Fetched] | web.Response:
        """The files a reply names, all of them there; or what to answer instead."""
        try:
            fetched: list[Fetched] = await self._in_thread(self._open, receipt.reply or b"")
        except HubError as error:
            return _failed(request, Receipt(receipt.outcome, receipt.message_id, error=error))
        if fetched:
            return fetched
        return problem_response(
            request.headers.get("Accept-Language", ""),
            request.path,
            404,
            "dicom.not_found",
            ("the target has no such objects", "目标系统没有这些对象"),
        )

    def _open(self, reply: bytes) -> list[Fetched]:
        tree = read_json(reply or b"{}")
        told = tree.get("objects") if isinstance(tree, dict) else None
        if not isinstance(told, list):
            raise HubError(
                t("the reply names no objects", "应答未给出对象"),
                code="dicom.reply",
                remedy=t(
                    "route retrievals to an interface with service get, move with receive, or wado",
                    "请将检索请求路由到 service 为 get、wado，或带 receive 的 move 的接口",
                ),
            )
        return [Fetched.of_told(one, self._bound.data) for one in told]


def _named(parts: Mapping[str, str]) -> dict[str, str]:
    """The UIDs of a path by keyword."""
    for uid in parts.values():
        if not uid or len(uid) > 64 or uid.strip("0123456789."):
            raise Refusal(400, "dicom.uid", ("the path holds no valid UID", "路径中的 UID 无效"))
    return {_UIDS[part]: uid for part, uid in parts.items()}


def _keys(level: str, parts: Mapping[str, str]) -> dict[str, str]:
    return {"QueryRetrieveLevel": LEVELS[level], **_named(parts)}


def _not_acceptable(kind: str) -> Refusal:
    return Refusal(406, "http.accept", (f"the answer is {kind}", f"应答类型为 {kind}"))


def _failed(request: web.BaseRequest, receipt: Receipt) -> web.Response:
    """What the exchange came to; it is in the call log already."""
    error = receipt.error
    status, code = problem_of(error)
    if code.startswith("dicom."):
        status = 502
    text = mask_text(error.text) if error is not None else t("the request was refused", "请求被拒绝")
    remedy = error.remedy if error is not None else ""
    return problem_response(
        request.headers.get("Accept-Language", ""),
        request.path,
        status,
        code,
        (text, text),
        remedy=(remedy, remedy),
        message_id=receipt.message_id,
        target=target_code(error),
        headers=retry_headers(status, code),
    )
