"""A master key that never leaves its device (PKCS#11), on SoftHSM 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.keys.keys_device import PIN, TOKEN
from tests.peers.process import need

pytestmark = pytest.mark.peers

ROOT = Path(__file__).resolve().parents[2]
MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)


def test_a_master_key_in_a_device(tmp_path: Path) -> None:
    program = need("softhsm2-util", "softhsm2")
    module = next(path for path in MODULES if Path(path).exists())
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nlog.level = ERROR\n")
    environment = {**os.environ, "SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf"), "PYTHONPATH": str(ROOT)}
    made = [program, "--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", "87654321"]
    subprocess.run(made, check=True, capture_output=True, timeout=30, env=environment)
    done = subprocess.run(
        [sys.executable, "-m", "tests.keys.keys_device", module, str(tmp_path)],
        capture_output=True,
        timeout=60,
        env=environment,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().splitlines() == ["refused: keys.master", "sealed anew: 1", "same: True"]
