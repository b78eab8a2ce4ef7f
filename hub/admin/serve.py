"""Serving the admin API: a TCP port for people, a socket file between the processes of one hub."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from hub.admin.app import make_app
from hub.admin.backend import Backend
from hub.admin.token import own_token_of, token_of
from hub.errors import HubError
from hub.i18n import t

__all__ = ["AdminServer", "own_token_of", "token_of"]


def _ours(record: logging.LogRecord) -> bool:
    """False for what a caller did wrong: he is answered, and a scanner must not fill the log with tracebacks."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_log = logging.getLogger(__name__)
_log.addFilter(_ours)

#: Answers under way get so long at a stop, seconds; the default is a minute, longer than a worker has.
_STOP_S = 5.0


class AdminServer:
    """One listening admin API."""

    def __init__(self, backend: Backend, token: str, proxies: Sequence[str] = ()) -> None:
        # Access log off: the audit trail says who did what, and a log line per probe helps nobody.
        app = make_app(backend, token, proxies)
        self._runner = web.AppRunner(app, access_log=None, logger=_log, shutdown_timeout=_STOP_S)
        self.address = ""

    async def listen(self, host: str, port: int) -> None:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise HubError(
                t(
                    f"the admin API can't listen on {host}:{port}: {error.strerror}",
                    f"管理接口无法监听 {host}:{port}：{error.strerror}",
                ),
                code="admin.listen",
                remedy=t("choose another admin.port in hub.yaml", "请在 hub.yaml 中更换 admin.port"),
            ) from error
        bound = self._runner.addresses[0]
        self.address = f"http://{host}:{bound[1]}"

    async def listen_on_socket(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(path)).start()
        path.chmod(0o600)
        self.address = str(path)

    async def stop(self) -> None:
        await self._runner.cleanup()
