"""Orders in any sequence: the store always holds together, and is the same to whoever opens it anew."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hub.errors import HubError
from hub.keys import KeysError, KeyUnavailable
from hub.keys.model import Kind, Policy, State
from hub.keys.orders import Orders
from hub.keys.store import KeyStore
from tests.keys.keys_support import Clock, source

names = st.sampled_from(["one", "two"])
numbers = st.integers(1, 4)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = Clock()
        KeyStore.create(self.folder / "keys", source(self.folder))
        self.store = self.open()
        self.orders = Orders(self.store, actor="li")
        self.secrets: dict[tuple[str, int], bytes] = {}
        self.done = 1  # entries of the journal: the one of init

    def open(self) -> KeyStore:
        return KeyStore(self.folder / "keys", source(self.folder), clock=self.clock)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    def order(self, verb: str, *arguments: object, **options: object) -> None:
        """Carried out and in the journal, or refused and in nothing."""
        before = self.store.content
        try:
            getattr(self.orders, verb)(*arguments, **options)
        except (KeysError, KeyUnavailable):
            after = self.open()
            assert after.content == before
            after.close()
            return
        self.done += 1

    @rule(name=names, pending=st.booleans())
    def generate(self, name: str, pending: bool) -> None:
        self.order("generate", name, Kind.HMAC, "mac", policy=Policy(overlap_days=1), pending=pending)

    @rule(name=names, pending=st.booleans())
    def rotate(self, name: str, pending: bool) -> None:
        self.order("rotate", name, pending=pending)

    @rule(name=names, number=numbers)
    def activate(self, name: str, number: int) -> None:
        self.order("activate", name, number)

    @rule(name=names, number=numbers, days=st.sampled_from([None, 0, 3]))
    def retire(self, name: str, number: int, days: int | None) -> None:
        self.order("retire", name, number, opens_days=days)

    @rule(name=names, number=numbers)
    def revoke(self, name: str, number: int) -> None:
        self.order("revoke", name, number, reason="stolen")

    @rule(name=names, number=numbers)
    def destroy(self, name: str, number: int) -> None:
        self.order("destroy", name, number, reason="over")

    @rule(cipher=st.sampled_from(["aes", "sm4"]))
    def master(self, cipher: str) -> None:
        self.order("rotate_master", cipher)

    @rule(days=st.integers(1, 100))
    def time(self, days: int) -> None:
        self.clock.pass_days(days)

    @invariant()
    def holds_together(self) -> None:
        other = self.open()
        try:
            assert other.content == self.store.content
            assert other.verify_journal() == []
            assert len(other.journal()) == self.done
            for name, versions in other.content.versions.items():
                states = [version.state for version in versions.values()]
                assert states.count(State.ACTIVE) <= 1
                assert list(versions) == list(range(1, len(versions) + 1))
                opening = other.opening(name)
                for version in versions.values():
                    assert bool(version.sealed) == (version.state is not State.DESTROYED)
                    self.use(other, name, version.number, version.number in opening)
        finally:
            other._uses.clear()  # what the test looked at is no use
            other.close()

    def use(self, store: KeyStore, name: str, number: int, opens: bool) -> None:
        """What may be used opens, to the same secret whatever happened since; nothing else does."""
        try:
            secret = store.handle(name).version(number).secret
        except HubError:
            assert not opens
        else:
            assert opens
            assert self.secrets.setdefault((name, number), secret) == secret


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=9, stateful_step_count=15, deadline=None, derandomize=True)
