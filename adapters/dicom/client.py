"""Associations the hub asks for, and one exchange on them; blocking, called in threads of the adapter."""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, cast

from pynetdicom import AE
from pynetdicom._globals import MODE_REQUESTOR
from pynetdicom.dimse_primitives import C_STORE, N_EVENT_REPORT
from pynetdicom.pdu_primitives import A_ASSOCIATE, SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import T_CONNECT, AddressInformation

from adapters.dicom.network import HubAssociation, Service, Socket, context_of, shut
from hub.api import PermanentError, SendError, TransientError, UnreachableError
from hub.i18n import t

__all__ = [
    "Lost",
    "NoService",
    "Target",
    "context_for",
    "exchange",
    "lost",
    "no_context",
    "open_association",
    "release",
]

_CALLED_UNKNOWN, _CALLING_UNKNOWN = 7, 3


@dataclass(frozen=True, slots=True)
class Target:
    """Where to call, as whom, and how long to wait (seconds)."""

    host: str
    port: int
    called: str
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    connect_timeout: float = 5.0

    def __str__(self) -> str:
        return f"{self.called}@{self.host}:{self.port}"


class Lost(Exception):
    """The association ended before the answer; ``late``: because the time was over."""

    def __init__(self, late: bool = False) -> None:
        super().__init__()
        self.late = late


class NoService(Service):
    """For associations on which nothing is asked of us."""

    def incoming(self, association: HubAssociation, instance: str, sop_class: str, syntax: str) -> BytesIO:
        raise ValueError("nobody asked for an object")

    def serve(self, association: HubAssociation, request: Any, context: PresentationContext) -> None:
        association.abort(block=False)


class _Connected(Socket):
    """A socket that is connected before the upper layer begins."""

    def __init__(self, association: HubAssociation, sock: socket.socket) -> None:
        self._open = False
        self.negotiating = False
        super().__init__(association, client_socket=sock)
        association.dul.event_queue.get_nowait()  # "connection indication": that is for the other side
        self._is_connected = False
        self._ready.clear()

    @property
    def _is_connected(self) -> bool:
        # Who asks for the association looks only once its answer may be there already, and the connection closed.
        return self._open or (self.negotiating and threading.current_thread() is not self.assoc.dul)

    @_is_connected.setter
    def _is_connected(self, value: bool) -> None:
        self._open = value

    def connect(self, primitive: T_CONNECT) -> None:
        self._is_connected = self.negotiating = True
        primitive.result = "Evt2"
        self.provider_queue.put(primitive)
        self._ready.set()


def open_association(
    entity: AE,
    target: Target,
    contexts: Sequence[PresentationContext],
    service: Service,
    *,
    as_provider: Sequence[str] = (),
    within: float = 60.0,
) -> HubAssociation:
    """An association that is established, within so many seconds; ``as_provider``: SOP classes in which we are the provider (SCP).

    Raises :class:`UnreachableError` when there is none: then nothing was sent.
    """
    deadline = time.monotonic() + within
    sock, own, other = _connect(target, within)
    association = HubAssociation(entity, MODE_REQUESTOR, service)
    association.acse_timeout = max(min(entity.acse_timeout or within, deadline - time.monotonic()), 0.01)
    association.name = "dicom-out"
    wrapped = _Connected(association, sock)
    wrapped.limit = max(wrapped.limit, 2 * entity.maximum_pdu_size)
    association.set_socket(wrapped)
    requestor = association.requestor
    association.acceptor.ae_title = target.called
    association.acceptor.address_info = AddressInformation(*other)
    requestor.address_info = AddressInformation(*own)
    requestor.ae_title = entity.ae_title
    requestor.maximum_length = entity.maximum_pdu_size
    requestor.implementation_class_uid = entity.implementation_class_uid
    requestor.implementation_version_name = entity.implementation_version_name
    for uid in as_provider:
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid = cast(Any, uid)
        role.scu_role, role.scp_role = False, True
        requestor.add_negotiation_item(role)
    proposed = []
    for number, context in enumerate(contexts):
        one = context_of(str(context.abstract_syntax), [str(syntax) for syntax in context.transfer_syntax])
        one.context_id = 2 * number + 1
        proposed.append(one)
    requestor.requested_contexts = proposed
    # Nobody but the caller uses it: the loop that would wait for requests of the peer is not started.
    association._is_paused = True
    association.request()
    wrapped.negotiating = False
    if not association.is_established:
        error = _not_established(association, target)
        shut(association)
        association.dul.join(5.0)
        raise error
    return association


def release(association: HubAssociation) -> None:
    """Take leave, and leave no thread behind."""
    if association.is_established and association.dul.is_alive():
        association.acse_timeout = min(association.acse_timeout or 2.0, 2.0)
        association.release()
    shut(association)
    association.dul.join(5.0)


