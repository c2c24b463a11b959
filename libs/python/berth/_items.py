"""What a generator yields in a container, read by a cursor: a broken line is taken up where it broke."""

from __future__ import annotations

import http.client
from typing import Any, Dict, Iterator, Optional

from ._client import client, path_of
from ._wait import wait_for_call
from .exceptions import ApiError, remote_exception


def run_generator(call_id: str, known: Dict[str, Any]) -> Iterator[Any]:
    """The items of one call, and the exception that it ended by."""
    index: Optional[int] = None
    has_ended = False
    try:
        while not has_ended:
            try:
                path = path_of("/v1/function-calls/%s/items", call_id)
                for item in client().lines(path, follow=True, after=index):
                    index = item["index"]
                    yield item["value"]
                has_ended = wait_for_call(call_id, 0) is not None
            except ApiError as error:
                if error.code != "unavailable":
                    raise
            except (OSError, http.client.HTTPException):
                pass  # The line broke: on from the last item.
        found = wait_for_call(call_id, None) or {}
        if found.get("status") != "success":
            raise remote_exception(found.get("error"), call_id, known)
    finally:
        if not has_ended:
            client().post(path_of("/v1/function-calls/%s/cancel", call_id))
