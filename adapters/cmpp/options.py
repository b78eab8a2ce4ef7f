"""Options of the adapter ``cmpp``: ``connect`` of an ``out`` interface, ``listen`` of an ``in`` interface."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from adapters.cmpp.texts import Coding
from adapters.tls import ClientTls
from hub.contract import Duration
from hub.windows import known_zone

__all__ = ["CmppAccount", "CmppConnect", "CmppListen"]


def _ascii(text: str) -> str:
    if not (text.isascii() and (text.isprintable() or not text)):
        raise ValueError("printable ASCII only")
    return text


def _list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Ascii = Annotated[str, AfterValidator(_ascii)]


class CmppAccount(BaseModel):
    """A gateway, an account of it, and the connections kept open to it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: str = Field(min_length=1, description="name or address of the gateway (ISMG)")
    port: int = Field(7890, ge=1, le=65535)
    tls: ClientTls | None = Field(None, description="TLS, where the gateway is reached through a tunnel that speaks it")
    account: Ascii = Field(min_length=1, max_length=6, description="Source_Addr, the number of the service provider")
    password: SecretStr = Field(description="shared secret")
    version: Literal["auto", "2.0", "3.0"] = Field(
        "auto", description="auto: 3.0, and 2.0 where the gateway says that is too high"
    )
    zone: Annotated[str, AfterValidator(known_zone)] = Field(
        "Asia/Shanghai", description="time zone of the timestamp in CONNECT"
    )
    verify_gateway: bool = Field(
        True,
        description="AuthenticatorISMG must be right; false for gateways that leave it empty or compute it otherwise",
    )
    connections: int = Field(1, ge=1, le=64, description="connections kept open; the gateway limits their number")
    window: int = Field(16, ge=1, le=1024, description="unanswered SUBMITs of one connection; beyond, sending waits")
    heartbeat: Duration = Field(180.0, ge=0.05, le=3600, description="C: so long silent, ACTIVE_TEST is sent")
    reply_timeout: Duration = Field(60.0, ge=0.05, le=600, description="T: longest wait for an answer of the gateway")
    tries: int = Field(3, ge=1, le=10, description="N: so many ACTIVE_TESTs without an answer end the connection")
    connect_timeout: Duration = Field(10.0, gt=0, le=120, description="longest time to connect, CONNECT_RESP included")
    pause: Duration = Field(1.0, ge=0.01, description="before connecting again; doubles up to max_pause")
    max_pause: Duration = Field(60.0, ge=0.01)

    @property
    def address(self) -> str:
        return f"cmpp://{self.host}:{self.port}"


class CmppConnect(CmppAccount):
    """``connect`` of a ``cmpp`` interface."""

    src_id: Ascii = Field(min_length=1, max_length=21, description="number shown as sender; `extension` is added")
    msg_src: Ascii = Field("", max_length=6, description="Msg_src; default: account")
    service_id: Ascii = Field("", max_length=10)
    fee_user_type: int = Field(2, ge=0, le=3, description="who pays: 0 receiver, 1 sender, 2 provider, 3 fee_terminal")
    fee_terminal: Ascii = Field("", max_length=21, description="number that pays, with fee_user_type 3")
    fee_type: Ascii = Field("01", max_length=2, description="01 free, 02 each, 03 by the month …")
    fee_code: Ascii = Field("0", max_length=6, description="price in fen")
    level: int = Field(0, ge=0, le=9, description="Msg_level, priority")
    reports: bool = Field(True, description="ask for a status report of every part")
    encoding: Coding = Field(
        "auto", description="auto: ASCII where the text allows it, else UCS2; a message may say its own"
    )
    wide_reference: bool = Field(False, description="parts carry a 16-bit reference (7-byte header) instead of 8-bit")
    max_parts: int = Field(10, ge=1, le=255, description="longer texts are refused")
    rate: float = Field(0, ge=0, description="SUBMITs per second of all connections, parts counted; 0 = no limit")
    unknown: Literal["repeat", "refuse"] = Field(
        "repeat",
        description="a SUBMIT whose answer never came: repeat sends again, the reader may get it twice; "
        "refuse makes a dead letter, for somebody to decide",
    )


class CmppListen(BaseModel):
    """``listen`` of a ``cmpp`` interface: status reports, and messages that readers send."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    of: Annotated[list[str], BeforeValidator(_list)] = Field(
        default_factory=list, description="out interfaces of the same system whose connections bring them"
    )
    own: CmppAccount | None = Field(None, description="connections of its own, where the gateway wants it so")
    join_within: Duration = Field(
        300.0, ge=0.05, le=86_400, description="a long message whose parts have not all come by then goes on incomplete"
    )
    join_messages: int = Field(
        64, ge=1, le=1024, description="long messages waiting for parts at once; beyond, the oldest goes on incomplete"
    )
    unanswered: int = Field(
        128, ge=1, le=10_000, description="DELIVERs of one connection waiting for their commit; beyond, reading pauses"
    )

    @model_validator(mode="after")
    def _somewhere(self) -> CmppListen:
        if bool(self.of) == (self.own is not None):
            raise ValueError("give either of, or own")
        return self
