"""The heart of flows by itself: whatever the order of events, repeated or not, with or without restarts, the end is right."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import HubError
from hub.flows.core import FlowError, advance, begin
from hub.flows.definition import Definition
from hub.flows.events import Arrived, Cancelled, Completed, Event, Outcome, Retried, Sending, Settled, Tick
from hub.flows.state import Instance

_FLOW = b"""
start: {from: a/in, types: [order], key: no, set: {kind: kind, n: n}}
steps:
  - id: both
    parallel:
      branches:
        left:
          - id: reserve
            send: {to: a/out, until: reply, reply: {place: place}}
            compensate: {to: a/out, fields: {place: place}}
            on_error: {retry: {times: 1, every: 1s}, then: fail}
          - {id: rest, delay: 5s}
        right:
          - id: book
            send: {to: a/out, until: callback, callback: {slot: slot}, within: 20s}
            compensate: {to: a/out}
            on_error: {then: fail}
  - id: rounds
    repeat:
      until: n >= 2
      steps:
        - {id: count, set: {n: n + 1}}
        - id: paid
          wait: {for: {from: a/in, types: [payment], key: no}, within: 30s, on_timeout: {end: {name: unpaid, compensate: true}}}
  - id: ship
    send: {to: a/out}
    on_error: {then: fail}
