"""Sets the clock of a Python process that finds this on its path: by the seconds written in the file ``CHAOS_CLOCK``.

The clock that only goes forward (``time.monotonic``) stays as it is, as when a machine's time of day is set.
"""

import os
import time

_file = os.environ["CHAOS_CLOCK"]
_real = time.time_ns
_offset = 0
_next_look = 0.0


def _shifted() -> int:
    global _offset, _next_look
    now = time.monotonic()
    if now >= _next_look:
        _next_look = now + 0.02
        try:
            with open(_file, encoding="utf-8") as file:
                _offset = int(float(file.read()) * 1e9)
        except (OSError, ValueError):
            pass  # it is being written just now
    return _real() + _offset


time.time_ns = _shifted
time.time = lambda: _shifted() / 1e9
