"""What can go wrong, as exceptions. All of them are `berth.exceptions.Error`, but for those of the user's own code."""

from __future__ import annotations

import builtins
from typing import Any, Dict, Mapping, Optional


class Error(Exception):
    """Anything that Berth says about a call, an app or a credential."""


class ConnectionError(Error):
    """The platform does not answer."""


class AuthError(Error):
    """There is no credential, or it does not open what was asked for."""


class ApiError(Error):
    """The platform refused a request: `code` as the REST API has it, `field` the input at fault or None."""

    def __init__(self, status: int, code: str, message: str, field: Optional[str], request_id: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.field = field
        self.request_id = request_id


class NotFoundError(ApiError):
    """There is no such app, function or call, or it is not yours."""


class InvalidError(Error):
    """An app, a function or a call was described in a way that cannot work."""


class TimeoutError(Error, builtins.TimeoutError):
    """`FunctionCall.get(timeout=…)` has waited that long. The call goes on."""


class RemoteError(Error):
    """A call failed, by an exception whose class is not known here, or by the platform's hand.

    `type` is the exception's class name, or `timeout`, `out_of_memory`, `container_exited`, `init_failed`,
    `result_invalid`, `cancelled` or `infrastructure`. `traceback` holds the user's own lines, or is None.
    """

    def __init__(self, type: str, message: str, traceback: Optional[str] = None, call_id: str = "") -> None:
        super().__init__("%s: %s" % (type, message) if message else type)
        self.type = type
        self.message = message
        self.traceback = traceback
        self.call_id = call_id


class FunctionTimeoutError(RemoteError):
    """An input ran for longer than its function's `timeout`."""


class CancelledError(RemoteError):
    """The call was cancelled, or its app was stopped."""


class RemoteTraceback(Exception):
    """The cause of an exception that was raised in a container: prints where, in the user's own lines."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return "\n\n%s" % self.text.rstrip("\n")


_PLATFORM: Dict[str, type] = {"timeout": FunctionTimeoutError, "cancelled": CancelledError}


def remote_exception(
    error: Optional[Mapping[str, Any]], call_id: str, known: Mapping[str, Any] = {}
) -> BaseException:
    """The exception that a failed outcome stands for.

    One of the user's own is raised as its class where that can be found: among Python's, or in `known`, the module of
    the function that was called. An exception is not made by its constructor, which may want anything.
    """
    if not error:
        return CancelledError("cancelled", "the call was terminated", None, call_id)
    kind, message, traceback = error["type"], error["message"], error.get("traceback")
    found = _PLATFORM.get(kind) or known.get(kind) or getattr(builtins, kind, None)
    raised: BaseException
    if isinstance(found, type) and issubclass(found, RemoteError):
        raised = found(kind, message, traceback, call_id)
    elif isinstance(found, type) and issubclass(found, Exception):
        try:
            raised = found.__new__(found)
            raised.args = (message,)
            str(raised)  # Its own words may need what only its constructor sets.
        except Exception:
            raised = RemoteError(kind, message, traceback, call_id)
    else:
        raised = RemoteError(kind, message, traceback, call_id)
    if traceback:
        raised.__cause__ = RemoteTraceback(traceback)
    return raised
