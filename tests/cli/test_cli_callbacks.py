"""``hub callbacks`` and the chain that ``hub show`` prints, over a store that a hub has left behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from hub.cli.app import app
from hub.cli.callbacks import CALLBACKS_HELP, callbacks
from hub.contract import StoreConfig
from hub.i18n import language, set_language
from hub.ids import id_text
from hub.message import Answer, Awaited, Binding, CallRecord, DeliveryState, Direction, Message, Outcome
from hub.store.sqlite import SqliteStore
from tests.store.store_support import finish, make_call, make_message, now_us, put, put_one

PLACE = "lis/submit"


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    before = language()
    set_language("en")
    yield
    set_language(before)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config" / "hub.yaml"
    file.parent.mkdir()
    file.write_text("store: {path: ../var}\n", encoding="utf-8")
    return file


def run(*arguments: str) -> str:
    own = typer.Typer()
    own.command("callbacks", help=CALLBACKS_HELP)(callbacks)
    own.command("help")(lambda: None)
    result = CliRunner().invoke(own if arguments[0] == "callbacks" else app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


async def _asked(store: SqliteStore, key: str, due: int) -> tuple[Message, CallRecord]:
    message, delivery = await put_one(store, PLACE)
    awaited = Awaited(key, PLACE, delivery.id, message.id, now_us(), due)
    call = make_call(
        store, PLACE, direction=Direction.OUT, message_id=message.id, delivery_id=delivery.id, awaited=awaited
    )
    await finish(store, delivery, DeliveryState.DELIVERED, call)
    return message, call


async def _fill(folder: Path) -> dict[str, str]:
    store = SqliteStore(folder, StoreConfig(min_free_disk=0))
    await store.open()
    try:
        first, call = await _asked(store, "T1", 1)
        overdue, _ = await _asked(store, "T2", 1)
        early, _ = await _asked(store, "T3", now_us() * 2)
        answer = make_message(store, source="lis/result", correlation="T1")
        answer.answer = Answer("T1", [PLACE], True)
        assert (await put(store, answer)).outcome is Outcome.OK
        await store.apply(bindings=[Binding(answer.id, first.id, call.delivery_id)])
        unknown = make_message(store, source="lis/result", correlation="T9")
        unknown.answer = Answer("T9", [PLACE], False)
        await put(store, unknown)
    finally:
        await store.close()
    ids = {"first": first, "overdue": overdue, "early": early, "answer": answer, "unknown": unknown}
    return {name: id_text(message.id) for name, message in ids.items()}


def test_what_is_awaited_and_what_is_overdue(config: Path) -> None:
    ids = asyncio.run(_fill(config.parent.parent / "var" / "worker-00"))
    rows = json.loads(run("callbacks", "--config", str(config), "--json"))["callbacks"]
    assert [(row["key"], row["message_id"], row["overdue"]) for row in rows] == [
        ("T3", ids["early"], False),
        ("T2", ids["overdue"], True),
    ]
    rows = json.loads(run("callbacks", "--overdue", "--config", str(config), "--json"))["callbacks"]
    assert [row["key"] for row in rows] == ["T2"]
    assert json.loads(run("callbacks", "--target", "his", "--config", str(config), "--json"))["callbacks"] == []
    assert "T2" in run("callbacks", "--config", str(config))


def test_show_prints_both_ends_of_the_chain(config: Path) -> None:
    ids = asyncio.run(_fill(config.parent.parent / "var" / "worker-00"))
    shown = run("show", ids["answer"], "--config", str(config))
    assert f"answers T1: message {ids['first']}, delivery " in shown
    shown = run("show", ids["first"], "--config", str(config))
    assert f"answered by: {ids['answer']}" in shown
    assert "answers T9: nothing known was sent" in run("show", ids["unknown"], "--config", str(config))
    chain = json.loads(run("show", ids["answer"], "--config", str(config), "--json"))["chain"]
    assert (chain["answers"]["state"], chain["answers"]["message_id"]) == ("bound", ids["first"])
