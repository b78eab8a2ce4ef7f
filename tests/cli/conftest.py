"""One running hub for the commands, and a way to run them."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from hub.cli import main
from hub.i18n import language, set_language
from tests.kernel.process import HubProcess, Sink, adt, make_site, wait_for


@dataclass
class Result:
    status: int
    raw: bytes
    errors: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    before = language()
    set_language("en")
    yield
    set_language(before)


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    server = Sink()
    yield server
    server.close()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[HubProcess]:
    with HubProcess(make_site(tmp_path_factory.mktemp("cli"), sink.url)) as process:
        yield process


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Run ``hub …`` as the program does, in this process: exit status, standard output, standard error."""

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["hub", *arguments])
        capsysbinary.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, errors = capsysbinary.readouterr()
        status = ended.value.code
        assert isinstance(status, int)
        text = errors.decode()
        assert "Traceback" not in text
        return Result(status, out, text)

    return run


@pytest.fixture
def hub_command(hub: HubProcess, command: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same for the running hub."""
    monkeypatch.setenv("TONGQU_ADMIN_URL", hub.url)
    monkeypatch.setenv("TONGQU_ACTOR", "li")
    monkeypatch.setenv("TONGQU_CONFIG", str(hub.config))
    return command


_numbers = itertools.count(1)


@pytest.fixture
def dead_letters(hub: HubProcess, sink: Sink) -> Callable[[int], list[str]]:
    """Make so many dead letters and give their ids, oldest first."""

    def make(count: int) -> list[str]:
        numbers = [f"D{next(_numbers)}" for _ in range(count)]
        sink.status = 400
        try:
            hub.send(*(adt(number) for number in numbers))

            def found() -> list[str]:
                rows = hub.call("GET", "/api/v1/messages?limit=1000&state=dead").json["messages"]
                mine = [row["id"] for row in rows if row["control_id"] in numbers]
                return mine if len(mine) == count else []

            messages = wait_for(found, f"{count} dead letters")
        finally:
            sink.status = 200
        rows = hub.call("GET", "/api/v1/deliveries?limit=1000&state=dead").json["deliveries"]
        return sorted(row["id"] for row in rows if row["message_id"] in messages)

    return make
