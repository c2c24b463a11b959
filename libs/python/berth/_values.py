"""Values on their way: as JSON, which every language reads and which shows in the API, or as Python's own pickles.

A pickle may run code where it is read. So one is read only of functions that the caller's own code describes, or of those that it
says it trusts; never because a container sent one.
"""

from __future__ import annotations

import base64
import json
import pickle
from typing import Any, Dict, Iterable

from ._blobs import BYTES_MAX, get, put
from ._client import client, encode, path_of
from .exceptions import InvalidError, remote_exception

# Every Python that can run this reads it.
_PROTOCOL = 4

# Larger arguments go around the queue: the platform takes up to 16 MiB with a request.
_INLINE_BYTES_MAX = 8 * 1024 * 1024


def fields(args: Iterable[Any], kwargs: Dict[str, Any], pickles: bool) -> bytes:
    """The arguments of one input, as fields of a JSON document. Raises InvalidError for what cannot be pickled, and as `encode`
    for what JSON cannot hold."""
    if not pickles:
        given = encode({"args": list(args), "kwargs": kwargs})
        return given[1:-1] if len(given) <= _INLINE_BYTES_MAX else _stored(given, "json")
    try:
        payload = pickle.dumps((tuple(args), kwargs), _PROTOCOL)
    except Exception as error:
        raise InvalidError("the arguments cannot be pickled: %s" % error) from None
    if len(payload) > _INLINE_BYTES_MAX:
        return _stored(payload, "pickle")
    return b'"payload":"%s","format":"pickle"' % base64.b64encode(payload)


def _stored(payload: bytes, format: str) -> bytes:
    if len(payload) > BYTES_MAX:
        raise InvalidError(
            "the arguments are %d bytes long, and at most %d may be given: put them into a volume" % (len(payload), BYTES_MAX)
        )
    return ('"blob":"%s","format":"%s"' % (put(payload), format)).encode("ascii")


def result(found: Dict[str, Any], known: Dict[str, Any], pickles: bool) -> Any:
    """The result of a call or an output that has ended; raises what it failed by."""
    if found["status"] != "success":
        raise remote_exception(found.get("error"), found["call_id"], known)
    blob = found.get("result_blob")
    if found.get("result_format") != "pickle":
        return json.loads(get(blob)) if blob else found["result"]
    if not pickles:
        raise InvalidError(
            "the result of %s is a pickle, and reading one may run code: say pickle=True where you trust the function"
            % found["call_id"]
        )
    if blob:
        return pickle.loads(get(blob))
    inline = found.get("result_bytes")
    if inline is not None:
        return pickle.loads(base64.b64decode(inline))
    path = path_of("/v1/function-calls/%s/result", found["call_id"])
    return pickle.loads(client().get_bytes(path, index=found.get("index", 0)))
