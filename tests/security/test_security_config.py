"""``security`` in a configuration: schemes of plugins, mistakes told with their place, secrets that never show, keys that change."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.check import check
from hub.deployment import load_deployment
from hub.keys import material
from hub.keys.config import KeysConfig
from hub.keys.model import Kind, Policy
from hub.keys.opened import close_key_store, folder_of, master_source
from hub.keys.orders import Orders
from hub.keys.store import KeyStore
from hub.message import DeliveryState, Outcome
from hub.security import Wire
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Site
from tests.security.test_around import protection

PLANTED = "planted-secret-8d1f"
_SCHEMES = """
from pydantic import SecretStr

from hub.api import Opening, Refused, Scheme, SchemeOptions, Wire, hookimpl


class TokenOptions(SchemeOptions):
    secret: SecretStr


class Token(Scheme):
    name = "hospital_token"
    options = TokenOptions

    def seal_request(self, wire: Wire) -> None:
        wire.body = self._options.secret.get_secret_value().encode() + wire.body

    def open_request(self, wire: Wire, opening: Opening) -> None:
        mark = self._options.secret.get_secret_value().encode()
        if not wire.body.startswith(mark):
            raise Refused("unknown token")
        wire.body = wire.body[len(mark):]
        opening.notes["token"] = "known"


class Careless(Scheme):
    name = "careless"
    options = TokenOptions

    def open_request(self, wire: Wire, opening: Opening) -> None:
        raise RuntimeError("the secret is " + self._options.secret.get_secret_value())

    seal_request = None


class Picky(Scheme):
    name = "picky"

    def __init__(self, options):
        raise RuntimeError("always")


@hookimpl
def hub_security_schemes():
    return [Token, Careless, Picky]