def exchange(
    association: HubAssociation, request: Any, context: PresentationContext, deadline: float, *, sent: bool = False
) -> Iterator[Any]:
    """Send a request and give its responses; the caller stops after the final one.

    ``deadline`` by ``time.monotonic``; ``sent``: it was sent already. Raises :class:`Lost`.
    """
    if not sent:
        association.dimse.send_msg(request, cast(int, context.context_id))
    while True:
        left = deadline - time.monotonic()
        try:
            number, message = association.dimse.msg_queue.get(timeout=max(left, 0.001))
        except queue.Empty:
            raise Lost(late=True) from None
        if message is None:
            raise Lost
        # C-GET: an object comes. Storage commitment: the result of a request.
        if isinstance(message, C_STORE | N_EVENT_REPORT) and message.is_valid_request:
            association.service.serve(association, message, association._accepted_cx[cast(int, number)])
        elif message.MessageIDBeingRespondedTo == request.MessageID and message.Status is not None:
            yield message


def context_for(association: HubAssociation, sop_class: str, syntaxes: Sequence[str]) -> PresentationContext | None:
    """The accepted context with the first of these transfer syntaxes that there is one for."""
    accepted = [one for one in association.accepted_contexts if one.abstract_syntax == sop_class]
    for syntax in syntaxes:
        for one in accepted:
            if one.transfer_syntax[0] == syntax:
                return one
    return None


def lost(target: Target, error: Lost, seconds: float) -> SendError:
    """What to tell of an association that ended during a call."""
    if error.late:
        return TransientError(
            t(f"{target} did not answer within {seconds:g} s", f"{target} 在 {seconds:g} 秒内未应答"),
            code="dicom.timeout",
        )
    return TransientError(
        t(
            f"the association with {target} ended during the call; whether it has taken the message is unknown",
            f"与 {target} 的关联在调用期间中断，对方是否已收下消息未知",
        ),
        code="dicom.lost",
    )


def _connect(target: Target, within: float) -> tuple[socket.socket, tuple[str, int], tuple[str, int]]:
    """A connection, with the addresses of its ends."""
    where = f"{target.host}:{target.port}"
    sock: socket.socket | None = None
    try:
        sock = socket.create_connection(
            (target.host, target.port), timeout=max(min(target.connect_timeout, within), 0.001)
        )
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.tls is not None:
            sock = target.tls.wrap_socket(sock, server_hostname=target.server_name or target.host)
        sock.settimeout(Socket.seconds)
        return sock, sock.getsockname()[:2], sock.getpeername()[:2]
    except TimeoutError:
        error = UnreachableError(
            t(f"{where} did not accept a connection in time", f"{where} 未在规定时间内接受连接"),
            code="dicom.connect_timeout",
        )
    except ssl.SSLCertVerificationError as reason:
        error = UnreachableError(
            t(
                f"the certificate of {where} is not trusted: {reason.verify_message}; "
                "give its authority as tls.ca, or its name as tls.server_name",
                f"{where} 的证书不受信任：{reason.verify_message}；请以 tls.ca 指定其签发机构，或以 tls.server_name 指定其名称",
            ),
            code="tls.verify",
        )
    except ssl.SSLError as reason:
        said = reason.reason or "handshake"
        error = UnreachableError(
            t(f"no TLS connection to {where}: {said}", f"无法与 {where} 建立 TLS 连接：{said}"), code="tls.handshake"
        )
    except (OSError, UnicodeError) as reason:
        said = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        error = UnreachableError(
            t(f"no connection to {where}: {said}", f"无法连接 {where}：{said}"), code="dicom.unreachable"
        )
    if sock is not None:
        sock.close()
    raise error


def _not_established(association: HubAssociation, target: Target) -> SendError:
    answer = association.acceptor.primitive
    if association.is_rejected and isinstance(answer, A_ASSOCIATE):
        why = answer.diagnostic if answer.result_source == 1 else 0
        if why == _CALLED_UNKNOWN:
            said = (f"it does not know the AE title {target.called}", f"对方不认识被叫 AE {target.called}")
        elif why == _CALLING_UNKNOWN:
            title = association.requestor.ae_title
            said = (f"it does not know us as {title}", f"对方未登记我方 AE {title}")
        elif answer.result == 2:
            said = ("it is busy", "对方繁忙")
        else:
            said = ("it gives no reason", "对方未说明原因")
        return UnreachableError(
            t(f"{target} rejects the association: {said[0]}", f"{target} 拒绝关联：{said[1]}"), code="dicom.rejected"
        )
    if association.rejected_contexts and not association.accepted_contexts:
        return no_context(target)
    return UnreachableError(
        t(f"{target} did not accept the association", f"{target} 未接受关联"), code="dicom.no_association"
    )


def no_context(target: Target, what: str = "") -> PermanentError:
    """The target does not take this kind of object, or not in this transfer syntax."""
    said = f" ({what})" if what else ""
    return PermanentError(
        t(
            f"{target} does not accept this SOP class in this transfer syntax{said}",
            f"{target} 不接受该 SOP 类或传输语法{said}",
        ),
        code="dicom.context",
    )
