"""Many inputs as one call: put in as there is room for them, while the outputs are read.

A thread takes the inputs from the user's iterables and another puts them to the call, several at a time but none later than
it must be: what a slow iterable gives is on its way at once. The outputs are a log that is read by a cursor, so a broken
line is taken up where it broke.
"""

from __future__ import annotations

import http.client
import queue
import threading
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple

from . import _values as values
from ._client import client, path_of
from .exceptions import ApiError, InvalidError

_PUT_INPUTS_MAX = 1000
_PUT_BYTES_MAX = 2 * 1024 * 1024
# Inputs that are taken from the iterables before there is room for them.
_AHEAD_MAX = 1000
_END = object()

Arguments = Tuple[Iterable[Any], Dict[str, Any]]


def run_map(
    function_id: str,
    requests: Iterator[Arguments],
    *,
    order_outputs: bool,
    return_exceptions: bool,
    known: Dict[str, Any],
    pickles: bool,
) -> Iterator[Any]:
    """The results of one call of a function for each of `requests`."""
    opened = client().post(path_of("/v1/functions/%s/function-calls", function_id))
    call_id = opened["call_id"]
    feeder = _Feeder(call_id, requests, pickles)
    feeder.start()
    is_whole = False
    try:
        for output in _outputs(call_id, "index" if order_outputs else "recorded", feeder):
            try:
                result = values.result(output, known, pickles)
            except Exception as error:
                if not return_exceptions or output["status"] == "success":
                    raise
                result = error
            yield result
        feeder.raise_failure()
        is_whole = True
    finally:
        feeder.stop()
        if not is_whole:
            client().post(path_of("/v1/function-calls/%s/cancel", call_id))


def _outputs(call_id: str, order: str, feeder: _Feeder) -> Iterator[Dict[str, Any]]:
    """All outputs, once each, over as many lines as it takes."""
    cursor: Optional[str] = None
    count = 0
    while True:
        try:
            path = path_of("/v1/function-calls/%s/outputs", call_id)
            for output in client().lines(path, order=order, follow=True, after=cursor):
                cursor = output["cursor"]
                count += 1
                yield output
        except ApiError as error:
            if error.code != "unavailable":
                raise
        except (OSError, http.client.HTTPException):
            pass  # The line broke: on from the cursor.
        feeder.raise_failure()
        if feeder.total is not None and count >= feeder.total:
            return


class _Feeder:
    """Puts the inputs of one call."""

    def __init__(self, call_id: str, requests: Iterator[Arguments], pickles: bool) -> None:
        self._pickles = pickles
        self._call_id = call_id
        self._requests = requests
        self._ahead: queue.Queue[Any] = queue.Queue(_AHEAD_MAX)
        self._stopped = threading.Event()
        self._failure: Optional[BaseException] = None
        # How many inputs there are, once all were put.
        self.total: Optional[int] = None

    def start(self) -> None:
        for work in (self._take, self._put_all):
            threading.Thread(target=self._guarded, args=(work,), name="berth-map", daemon=True).start()

    def stop(self) -> None:
        """Puts nothing more."""
        self._stopped.set()
        try:
            while True:
                self._ahead.get_nowait()  # Makes room for whoever waits for some.
        except queue.Empty:
            pass
        try:
            self._ahead.put_nowait(_END)
        except queue.Full:
            pass

    def raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _guarded(self, work: Any) -> None:
        try:
            work()
        except BaseException as error:
            if self._stopped.is_set():
                return
            self._failure = error
            self.stop()
            # Its outputs end, which wakes whoever reads them.
            client().post(path_of("/v1/function-calls/%s/cancel", self._call_id))

    def _take(self) -> None:
        for index, (args, kwargs) in enumerate(self._requests):
            try:
                encoded = b'{"index":%d,%s}' % (index, values.fields(args, kwargs, self._pickles))
            except (TypeError, ValueError, RecursionError) as error:
                raise InvalidError("input %d cannot be sent as JSON: %s" % (index, error)) from None
            self._ahead.put(encoded)
            if self._stopped.is_set():
                return
        self._ahead.put(_END)

    def _put_all(self) -> None:
        count = 0
        is_last = False
        waiting: List[bytes] = []
        while not self._stopped.is_set():
            if not waiting and not is_last:
                is_last = self._gather(waiting)
            if not waiting and is_last:
                break
            body = b'{"inputs":[' + b",".join(waiting) + b"]}"
            answer = client().post(path_of("/v1/function-calls/%s/inputs", self._call_id), body)
            del waiting[: answer["num_accepted"]]
            count += answer["num_accepted"]
        if self._stopped.is_set():
            return
        self.total = count
        client().post(path_of("/v1/function-calls/%s/close", self._call_id))

    def _gather(self, waiting: List[bytes]) -> bool:
        """Waits for one input and takes what else is there; true where those were the last."""
        size = 0
        while len(waiting) < _PUT_INPUTS_MAX and size < _PUT_BYTES_MAX:
            try:
                one = self._ahead.get(block=not waiting)
            except queue.Empty:
                return False
            if one is _END:
                return True
            waiting.append(one)
            size += len(one)
        return False
