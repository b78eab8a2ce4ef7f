"""The other end of CMPP for simulators: a gateway that lets the hub log in, takes its messages, and brings reports and messages."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import socket
import struct
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, cast

import orjson

from adapters.cmpp.gateway_pdu import (
    pack_connect_reply,
    pack_deliver,
    pack_submit_reply,
    read_connect,
    read_deliver_reply,
    read_submit,
    report_content,
)
from adapters.cmpp.offering import STAMP, VERSION, delivers_of
from adapters.cmpp.options import CmppAccount, CmppConnect, CmppListen
from adapters.cmpp.pdu import RESPONSE, BadPdu, Command, Deliver, Pdu, PduReader, Report, Submit, authenticator, pack
from adapters.cmpp.texts import read_piece, text_of
from hub.api import HubError
from hub.i18n import t
from hub.simulator.behaviour import Behaviour
from hub.simulator.calls import SimulatedReply
from hub.simulator.counterpart import Counterpart, Listening
from hub.simulator.party import Facts, Opened, Party
from hub.simulator.side import Side, Unfit

__all__ = ["CmppCounterpart"]

_READ = 1 << 16
#: Status of CONNECT_RESP.
_WRONG_ACCOUNT, _WRONG_SECRET, _TOO_HIGH = 2, 3, 4
#: Results of SUBMIT_RESP.
_STRUCTURE, _SRC_ID, _MSG_SRC, _PHONE, _OTHER = 1, 10, 11, 13, 9
#: A status report follows its message after so long, seconds.
_REPORTED = 0.05


class CmppCounterpart(Counterpart):
    """See the module."""

    def listening(self, sides: Sequence[Side], party: Party) -> Listening:
        return _Gateway(sides, party)

    async def send(
        self, side: Side, to: str, options: Mapping[str, Any], body: bytes, behaviour: Behaviour | None
    ) -> SimulatedReply:
        raise HubError(
            t("a gateway brings messages over the hub's own connections", "网关经由枢纽建立的连接投递消息"),
            code="simulate.source",
            remedy=t("lay an entry out: offer", "请用 offer 放置条目"),
        )


@dataclass(slots=True)
class _Address:
    """What listens on one host and port; ``due``: DELIVERs nobody has taken yet."""

    account: CmppAccount
    outs: list[Side] = field(default_factory=list)
    links: list[_Link] = field(default_factory=list)
    due: list[Deliver] = field(default_factory=list)
    parts: dict[tuple[str, str, int, int], dict[int, Submit]] = field(default_factory=dict)
    server: asyncio.Server | None = None


class _Gateway(Listening):
    """All interfaces of one plugin over CMPP. Interfaces at one address share it: what comes is taken for the first it fits."""

    def __init__(self, sides: Sequence[Side], party: Party) -> None:
        self.party = party
        self.ended = asyncio.Event()
        self._addresses: dict[tuple[str, int], _Address] = {}
        self._of: dict[str, _Address] = {}  # interface -> where it is connected
        self._next_id = secrets.randbits(47) << 16
        self._tasks: set[asyncio.Task[None]] = set()
        listening = [side for side in sides if isinstance(side.bound.options, CmppListen)]
        for side in sides:
            if isinstance(side.bound.options, CmppConnect):
                side.declared = None  # what travels are fields of SUBMIT, not the document the mapping made
                self._address(side, side.bound.options).outs.append(side)
        for side in listening:
            options = cast(CmppListen, side.bound.options)
            if options.own is not None:
                self._address(side, options.own)
            else:
                known = next((self._of[name] for name in options.of if name in self._of), None)
                if known is None:
                    raise HubError(
                        t(
                            f"{side.interface}: none of {options.of} is played",
                            f"{side.interface}：{options.of} 均未模拟",
                        ),
                        code="simulate.source",
                    )
                self._of[side.interface] = known

    def _address(self, side: Side, account: CmppAccount) -> _Address:
        if account.tls is not None:
            raise HubError(t("gateways behind TLS are not played", "不模拟使用 TLS 的网关"), code="simulate.tls")
        address = self._addresses.setdefault((account.host, account.port), _Address(account))
        self._of[side.interface] = address
        return address

    async def start(self) -> None:
        for (host, port), address in self._addresses.items():
            try:
                address.server = await asyncio.start_server(partial(self._serve, address), host, port)
            except OSError as error:
                await self.stop()
                raise HubError(
                    t(f"can't listen on {host}:{port}: {error.strerror}", f"无法监听 {host}:{port}：{error.strerror}"),
                    code="simulate.listen",
                    remedy=t("choose a free port of this machine", "请选择本机空闲端口"),
                ) from error

    async def stop(self) -> None:
        self.ended.set()
        for task in self._tasks:
            task.cancel()
        for address in self._addresses.values():
            if address.server is not None:
                address.server.close()
            for link in list(address.links):
                link.cut()

    async def offer(self, side: Side, body: bytes) -> None:
        """``{"kind": "report", …}`` or ``{"kind": "message", …}``, as the hub would make of it; waits for a connection."""
        address = self._of[side.interface]
        for deliver in delivers_of(body, self.new_id):
            self.bring(address, deliver)

    def bring(self, address: _Address, deliver: Deliver) -> None:
        address.due.append(deliver)
        if address.links:
            address.links[0].bring(deliver)

    def new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, address: _Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, address, writer)
        pdus = PduReader()
        try:
            while data := await reader.read(_READ):
                pdus.feed(data)
                while (pdu := pdus.next()) is not None:
                    link.take(pdu)
        except (ConnectionError, BadPdu):
            pass
        finally:
            if link in address.links:
                address.links.remove(link)
            with suppress(ConnectionError):
                writer.close()


class _Link:
    """One connection of the hub."""

    def __init__(self, gateway: _Gateway, address: _Address, writer: asyncio.StreamWriter) -> None:
        self._gateway, self._address, self._writer = gateway, address, writer
        self._version = 0
        self._sequence = 0
        self._brought: dict[int, Deliver] = {}

    # -- what comes ------------------------------------------------------------------------------------------------------

    def take(self, pdu: Pdu) -> None:
        """Raises :class:`BadPdu`, which ends the connection."""
        if pdu.command == Command.CONNECT:
            self._log_in(pdu)
        elif not self._version:
            raise BadPdu("not logged in")
        elif pdu.command == Command.SUBMIT:
            self._gateway.spawn(self._submitted(pdu.sequence, read_submit(pdu.body, self._version)))
        elif pdu.command == Command.ACTIVE_TEST:
            self._say(pack(Command.ACTIVE_TEST | RESPONSE, pdu.sequence, b"\0"))
        elif pdu.command == Command.TERMINATE:
            self._say(pack(Command.TERMINATE | RESPONSE, pdu.sequence))
        elif pdu.command == Command.DELIVER | RESPONSE:
            deliver = self._brought.pop(pdu.sequence, None)
            if deliver is not None and deliver in self._address.due:
                read_deliver_reply(pdu.body)  # refused or taken: it is not brought again
                self._address.due.remove(deliver)

    def _log_in(self, pdu: Pdu) -> None:
        asked, account = read_connect(pdu.body), self._address.account
        secret = account.password.get_secret_value()
        highest = 0x20 if account.version == "2.0" else VERSION
        status = 0
        if asked.account != account.account:
            status = _WRONG_ACCOUNT
        elif not hmac.compare_digest(asked.digest, authenticator(account.account, secret, asked.stamp)):
            status = _WRONG_SECRET
        elif asked.version > highest:
            status = _TOO_HIGH
        self._say(pack_connect_reply(pdu.sequence, status, asked.digest, secret, asked.version, highest))
        if status:
            self._writer.close()
            return
        self._version = asked.version
        self._address.links.append(self)
        if self._address.links == [self]:
            for deliver in self._address.due:
                self.bring(deliver)

    def bring(self, deliver: Deliver) -> None:
        self._sequence += 1
        self._brought[self._sequence] = deliver
        self._say(pack_deliver(self._sequence, deliver, self._version))

    def _say(self, data: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(data)

    def cut(self) -> None:
        """RST, at once."""
        connection = self._writer.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    # -- one message -----------------------------------------------------------------------------------------------------

    async def _submitted(self, sequence: int, submit: Submit) -> None:
        wrong = self._wrong(submit)
        msg_id = self._gateway.new_id()
        if wrong or not self._address.outs:
            self._say(pack_submit_reply(sequence, 0, wrong or _OTHER, self._version))
            return
        piece = read_piece(submit.content, submit.udhi)
        group = (submit.phone, submit.src_id, piece.reference, submit.pk_total)
        parts = self._address.parts.setdefault(group, {})
        parts[submit.pk_number] = submit
        if submit.pk_total > 1 and len(parts) < submit.pk_total:
            self._say(pack_submit_reply(sequence, msg_id, 0, self._version))
            self._report(submit, msg_id)
            return
        opened = await asyncio.to_thread(self._opened, [parts[number] for number in sorted(parts)])
        said = self._gateway.party.hear(opened)
        result = 0
        if said.refused:
            result = int(said.code) if said.code.isdecimal() and 0 < int(said.code) < 256 else _STRUCTURE
        answer = pack_submit_reply(sequence, msg_id, result, self._version)
        if await self._spoilt(answer, said.behaviour):
            return
        self._address.parts.pop(group, None)
        self._say(answer)
        if not result:
            self._report(submit, msg_id)

    def _wrong(self, submit: Submit) -> int:
        """The result of SUBMIT_RESP for what a gateway refuses at sight."""
        options = [cast(CmppConnect, side.bound.options) for side in self._address.outs]
        if not any(submit.src_id.startswith(one.src_id) for one in options):
            return _SRC_ID
        if not any(submit.msg_src == (one.msg_src or one.account) for one in options):
            return _MSG_SRC
        return 0 if submit.phone.isdigit() else _PHONE

    def _opened(self, parts: list[Submit]) -> Opened:
        first = parts[0]
        data = b"".join(read_piece(part.content, part.udhi).data for part in parts)
        text = text_of(data, first.msg_fmt)
        opened: Opened | None = None
        for side in self._address.outs:
            own = cast(CmppConnect, side.bound.options).src_id
            tree = {"phone": first.phone, "text": text}
            if first.src_id.startswith(own) and first.src_id != own:
                tree["extension"] = first.src_id[len(own) :]
            if first.valid_until:
                tree["valid_until"] = first.valid_until
            if text is None:
                read = Opened(side, data, Facts(), unfit=Unfit("cmpp.coding", t("no text", "不是文本")))
            else:
                read = self._gateway.party.read(side, orjson.dumps(tree), Facts())
            if opened is None or read.unfit is None:
                opened = read
            if read.unfit is None:
                break
        assert opened is not None  # noqa: S101 - asked only where there is an interface
        return opened

    async def _spoilt(self, answer: bytes, behaviour: Behaviour | None) -> bool:
        """True: nothing more is to be said."""
        match behaviour.kind if behaviour is not None else "":
            case "delay":
                assert behaviour is not None  # noqa: S101 - matched
                with suppress(TimeoutError):
                    async with asyncio.timeout(behaviour.seconds):
                        await self._gateway.ended.wait()
                return False
            case "silent":
                return True
            case "refuse" | "status" | "unauthorised":
                self.cut()
                return True
            case "reset" | "truncated" as kind:
                self._say(answer[: len(answer) // 2])
                with suppress(ConnectionError):
                    await self._writer.drain()
                    if kind == "truncated":
                        self._writer.close()
                        return True
                self.cut()
                return True
            case "garbage":
                self._say(b"\xff" + secrets.token_bytes(299))
                return True
        return False

    def _report(self, submit: Submit, msg_id: int) -> None:
        if submit.registered:
            self._gateway.spawn(self._reported(submit, msg_id))

    async def _reported(self, submit: Submit, msg_id: int) -> None:
        await asyncio.sleep(_REPORTED)
        now = datetime.now().strftime(STAMP)
        content = report_content(Report(msg_id, "DELIVRD", now, now, submit.phone, 1), self._version)
        own = Deliver(self._gateway.new_id(), submit.src_id, submit.service_id, 0, 0, 0, submit.phone, True, content)
        self._gateway.bring(self._address, own)
