"""An afternoon at the hub: one exchange of each area, from the first message to the end of its flow, checked where it arrives.

The other parties are played from the contracts (:mod:`tests.demo.parties`): what they say they got was decrypted and its signature
verified by them. What the hub says of it comes from its admin API and its command line.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from hub.i18n import t
from tests.demo import accounts, cases, consignments, samples
from tests.demo.checks import Checks
from tests.demo.hub import DemoError, Hub
from tests.demo.parties import Parties
from tests.demo.place import REPOSITORY

__all__ = ["Afternoon"]


class Afternoon:
    """What the stories of the areas share."""

    def __init__(self, parties: Parties, hub: Hub, checks: Checks) -> None:
        self.parties, self.hub, self.checks = parties, hub, checks
        self._numbers = itertools.count(1)
        self._day = f"{datetime.now():%Y%m%d}"

    async def tell(self) -> None:
        """All of it. Raises :class:`tests.demo.hub.DemoError` when it can't go on."""
        # Every mapping is compiled for it, which takes its time; the afternoon goes on meanwhile.
        checking = asyncio.create_task(self.hub.cli_json("check"))
        try:
            await self._stories()
            self._configuration(await checking)
        finally:
            checking.cancel()

    async def _stories(self) -> None:
        await self.hub.start()
        self.parties.hear((await self.hub.status())["inbound"])
        # Nobody pays this one: it is closed while the rest of the afternoon goes on.
        await accounts.unpaid(self)
        await cases.licence(self)
        await consignments.freight(self)
        await accounts.insurance(self)
        await samples.laboratory(self)
        await accounts.payments(self)
        await cases.portal(self)
        await self._books()

    def _configuration(self, checked: Any) -> None:
        self.checks.expect(
            t("`hub check` finds nothing wrong with the configuration", "`hub check` 确认配置无误"),
            [],
            [problem["text"] for problem in checked["problems"]],
        )

    async def _books(self) -> None:
        checks = self.checks
        checks.chapter(t("17:30 – the books", "17:30 对账"))
        checks.expect(
            t("no party had to refuse a call of the hub", "各方均未拒绝枢纽的任何调用"), [], self.parties.refused()
        )
        found = await self.hub.cli_json("verify-ledger")
        checks.expect(t("the ledger balances", "账目平衡"), (True, []), (found["balanced"], found["problems"]))
        open_ = {r["target"]: (r["dead"], r["held"], r["moving"]) for r in found["rows"] if r["dead"] + r["moving"]}
        checks.expect(
            t(
                "open are the settlement whose outcome nobody knew, and the text message that waits for the morning",
                "仅余一笔结果未知的结算（已冲正）与一条等待天亮的短信",
            ),
            {"insurance/settlement": (1, 0, 0), "cmpp/send": (0, 0, 1)},
            open_,
        )
        listed = (await self.hub.cli_json("flows", "list"))["instances"]
        for row in reversed(listed):
            checks.say(f"{row['flow']} {row['state']} {row['end_name'] or row['end'] or ', '.join(row['at'])}".rstrip())

    # -- what the stories use ------------------------------------------------------------------------------------

    def number(self, prefix: str, digits: int = 6) -> str:
        """A number nobody has used today."""
        return f"{prefix}{self._day}{next(self._numbers):0{digits}}"

    def example(self, plugin: str, name: str) -> Any:
        """An example of a plugin, ``group/plugin``."""
        file: Path = REPOSITORY / "plugins" / plugin / "examples" / f"{name}.json"
        return json.loads(file.read_text("utf-8"))

    async def arrives(self, what: str, place: str, count: int = 1) -> list[Any]:
        """``count`` calls have been accepted by the party of ``system/interface``; what they said."""

        def accepted() -> int:
            return sum(call.verdict == "accepted" for call in self.parties.calls(place))

        await self.checks.eventually(what, count, accepted)
        found = self.parties.got(place)
        if len(found) < count:
            raise DemoError(f"{place}: {len(found)} / {count}")
        return found

    async def instance(self, flow: str, key: str) -> dict[str, Any]:
        """The instance with a business key, as the admin API shows it; empty while there is none."""
        found = (await self.hub.get(f"/api/v1/flows/instances?flow={flow}&key={key}&limit=1"))["instances"]
        return dict(found[0]) if found else {}

    async def flow_ends(self, what: str, flow: str, key: str, end: str) -> dict[str, Any]:
        """The flow comes to this end."""

        async def seen() -> str:
            return str((await self.instance(flow, key)).get("end", ""))

        await self.checks.eventually(what, end, seen)
        return await self.instance(flow, key)

    async def flow_waits(self, what: str, flow: str, key: str, step: str) -> dict[str, Any]:
        """The flow comes to this step."""

        async def seen() -> list[str]:
            found: list[str] = (await self.instance(flow, key)).get("at", [])
            return found

        await self.checks.eventually(what, [step], seen)
        return await self.instance(flow, key)

    async def decides(self, instance: str, step: str, choice: str, opinion: str) -> None:
        """A person decides a manual step, at the command line."""
        said = await self.hub.cli("flows", "complete", instance, step, choice, "-f", f"opinion={opinion}")
        if said.status:
            raise DemoError(f"hub flows complete: {said.error[-500:] or said.out[-500:]}")
