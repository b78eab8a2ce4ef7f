"""PostgreSQL and MariaDB."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from pathlib import Path

from tests.peers.process import Server, need

__all__ = ["MariaDb", "PostgreSql"]


class PostgreSql(Server):
    """Database ``hub``, user ``hub`` with password ``secret``."""

    package = "postgresql"
    user = "postgres"

    def prepare(self) -> None:
        self.own(self.folder)
        (password := self.folder / "password").write_text("secret\n")
        self.own(password)
        initdb = need("initdb", self.package)
        self.run(initdb, "-D", "data", "-U", "hub", "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8", "-N")

    def command(self) -> Sequence[str]:
        options = [f"port={self.port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}"]
        options.append("dynamic_shared_memory_type=mmap")  # in its folder, where it goes with it when it is killed
        return [need("postgres", self.package), "-D", "data", *(part for o in options for part in ("-c", o))]

    def ready(self) -> bool:
        """It says no more than "starting up" for a while after the port is open."""
        with contextlib.suppress(RuntimeError):
            return bool(self.sql("SELECT 1", database="postgres"))
        return False

    def start(self) -> None:
        super().start()
        if "hub" not in self.sql("SELECT datname FROM pg_database", database="postgres").split():
            self.sql("CREATE DATABASE hub", database="postgres")

    def sql(self, text: str, database: str = "hub") -> str:
        """Rows as psql prints them: one line a row, columns separated by ``|``."""
        address = f"postgresql://hub:secret@127.0.0.1:{self.port}/{database}?connect_timeout=5"
        return self.run(need("psql", "postgresql-client"), address, "-v", "ON_ERROR_STOP=1", "-qAt", text=text)


class MariaDb(Server):
    """Database ``hub``, user ``hub`` with password ``secret``."""

    package = "mariadb-server"
    user = "mysql"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._socket = Path("/tmp") / f"tongqu-{self.port}.sock"

    def prepare(self) -> None:
        self.own(self.folder)
        install = need("mariadb-install-db", self.package)
        self.run(
            install, "--no-defaults", f"--datadir={self.folder / 'data'}", "--auth-root-authentication-method=normal"
        )

    def command(self) -> Sequence[str]:
        return [
            need("mariadbd", self.package),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--socket={self._socket}",
            "--skip-networking=0",
            "--innodb-flush-log-at-trx-commit=1",
        ]

    def ready(self) -> bool:
        # The first packet of the server is its greeting; an open port alone may belong to one that is still starting.
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
            return len(probe.recv(5)) == 5
        return False

    def start(self) -> None:
        super().start()
        self.sql(
            "CREATE DATABASE IF NOT EXISTS hub CHARACTER SET utf8mb4;"
            "CREATE USER IF NOT EXISTS hub@'127.0.0.1' IDENTIFIED BY 'secret';"
            "CREATE USER IF NOT EXISTS hub@localhost IDENTIFIED BY 'secret';"
            "GRANT ALL ON hub.* TO hub@'127.0.0.1'; GRANT ALL ON hub.* TO hub@localhost;",
            database="mysql",
        )

    def stop(self) -> None:
        super().stop()
        self._socket.unlink(missing_ok=True)

    def sql(self, text: str, database: str = "hub") -> str:
        """Rows without a heading, columns separated by tabs."""
        client = need("mariadb", "mariadb-client")
        return self.run(client, "--no-defaults", f"--socket={self._socket}", "-uroot", "-N", "-B", database, text=text)
