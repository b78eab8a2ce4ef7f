"""Tinyproxy, an HTTP proxy."""

from __future__ import annotations

from collections.abc import Sequence

from tests.peers.process import Server, need

__all__ = ["Tinyproxy"]


class Tinyproxy(Server):
    """User ``hub`` with password ``proxy-word``; makes tunnels to every port."""

    package = "tinyproxy"

    def prepare(self) -> None:
        (self.folder / "tinyproxy.conf").write_text(
            f"Port {self.port}\nListen 127.0.0.1\nTimeout 30\nMaxClients 20\nBasicAuth hub proxy-word\n"
        )

    def command(self) -> Sequence[str]:
        return [need("tinyproxy", self.package), "-d", "-c", str(self.folder / "tinyproxy.conf")]
