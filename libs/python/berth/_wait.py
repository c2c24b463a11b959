"""Waiting for a call that goes on by itself."""

from __future__ import annotations

import http.client
import time
from typing import Any, Dict, Optional

from ._client import client, path_of
from .exceptions import ApiError

_FINAL = ("success", "failure", "terminated")


def wait_for_call(call_id: str, timeout: Optional[float]) -> Optional[Dict[str, Any]]:
    """The call when it has ended; None where it has not within `timeout` seconds (None: as long as it takes). Its outputs
    end with it, so whoever follows them is told and need not ask again and again."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        found: Dict[str, Any] = client().get(path_of("/v1/function-calls/%s", call_id))
        if found["status"] in _FINAL:
            return found
        if deadline is not None and time.monotonic() >= deadline:
            return None
        try:
            path = path_of("/v1/function-calls/%s/outputs", call_id)
            for output in client().lines(path, deadline=deadline, follow=True):
                return output
        except ApiError as error:
            if error.code != "unavailable":
                raise
        except (OSError, http.client.HTTPException):
            pass  # The time is over, or the line broke: the call itself says which.
