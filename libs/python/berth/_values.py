"""Values on their way: as JSON, which every language reads and which shows in the API, or as Python's own pickles.

A pickle may run code where it is read. So one is read only of functions that the caller's own code describes, or of those that it
says it trusts; never because a container sent one.
"""

from __future__ import annotations

import base64
import pickle
from typing import Any, Dict, Iterable

from ._client import client, path_of
from .exceptions import InvalidError, remote_exception

# Every Python that can run this reads it.
_PROTOCOL = 4


def request(args: Iterable[Any], kwargs: Dict[str, Any], pickles: bool) -> Dict[str, Any]:
    """The arguments of one input, as a document. Raises InvalidError for what cannot be pickled."""
    if not pickles:
        return {"args": list(args), "kwargs": kwargs}
    try:
        payload = pickle.dumps((tuple(args), kwargs), _PROTOCOL)
    except Exception as error:
        raise InvalidError("the arguments cannot be pickled: %s" % error) from None
    return {"payload": base64.b64encode(payload).decode("ascii"), "format": "pickle"}


def result(found: Dict[str, Any], known: Dict[str, Any], pickles: bool) -> Any:
    """The result of a call or an output that has ended; raises what it failed by."""
    if found["status"] != "success":
        raise remote_exception(found.get("error"), found["call_id"], known)
    if found.get("result_format") != "pickle":
        return found["result"]
    if not pickles:
        raise InvalidError(
            "the result of %s is a pickle, and reading one may run code: say pickle=True where you trust the function"
            % found["call_id"]
        )
    inline = found.get("result_bytes")
    if inline is not None:
        return pickle.loads(base64.b64decode(inline))
    path = path_of("/v1/function-calls/%s/result", found["call_id"])
    return pickle.loads(client().get_bytes(path, index=found.get("index", 0)))
