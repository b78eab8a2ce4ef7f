"""The demo itself: it ends with status 0, and only because what it tells has happened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.xdist_group("demo")
@pytest.mark.timeout(170)
def test_the_story_is_true(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.demo", "--apart", str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "TONGQU_LANG": "en", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=160,
        check=False,
    )
    told = done.stdout
    assert done.returncode == 0, told[-6000:] + done.stderr[-3000:]
    missing = [text for text in TOLD if text not in told]
    assert not missing, told
    assert "✗" not in told
    assert told.count("✓") >= 50


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
