"""Connections to Redis: nothing is repeated behind our back, and errors say whether a command can have been carried out."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import redis.asyncio as aredis
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from adapters.mq.redis_options import RedisServer
from adapters.tls import client_context
from hub.api import PermanentError, SendError, TransientError, UnreachableError
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["RedisPool", "explain"]


class _GivenContext:
    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    def get(self) -> ssl.SSLContext:
        return self._context


class _TlsConnection(aredis.SSLConnection):
    """TLS with a context of ours, which knows keys with a password."""

    def __init__(self, *, own: tuple[ssl.SSLContext, str], **more: Any) -> None:
        super().__init__(**more)
        self.ssl_context: Any = _GivenContext(own[0])
        self._server_name = own[1]

    def _connection_arguments(self) -> Any:
        return {**super()._connection_arguments(), "server_hostname": self._server_name}


class RedisPool:
    """A few connections to one server, one command or transaction each at a time."""

    def __init__(self, options: RedisServer, connections: int, patience: float = 0.0) -> None:
        """``patience``: seconds a blocking command waits on top of the usual. Raises :class:`HubError` for TLS files."""
        more: dict[str, Any] = {}
        kind: type[aredis.Connection] = aredis.Connection
        if options.secure:
            kind = _TlsConnection
            more["own"] = client_context(options.tls), options.tls.server_name or options.host
        self._options = options
        self._pool = aredis.BlockingConnectionPool(
            connection_class=kind,
            max_connections=connections,
            timeout=None,
            host=options.host,
            port=options.port,
            db=options.database,
            username=options.user or None,
            password=options.password.get_secret_value() or None,
            socket_connect_timeout=options.connect_timeout,
            socket_timeout=options.answer_timeout + patience,
            retry=Retry(NoBackoff(), 0),
            socket_keepalive=True,
            client_name="tongqu",
            **more,
        )

    async def call(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Carry out commands, several in one transaction; their answers. Raises :class:`SendError`."""
        try:
            # Connecting has a limit for each of its steps; together they must not take longer than all of them.
            async with asyncio.timeout(self._options.connect_timeout * 2):
                connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        except Exception as error:
            raise explain(error, self._options.address, sent=False) from None
        try:
            framed = commands if len(commands) == 1 else (("MULTI",), *commands, ("EXEC",))
            await connection.send_packed_command(connection.pack_commands(framed))
            answers: list[Any] = []
            for _ in framed:
                try:
                    answers.append(await connection.read_response())
                except exceptions.ResponseError as error:
                    answers.append(error)
            if len(commands) > 1:
                answers = [*answers[1:-1], answers[-1]]
                last = answers[-1]
                if isinstance(last, list):
                    answers = last
            for answer in answers:
                if isinstance(answer, exceptions.RedisError):
                    raise answer
            return answers
        except exceptions.ResponseError as error:
            raise explain(error, self._options.address, sent=True) from None
        except Exception as error:
            await connection.disconnect(nowait=True)
            raise explain(error, self._options.address, sent=True) from None
        except BaseException:
            await connection.disconnect(nowait=True)  # cancelled: an answer may still come
            raise
        finally:
            await self._pool.release(connection)

    async def close(self) -> None:
        await self._pool.disconnect()


_NOT_NOW = ("OOM", "READONLY", "LOADING", "MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY")


def explain(error: Exception, address: str, *, sent: bool) -> SendError:
    """What an exception of the client means; ``sent``: the command was on its way."""
    if isinstance(error, SendError):
        return error
    said = mask_text(" ".join(str(error).split())[:300])
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLError) and not sent:
        why = getattr(cause, "verify_message", "") or cause.reason
        return UnreachableError(
            t(
                f"{address}: TLS failed: {why} -> check tls.ca and tls.server_name",
                f"{address}：TLS 失败：{why} -> 请检查 tls.ca 与 tls.server_name",
            ),
            code="mq.certificate",
        )
    login = isinstance(error, exceptions.AuthenticationError | exceptions.NoPermissionError)
    if login or said.startswith(("WRONGPASS", "NOAUTH", "NOPERM")):
        kind = TransientError if sent else UnreachableError
        return kind(
            t(
                f"{address} refuses access: {said} -> check user, password and permissions",
                f"{address} 拒绝访问：{said} -> 请检查用户、密码与权限",
            ),
            code="mq.login",
        )
    busy = isinstance(error, exceptions.BusyLoadingError | exceptions.ReadOnlyError | exceptions.OutOfMemoryError)
    if busy or said.startswith(_NOT_NOW) or said.startswith(("command not allowed",)):
        return TransientError(t(f"{address} can't just now: {said}", f"{address} 暂时无法处理：{said}"), code="mq.nack")
    if isinstance(error, exceptions.ResponseError):
        return PermanentError(t(f"{address} refuses: {said}", f"{address} 拒绝：{said}"), code="mq.refused")
    if isinstance(error, TimeoutError | exceptions.TimeoutError):
        text = t(f"{address} does not answer in time", f"{address} 未在规定时间内应答")
        code = "mq.timeout"
    else:
        text, code = f"{address}: {said or type(error).__name__}", "mq.unreachable"
    if sent:
        return TransientError(
            t(f"{text}; the command may have been carried out", f"{text}；命令可能已执行"), code="mq.unconfirmed"
        )
    return UnreachableError(text, code=code)
