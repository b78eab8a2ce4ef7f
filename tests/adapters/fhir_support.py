"""What the tests of the FHIR adapter share: receivers and senders on the helpers of the HTTP adapter's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fhir.resources.R4B import get_fhir_model_class

from adapters.fhir import FhirAdapter
from adapters.fhir.options import FhirConnect, FhirListen
from adapters.fhir.receiver import FhirReceiver
from adapters.fhir.sender import FhirSender
from adapters.http.service import HttpService
from hub.api import Bound, HubError, Item, Receipt
from hub.codecs.fhir import FhirCodec, FhirFormat
from hub.contract import Interface
from hub.message import Outcome
from tests.adapters.http_support import OPEN, Answer, MemoryIntake, call

__all__ = ["FHIR_JSON", "FhirIntake", "ask", "bound_in", "calling", "judge", "listening", "outcome_of"]

FHIR_JSON = "application/fhir+json"


class FhirIntake(MemoryIntake):
    """As much of an intake as the facade uses."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[Item] = []
        self.pages: list[int] = []
        self.findings: Sequence[Mapping[str, str]] = ()
        self.checked: list[bytes] = []
        self.fails: HubError | None = None
        self.marks: dict[str, str] = {}

    async def check(
        self, bound: Bound, raw: bytes, *, params: Mapping[str, str] | None = None
    ) -> Sequence[Mapping[str, str]]:
        self.checked.append(raw)
        if self.fails is not None:
            raise self.fails
        return self.findings

    async def take(
        self, bound: Bound, items: Sequence[Item], *, mark: str | None = None, name: str = "", remote: str = ""
    ) -> list[Receipt]:
        if self.fails is not None:
            raise self.fails
        self.pages.append(len(items))
        receipts = []
        for item in items:
            known = item.control_id and any(item.control_id == earlier.control_id for earlier in self.items)
            if item.raw.startswith(b"{"):
                self.items.append(item)
                receipts.append(Receipt(Outcome.DUPLICATE if known else Outcome.OK, len(self.items)))
            else:
                receipts.append(Receipt(Outcome.REFUSED, error=HubError("no JSON", code="json.syntax")))
        if mark is not None:
            self.marks[name] = mark
        return receipts

    async def mark(self, bound: Bound, name: str = "") -> str:
        return self.marks.get(name, "")

    def note_run(self, bound: Bound, **more: Any) -> None:
        return


def codec_of(contract: Mapping[str, Any]) -> FhirCodec:
    return FhirCodec().configured(FhirFormat.model_validate(contract.get("format", {})))


def bound_in(contract: dict[str, Any] | None = None, place: str = "his/fhir", **options: Any) -> Bound:
    contract = contract or {}
    interface = Interface(direction="in", adapter="fhir", codec="fhir", **contract)
    given = {"auth": OPEN, **options}
    system, _, name = place.partition("/")
    return Bound(place, system, name, "p@1", interface, codec_of(contract), {}, FhirListen.model_validate(given))


@asynccontextmanager
async def listening(
    intake: MemoryIntake,
    contract: dict[str, Any] | None = None,
    *,
    adapter: FhirAdapter | None = None,
    place: str = "his/fhir",
    **options: Any,
) -> AsyncIterator[FhirReceiver]:
    receiver = (adapter or FhirAdapter()).receiver(bound_in(contract, place, **options), intake)  # type: ignore[arg-type]
    assert isinstance(receiver, FhirReceiver)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop(5.0)


async def ask(
    receiver: HttpService, method: str, path: str, body: bytes = b"", kind: str = FHIR_JSON, **headers: str
) -> Answer:
    """One request; ``path`` below the base."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if body:
        given["Content-Type"] = kind
    return await call(receiver, body, method=method, path=f"/fhir{path}", headers=given)


def judge(answer: Answer) -> Any:
    """The resource of an answer, as an independent library reads it."""
    tree = answer.json
    return get_fhir_model_class(tree["resourceType"]).model_validate_json(answer.body)


def outcome_of(answer: Answer) -> tuple[int, str, str]:
    """Status, severity and code of an answer that is an OperationOutcome."""
    found = judge(answer)
    assert found.get_resource_type() == "OperationOutcome"
    return answer.status, found.issue[0].severity, found.issue[0].code


@asynccontextmanager
async def calling(url: str, contract: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[FhirSender]:
    interface = Interface(direction="out", adapter="fhir", codec="fhir", **(contract or {}))
    bound = Bound(
        "p/out",
        "p",
        "out",
        "p@1",
        interface,
        codec_of(contract or {}),
        {},
        FhirConnect.model_validate({"url": url, **options}),
    )
    sender = FhirAdapter().sender(bound)
    assert isinstance(sender, FhirSender)
    await sender.start()
    try:
        yield sender
    finally:
        await sender.stop()
