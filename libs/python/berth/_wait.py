"""Waiting for a call that goes on by itself."""

from __future__ import annotations

import time
from typing import Any, Dict, Optional

from ._client import client, path_of

_PAUSE_FIRST = 0.02
_PAUSE_LAST = 1.0
_FINAL = ("success", "failure", "terminated")


def wait_for_call(call_id: str, timeout: Optional[float]) -> Optional[Dict[str, Any]]:
    """The call when it has ended; None where it has not within `timeout` seconds (None: as long as it takes)."""
    until = None if timeout is None else time.monotonic() + timeout
    pause = _PAUSE_FIRST
    while True:
        found = client().get(path_of("/v1/function-calls/%s", call_id))
        if found["status"] in _FINAL:
            return found
        left = pause if until is None else min(pause, until - time.monotonic())
        if left <= 0:
            return None
        time.sleep(left)
        pause = min(2 * pause, _PAUSE_LAST)