deadline: {after: 300s}
"""
SECOND = 1_000_000


def _definition(text: bytes = _FLOW) -> Definition:
    return Definition.read("order", text)


class World:
    """A store, a clock and a partner who does each thing once for each number, and forgets nothing."""

    def __init__(self, definition: Definition, *, restarts: bool) -> None:
        self.definition = definition
        self.restarts = restarts
        self.now = 1_700_000_000 * SECOND
        self.instance: Instance
        self.outbox: dict[str, Sending] = {}
        self.effects: Counter[str] = Counter()
        self.seen: set[str] = set()
        self.past: list[Event] = []
        self.sent: list[str] = []

    def start(self) -> None:
        message = Arrived("e0", "a/in", "order", 1, {"no": "7", "kind": "x", "n": 0})
        self._keep(begin(self.definition, "0000000000001", "7", self.definition.model.start[0], message, self.now))

    def _keep(self, outcome: Outcome) -> None:
        self.instance = Instance.load(outcome.instance.dump()) if self.restarts else outcome.instance
        for sending in outcome.sendings:
            assert sending.control_id not in self.sent, "one number, two messages"
            self.sent.append(sending.control_id)
            self.outbox[sending.control_id] = sending

    def happen(self, event: Event) -> Outcome | None:
        """As the keeper does: a message that was taken is not let in again."""
        if isinstance(event, Arrived) and event.event in self.seen:
            return None
        outcome = advance(self.definition, self.instance, event, self.now, self._unpack)
        if isinstance(event, Arrived) and outcome.verdict != "ignored":
            self.seen.add(event.event)
        self.past.append(event)
        self._keep(outcome)
        return outcome

    def _unpack(self, pack: dict[str, Any]) -> Arrived:
        return Arrived(pack["event"], "a/in", pack["type"], pack["message"], pack["tree"], {"tree": pack["tree"]})

    def payment(self, number: int) -> None:
        tree = {"no": "7", "amount": number}
        self.happen(Arrived(f"p{number}", "a/in", "payment", 100 + number, tree, {"tree": tree}))

    def settle(self, sending: Sending, fate: str) -> None:
        """``ok``: done and told; ``lost``: done, but nobody knows; ``no``: not done."""
        del self.outbox[sending.control_id]
        step = f"{sending.step}{'~' if sending.undo else ''}"
        if fate in ("ok", "lost") and sending.control_id not in self.seen:
            self.effects[step] += 1
        if fate == "ok":
            self.happen(Settled(sending.control_id, True, "200", tree={"place": "P"}))
        else:
            self.happen(Settled(sending.control_id, False, "500", "no", unknown=fate == "lost"))

    def call_back(self, sending: Sending) -> None:
        """The later answer, perhaps before the reply."""
        event = f"c{sending.control_id}"
        self.happen(Arrived(event, "a/back", "booked", 50, {"slot": "S"}, {}, answers=sending.control_id))

    def finish(self) -> None:
        """Everybody answers, time passes: what is left to be done is done."""
        for round_ in range(400):
            if not self.instance.open:
                return
            for sending in list(self.outbox.values()):
                self.settle(sending, "ok")
                if sending.step == "book" and not sending.undo:
                    self.call_back(sending)
            self.payment(1000 + round_)
            if self.instance.state == "held":
                self.happen(Retried("", "li"))
            self.now += SECOND
            self.happen(Tick())
        raise AssertionError(self.instance)


_MOVES = st.lists(
    st.tuples(
        st.sampled_from(["ok", "ok", "ok", "lost", "no", "call", "pay", "tick", "again", "cancel"]), st.integers(0, 30)
    ),
    max_size=40,
)


def _play(world: World, moves: list[tuple[str, int]], *, repeats: bool) -> None:
    world.start()
    for move, number in moves:
        waiting = list(world.outbox.values())
        if move in ("ok", "lost", "no") and waiting:
            sending = waiting[number % len(waiting)]
            # What undoes is tried until it is done: the partner never refuses it for ever.
            world.settle(sending, "ok" if sending.undo else move)
        elif move == "call":
            sent = next((s for s in waiting if s.step == "book" and not s.undo), None)
            if sent is not None:
                world.call_back(sent)
        elif move == "pay":
            world.payment(number)
        elif move == "tick":
            world.now += number * SECOND
            world.happen(Tick())
        elif move == "cancel" and number == 0 and world.instance.open and world.instance.closing is None:
            world.happen(Cancelled("li", "why"))
        elif move == "again" and repeats and world.past:
            event = world.past[number % len(world.past)]
            if isinstance(event, Settled | Arrived):
                before = world.instance.dump()
                outcome = world.happen(event)
                if outcome is not None and isinstance(event, Settled):
                    assert outcome.sendings == []
                    assert Instance.load(before).at == world.instance.at
    world.finish()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(_MOVES)
def test_every_end_is_right_whatever_happens_in_whatever_order(moves: list[tuple[str, int]]) -> None:
    world = World(_definition(), restarts=True)
    _play(world, moves, repeats=True)
    one, effects = world.instance, world.effects
    assert one.state in ("ended", "failed", "cancelled")
    if one.state == "ended" and one.end == "completed":
        assert effects["ship"] >= 1
        assert not any(step.endswith("~") for step in effects)
    else:
        for step in ("reserve", "book"):
            # What may have been done is undone, once for each time the flow went through the step.
            assert effects[f"{step}~"] <= 1
            if effects[step]:
                assert effects[f"{step}~"] == 1
    assert len(world.sent) == len(set(world.sent))
    assert one.due == 0
    assert one.at == {}
    assert one.strays == {}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(_MOVES)
def test_restarts_and_repetitions_make_no_difference(moves: list[tuple[str, int]]) -> None:
    plain, other = World(_definition(), restarts=False), World(_definition(), restarts=True)
    _play(plain, moves, repeats=False)
    _play(other, moves, repeats=True)
    assert plain.effects == other.effects
    assert plain.sent == other.sent
    assert plain.instance.dump() == other.instance.dump()


def _begun(text: bytes, **tree: Any) -> Outcome:
    definition = Definition.read("order", text)
    message = Arrived("e0", "", "t", 1, {"no": "1", **tree})
    return begin(definition, "0000000000001", "1", definition.model.start[0], message, 1)


def test_a_loop_without_a_wait_ends_as_a_failure() -> None:
    text = b"start: {key: no}\nsteps:\n  - {id: a, set: {x: '1'}}\n  - {id: b, choose: [{goto: a}]}\n"
    one = _begun(text).instance
    assert (one.state, one.error["code"]) == ("failed", "flow.loop")


def test_an_expression_that_fails_holds_the_step() -> None:
    text = b"start: {key: no, set: {word: word}}\nsteps:\n  - {id: a, set: {x: 'word + 1'}}\n"
    one = _begun(text, word="abc").instance
    assert one.state == "held"
    assert one.steps["a"].state == "held"


def test_orders_that_can_not_be_are_refused_and_change_nothing() -> None:
    text = b"start: {key: no}\nsteps:\n  - {id: a, wait: {for: {key: no, types: [x]}}}\n"
    definition = Definition.read("order", text)
    one = _begun(text).instance
    for event in (Retried("", "li"), Retried("a", "li")):
        with pytest.raises(FlowError, match="held are"):
            advance(definition, one, event, 2, lambda pack: pytest.fail("nothing is kept"))
    with pytest.raises(HubError):
        advance(
            definition, one, Arrived("e", "", "x", 2, {"no": {"not": "one"}}), 2, lambda pack: pytest.fail("nothing")
        )
    assert one.at == {"": "a"}


def test_the_clock_goes_on_through_a_jump_and_believes_one_that_lasts() -> None:
    from hub.flows.clock import Clock

    now = {"wall": 1000.0, "steady": 50.0}
    clock = Clock(lambda: now["wall"], lambda: now["steady"])

    def pass_time(seconds: float, jump: float = 0.0) -> int:
        now["wall"] += seconds + jump
        now["steady"] += seconds
        return clock()

    assert clock() == 1000 * SECOND
    assert pass_time(1, jump=86_400) == 1001 * SECOND
    assert pass_time(30) == 1031 * SECOND
    assert pass_time(31) == (1062 + 86_400) * SECOND
    later = clock()
    assert pass_time(1, jump=-86_400) >= later  # never back
    assert pass_time(61) >= later


def test_a_later_answer_may_come_before_the_reply() -> None:
    text = b"""
