"""Where the demo runs: its configuration, its secrets, its data.

By default that is ``config/demo`` as it stands, with data in ``var/demo``. A run apart works on a copy of the configuration in a folder
of its own, on any free ports, so that several can run beside each other.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from hub.config import load_config

__all__ = ["AFTERNOON", "REPOSITORY", "SECRETS", "Place", "apart", "secret", "usual"]

REPOSITORY = Path(__file__).resolve().parents[2]
_CONFIG = REPOSITORY / "config" / "demo"
_VAR = REPOSITORY / "var" / "demo"
#: Where the afternoon runs: a copy of ``config/afternoon``, its keys, its data.
AFTERNOON = REPOSITORY / "var" / "afternoon"
SECRETS = ("operator.token", "ministry.token", "province.token", "sms.key")
_TARGETS = ("province", "ministry", "sms")


@dataclass(frozen=True, slots=True)
class Place:
    """``config`` is the file the hub is run with, ``ports`` are those of the parties it delivers to."""

    config: Path
    folder: Path
    ports: dict[str, int]

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "hub.log"

    def secret(self, name: str) -> str:
        return secret(self.folder, name)

    def forget(self) -> None:
        """Remove what an earlier run stored, so that every figure of this one is its own."""
        shutil.rmtree(self.data, ignore_errors=True)
        self.log.unlink(missing_ok=True)


def secret(folder: Path, name: str) -> str:
    """The token of one connection, made when it is first asked for, in a file only its owner can read."""
    file = folder / "secrets" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_text().strip()
    token = secrets.token_urlsafe(24)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(token + "\n")
    return token


def usual() -> Place:
    """The configuration in the repository."""
    systems = load_config(_CONFIG / "hub.yaml").hub.systems
    ports = {name: int(systems[name].settings["base_url"].rpartition(":")[2]) for name in _TARGETS}
    return Place(_CONFIG / "hub.yaml", _VAR, ports)


def apart(folder: Path, ports: dict[str, int]) -> Place:
    """A copy of the configuration in ``folder``: the hub on any free ports, the parties on the given ones."""
    before = usual()
    config = folder / "config"
    shutil.rmtree(config, ignore_errors=True)
    shutil.copytree(_CONFIG, config)
    for file in config.rglob("*.yaml"):
        text = file.read_text("utf-8")
        text = re.sub(r"(?m)^(\s+port:) \d+$", r"\1 0", text)
        for name, port in ports.items():
            text = text.replace(f"127.0.0.1:{before.ports[name]}", f"127.0.0.1:{port}")
        text = text.replace("file:../../../var/demo/", f"file:{folder}/")
        text = text.replace("../../var/demo/", f"{folder}/")
        text = text.replace("../../", f"{REPOSITORY}/")
        file.write_text(text, "utf-8")
    return Place(config / "hub.yaml", folder, dict(ports))
