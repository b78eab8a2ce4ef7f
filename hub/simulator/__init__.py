"""The other party of a plugin, played from its contract: what it would take, refuse and answer, and what it would send."""

from __future__ import annotations

from hub.simulator.behaviour import Behaviour, Kind, parse_behaviour
from hub.simulator.calls import SimulatedCall, SimulatedReply
from hub.simulator.simulator import Simulator

__all__ = ["Behaviour", "Kind", "SimulatedCall", "SimulatedReply", "Simulator", "parse_behaviour"]