start: {key: no}
steps:
  - {id: a, send: {to: x/y, until: callback, reply: {place: place}, callback: {slot: slot}}}
"""
    definition = Definition.read("order", text)
    outcome = _begun(text)
    sent = outcome.sendings[0].control_id

    def happen(one: Instance, event: Event) -> Instance:
        return advance(definition, one, event, 2, lambda pack: pytest.fail("nothing is kept")).instance

    answer = Arrived("c", "x/back", "booked", 5, {"slot": "S"}, {}, answers=sent)
    reply = Settled(sent, True, tree={"place": "P"})
    early, late = happen(outcome.instance, answer), happen(outcome.instance, reply)
    assert early.at == late.at == {"": "a"}
    ends = [happen(early, reply), happen(late, answer)]
    assert [(one.state, one.vars) for one in ends] == [("ended", {"place": "P", "slot": "S"})] * 2
    # The answer proves that it was delivered, even if the hub never heard so.
    lost = happen(early, Settled(sent, False, "500", "timeout", unknown=True))
    assert (lost.state, lost.vars) == ("ended", {"slot": "S"})


@pytest.mark.parametrize(
    ("kind", "given", "kept"),
    [
        ("number", "12.50", "12.50"),
        ("number", 3, "3"),
        ("number", "x", None),
        ("number", True, None),
        ("boolean", "true", "True"),
        ("boolean", "yes", None),
        ("text", 3, None),
    ],
)
def test_what_a_person_fills_in_is_checked(kind: str, given: Any, kept: str | None) -> None:
    text = f"start: {{key: no}}\nsteps:\n  - {{id: a, manual: {{role: r, fields: {{x: {{type: {kind}}}}}}}}}\n".encode()
    definition, one = Definition.read("order", text), _begun(text).instance
    event = Completed("a", "done", {"x": given}, "li")
    if kept is None:
        with pytest.raises(FlowError, match="x must be"):
            advance(definition, one, event, 2, lambda pack: pytest.fail("nothing"))
    else:
        assert str(advance(definition, one, event, 2, lambda pack: pytest.fail("nothing")).instance.vars["x"]) == kept
