"""What is written below `@app.function`: how inputs and requests come to it."""

from __future__ import annotations

from typing import Any, Callable, TypeVar

from .functions import add_options

T = TypeVar("T")


def concurrent(*, max_inputs: int) -> Callable[[T], T]:
    """Runs up to so many inputs at a time in each container: plain functions in threads, async ones on one loop."""

    def decorate(target: T) -> T:
        return add_options(target, "concurrent", max_concurrent_inputs=max_inputs)

    return decorate


def batched(*, max_batch_size: int, wait_ms: int = 0) -> Callable[[T], T]:
    """Gathers up to so many inputs into one call of the function, which is given a list for each argument and returns a list
    of as many results; an exception in that list is the failure of its input alone. A batch that is not full waits
    `wait_ms` for what is missing."""
    batching = {"max_batch_size": max_batch_size, "wait_ms": wait_ms}

    def decorate(target: T) -> T:
        return add_options(target, "batched", batching=batching)

    return decorate


def web_endpoint(*, method: str = "GET", requires_proxy_auth: bool = False) -> Callable[[T], T]:
    """Answers HTTP requests: the query and the JSON body are its arguments, and what it returns is the answer. With
    `requires_proxy_auth` only requests with a proxy token of the workspace are let in."""
    return _web("web_endpoint", requires_proxy_auth, kind="endpoint", method=method)


def asgi_app(*, requires_proxy_auth: bool = False) -> Callable[[T], T]:
    """The function returns an ASGI app (FastAPI, Starlette, …), once per container; it answers all requests."""
    return _web("asgi_app", requires_proxy_auth, kind="asgi")


def wsgi_app(*, requires_proxy_auth: bool = False) -> Callable[[T], T]:
    """The function returns a WSGI app (Flask, Django, …), once per container; it answers all requests."""
    return _web("wsgi_app", requires_proxy_auth, kind="wsgi")


def web_server(port: int, *, requires_proxy_auth: bool = False) -> Callable[[T], T]:
    """The function starts a server that listens on `port`; it answers all requests."""
    return _web("web_server", requires_proxy_auth, kind="server", port=port)


def _web(decorator: str, requires_proxy_auth: bool, **web: Any) -> Callable[[T], T]:
    if requires_proxy_auth:
        web["requires_proxy_auth"] = True

    def decorate(target: T) -> T:
        return add_options(target, decorator, web=web)

    return decorate
