"""What the facade takes: bodies that fit their address."""

from __future__ import annotations

from adapters.fhir.bundles import check_entries
from adapters.fhir.call import BUNDLES
from adapters.fhir.exchange import Exchange
from adapters.http.problem import Refusal

__all__ = ["check_bundle", "check_condition", "check_resource"]


def check_resource(exchange: Exchange) -> None:
    """The body of a create or update fits its address."""
    call, tree = exchange.call, exchange.tree
    if tree["resourceType"] != call.type:
        raise Refusal(
            400,
            "fhir.type",
            ("the body is another type of resource than the address says", "消息体的资源类型与地址不一致"),
        )
    if call.interaction == "update":
        check_condition(exchange)
        if call.id and tree.get("id") != call.id:
            raise Refusal(
                400,
                "fhir.id",
                ("the resource must have the id that is in the address", "资源的 id 须与地址中的一致"),
            )


def check_condition(exchange: Exchange) -> None:
    """One resource is meant: by its id, or by a search."""
    if not exchange.call.id and not exchange.criteria:
        raise Refusal(
            400,
            "fhir.criteria",
            ("without an id in the address there must be a search", "地址中没有 id 时须有查询条件"),
        )


def check_bundle(exchange: Exchange, offers: frozenset[str], answers: bool) -> None:
    """A Bundle that is posted to the base; ``answers``: a target answers, so it may also ask."""
    tree, call = exchange.tree, exchange.call
    kind = tree.get("type")
    if tree["resourceType"] != "Bundle" or (call.interaction == "message" and kind != "message"):
        raise Refusal(400, "fhir.bundle", ("the body must be a Bundle of this kind", "消息体须为该类 Bundle"))
    if kind not in BUNDLES & offers:
        names = ", ".join(sorted(BUNDLES & offers))
        raise Refusal(422, "fhir.bundle", (f"bundles taken are {names}", f"只接收以下 Bundle：{names}"))
    if kind in ("transaction", "batch"):
        check_entries(tree, answers)
    if kind == "message":
        entries = tree.get("entry")
        first = entries[0] if isinstance(entries, list) and entries else None
        header = first.get("resource") if isinstance(first, dict) else None
        if not isinstance(header, dict) or header.get("resourceType") != "MessageHeader":
            raise Refusal(
                400, "fhir.message", ("the first entry must be a MessageHeader", "首个 entry 须为 MessageHeader")
            )
        if any(name == "response-url" for name, _ in exchange.query):
            raise Refusal(
                422, "fhir.response_url", ("answers only go back on the same connection", "应答只能经同一连接返回")
            )