"""


def schemes(site: Site) -> None:
    site.plugin(
        "extra",
        "id: extra\nname: adds schemes\ninterfaces:\n  x: {direction: out, adapter: wire, codec: json}\n",
        _SCHEMES,
    )


async def test_a_scheme_of_a_plugin_works_in_and_out(site: Site, start: StartHub) -> None:
    schemes(site)
    token: list[Any] = [{"hospital_token": {"secret": "{mark}"}}]
    site.system("his", "his", **{"in": {"security": token}})
    site.target(security=token)
    hub = await start(site)
    assert (await hub.wire.submit("his/in", b'{mark}{"id":"a","type":"t"}')).accepted
    await hub.reached(DeliveryState.DELIVERED)
    assert hub.wire.peer().calls[0].body == b'{mark}{"id":"a","type":"t"}'
    assert not (await hub.wire.submit("his/in", b'{"id":"a","type":"t"}')).accepted
    calls = await hub.logged("his/in", 2)
    assert "known" in calls[0].params


async def test_a_scheme_that_throws_costs_its_own_interface_and_tells_nothing(
    site: Site, start: StartHub, caplog: pytest.LogCaptureFixture
) -> None:
    schemes(site)
    site.system("his", "his", **{"in": {"security": [{"careless": {"secret": PLANTED}}]}})
    site.target(security=[{"careless": {"secret": PLANTED}}])
    site.system("other", "his")
    site.config["routes"]["to_sink"] = {"from": "other", "to": "sink/up"}
    hub = await start(site)
    with caplog.at_level(logging.DEBUG):
        receipt = await hub.wire.submit("his/in", b'{"id":"a","type":"t"}')
        assert (await hub.wire.submit("other/in", b'{"id":"b","type":"t"}')).accepted
        (dead,) = await hub.reached(DeliveryState.DEAD)
    assert receipt.outcome is Outcome.REFUSED
    assert receipt.error is not None
    told = [receipt.error.text, dead.reason, caplog.text, *(str(call) for call in await hub.logged("his/in", 1))]
    assert "careless" in told[0]
    assert PLANTED not in "".join(told)


@pytest.mark.parametrize(
    ("entries", "key", "told"),
    [
        (["signatur"], "security[0]", "did you mean"),
        ([{"signature": {}, "encryption": {}}], "security[0]", "one name"),
        ([17], "security[0]", "a scheme is a name"),
        (["x_tif"], "security[0]", "needs an adapter over HTTP"),
        ([{"encryption": {"key": "abc"}}], "security[0].encryption", "hex"),
        ([{"encryption": {"key": "00" * 16, "algoritm": "sm4-cbc"}}], "security[0].encryption.algoritm", "unknown key"),
        (
            [{"signature": {"secret": "s", "at": {"field": "s"}, "text": "{nobody}", "values": {}}}],
            "security[0]",
            "nobody",
        ),
        (["picky"], "security[0]", "RuntimeError"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_key(site: Site, entries: list[Any], key: str, told: str) -> None:
    schemes(site)
    site.target(security=entries)
    file = site.write()
    (problem,) = [p for p in check(file).problems if "security" in p.key]
    assert problem.file.endswith("hub.yaml")
    assert problem.line > 0
    assert problem.key.startswith(f"systems.sink.interfaces.up.{key}")
    assert told in str(problem)
    line = file.read_text(encoding="utf-8").splitlines()[problem.line - 1]
    assert "security" in line or line.strip().startswith(("-", "algoritm", "encryption", "signature", "text"))


@pytest.mark.parametrize(
    ("adapter", "codec", "listen"),
    [
        ("mllp", "hl7v2", {"port": 0}),
        ("astm", "astm", {"port": 0}),
        ("fhir", "fhir", {"path": "/fhir", "auth": {"type": "none"}}),
    ],
)
def test_an_adapter_that_reads_what_it_carries_says_so(
    site: Site, adapter: str, codec: str, listen: dict[str, Any]
) -> None:
    contract = {
        "direction": "in", "adapter": adapter, "codec": codec, "listen": listen,
        "security": [{"encryption": {"key": "00" * 16}}],
    }  # fmt: skip
    site.plugin("it", orjson.dumps({"id": "it", "name": "it", "interfaces": {"x": contract}}).decode())
    site.config["systems"]["it"] = {"plugin": "it"}
    problems = load_deployment(site.write()).problems
    assert any("can't sign or encrypt" in p.text and p.key.endswith("security") for p in problems), problems


def test_no_secret_shows_in_a_problem_or_in_what_is_loaded(site: Site) -> None:
    good = {"signature": {"secret": PLANTED, "earlier": [PLANTED + "-old"], "at": {"field": "s"}, "fields": {}}}
    bad = {"encryption": {"key": PLANTED}}
    site.target("good", security=[good])
    site.target("bad", security=[bad])
    deployment = load_deployment(site.write())
    shown = [repr(deployment.outbound["good/up"].protection), *map(str, deployment.problems)]
    bound = deployment.outbound["good/up"]
    assert bound.protection is not None
    shown += [repr(scheme.__dict__) for scheme in bound.protection.schemes]
    assert deployment.problems
    assert PLANTED not in "".join(shown)


async def test_a_rotated_key_is_used_after_a_reload(site: Site, start: StartHub) -> None:
    """The key store gives the secret; the former one is named with its version and still opens what is under way."""
    keys = KeysConfig(path="../keys", master="file:../master.key")
    site.config["keys"] = keys.model_dump(include={"path", "master"})
    base = site.file.parent
    base.mkdir()
    KeyStore.create(folder_of(keys, base), master_source(keys.master, base))

    def rotate(secret: bytes) -> None:
        with KeyStore(folder_of(keys, base), master_source(keys.master, base)) as store:
            found = material.read(Kind.SECRET, secret)
            Orders(store, actor="li").import_("partner", Kind.SECRET, "signing", found, policy=Policy())

    rotate(b"first-shared-secret")
    site.plugin("signed", _HIS_WITH_KEY)
    site.config["systems"]["lab"] = {"plugin": "signed", "settings": {"channel": site.channel, "key": "key:partner"}}
    site.target()
    site.config["routes"]["to_sink"]["from"] = "lab"
    hub = await start(site)

    async def call(secret: str, number: str) -> bool:
        wire = Wire(orjson.dumps({"id": number, "type": "t"}))
        options = {"secret": secret, "fields": {}, "at": {"field": "sign"}}
        await protection({"signature": options}).seal_request(wire)
        return (await hub.wire.submit("lab/in", wire.body)).accepted

    try:
        assert await call("first-shared-secret", "a")
        rotate(b"second-shared-secret")
        await hub.reload()
        assert await call("second-shared-secret", "b")
        assert not await call("first-shared-secret", "c")
        site.config["systems"]["lab"]["settings"]["old"] = "key:partner@1"
        overlap = {"secret": "${key}", "earlier": ["${old}"], "fields": {}, "at": {"field": "sign"}}
        site.config["systems"]["lab"]["interfaces"] = {"in": {"security": [{"signature": overlap}]}}
        await hub.reload()
        assert await call("first-shared-secret", "d")
        assert await call("second-shared-secret", "e")
    finally:
        close_key_store(keys, base)


async def test_changed_security_is_in_use_after_a_reload(site: Site, start: StartHub) -> None:
    first, second = ({"encryption": {"key": digit * 32}} for digit in "ab")
    site.system("his", "his", **{"in": {"security": [first]}})
    site.target(security=[first])
    hub = await start(site)

    async def call(entry: dict[str, Any], number: str) -> bool:
        wire = Wire(orjson.dumps({"id": number, "type": "t"}))
        await protection(entry).seal_request(wire)
        return (await hub.wire.submit("his/in", wire.body)).accepted

    assert await call(first, "a")
    await hub.reached(DeliveryState.DELIVERED, 1)
    site.system("his", "his", **{"in": {"security": [second]}})
    site.target(security=[second])
    await hub.reload()
    assert await call(second, "b")
    assert not await call(first, "c")
    await hub.reached(DeliveryState.DELIVERED, 2)
    sent = Wire(hub.wire.peer().calls[-1].body)
    protection(second).open_now(sent)
    assert orjson.loads(sent.body)["id"] == "b"


_HIS_WITH_KEY = """
id: signed
name: signs with a key of the key store
settings:
  channel: {type: string, required: true}
  key: {type: secret, required: true}
  old: {type: secret}
interfaces:
  in:
    direction: in
    adapter: wire
    listen: {channel: "${channel}"}
    codec: json
    type: type
    control_id: id
    security:
      - signature: {secret: "${key}", fields: {}, at: {field: sign}}
"""


def test_documented_schemes_and_options_are_real() -> None:
    """Every scheme the page names exists, and the other way round."""
    from hub.security.load import BUILT_IN

    page = (Path(__file__).parents[2] / "docs" / "security-schemes.md").read_text(encoding="utf-8")
    for name in BUILT_IN:
        assert f"`{name}`" in page, name
