"""The demo itself: it ends with status 0, and only because what it tells has happened."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hub.config import load_config
from tests.demo.parties import CONFIG, Parties
from tests.demo.place import REPOSITORY

#: What the story has to tell, one piece of each chapter.
TOLD = (
    "finds nothing wrong with the configuration",
    "the LIS's 40 results in GB18030 are acknowledged CA",
    "a caller with a wrong token is turned away: 401",
    "AR segment 1 (MSH)",
    "400 line 2",
    "a message sent again is answered as the first time",
    "acknowledged AA although the platform is away",
    "sent again under the same key, and counted once",
    "every patient's messages arrived in the order they happened",
    "车辆基本信息未上报",
    "no dead letter is left",
    "the ledger balances",
    "the hub stops cleanly when told to",
    "Everything happened as told",
)


#: The same of the afternoon: what arrived at the other party, or how the flow of each area ended.
TOLD_LATER = (
    "the platform verified and decrypted every step, in their order",
    "`hub flows show` has both versions of the application",
    "the ministry opens all four with its own key",
    "the payment that does not match its waybill is found",
    "`hub flows complete`: the anomaly is withdrawn",
    "took back exactly that transaction (2601)",
    "the patient settles anew",
    "the report is registered at the hospital's platform",
    "reported DELIVRD",
    "as its delivery says",
    "WeChat Pay notifies, signed and encrypted, that it is paid",
    "which nobody paid, was asked for and closed",
    "one of two payments differs, by one yuan",
    "the blood centre, where he has none, is left out",
    "an application asks whether a token is good and gets the signed answer",
    "no party had to refuse a call of the hub",
    "the ledger balances",
    "finds nothing wrong with the configuration",
    "the hub stops cleanly when told to",
    "Everything happened as told",
)


@pytest.mark.xdist_group("demo")
@pytest.mark.timeout(190)
@pytest.mark.parametrize(("part", "told", "checks"), [("morning", TOLD, 50), ("afternoon", TOLD_LATER, 75)])
def test_the_story_is_true(part: str, told: tuple[str, ...], checks: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.demo", "--part", part, "--apart", str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "TONGQU_LANG": "en", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    story = done.stdout
    assert done.returncode == 0, story[-6000:] + done.stderr[-3000:]
    lines = " ".join(story.split())
    missing = [text for text in told if text not in lines]
    assert not missing, story
    assert "✗" not in story
    assert story.count("✓") >= checks


@pytest.mark.xdist_group("demo")
async def test_what_a_run_uses_is_its_own(tmp_path: Path) -> None:
    parties = Parties(tmp_path)
    try:
        await parties.start()
        configured = load_config(parties.place.config).hub
        shipped = load_config(CONFIG / "hub.yaml").hub
    finally:
        await parties.stop()
    assert configured.admin.port == 0
    assert set(configured.systems) == set(shipped.systems)
    for name, system in configured.systems.items():
        for setting, value in system.settings.items():
            before = shipped.systems[name].settings[setting]
            if setting in ("port", "notify_port") and name != "cmpp":
                assert value == 0, (name, setting)
            elif setting == "send_port" or "127.0.0.1:" in str(before) or (name == "cmpp" and setting == "port"):
                assert value != before, (name, setting)
            elif str(before).startswith("file:"):
                file = Path(str(value).removeprefix("file:"))
                assert file.is_relative_to(tmp_path)
                assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_demo_that_cannot_run_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "apart"
    folder.mkdir()
    (folder / "secrets").write_text("in the way")
    done = subprocess.run(
        [sys.executable, "-m", "tests.demo", "--apart", str(folder)],
        cwd=REPOSITORY,
        env={**os.environ, "TONGQU_LANG": "en"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "secrets" in done.stdout
    assert "Everything happened as told" not in done.stdout
