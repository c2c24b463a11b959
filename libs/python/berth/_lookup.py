"""Which function on the platform a name stands for."""

from __future__ import annotations

import os
import threading
from typing import Any, Dict, Optional, Tuple

from ._client import Client, path_of
from .exceptions import Error, NotFoundError

_found: Dict[Tuple[Any, ...], Any] = {}
_lock = threading.Lock()


def _once(key: Tuple[Any, ...], look: Any) -> Any:
    with _lock:
        if key in _found:
            return _found[key]
    found = look()
    with _lock:
        return _found.setdefault(key, found)


def own_app(api: Client) -> Optional[Dict[str, Any]]:
    """The app that this process belongs to: in a container its own, under `berth run` the one that was just made."""
    app_id = os.environ.get("BERTH_APP_ID")
    if not app_id:
        return None
    return _once(("own", app_id), lambda: api.get(path_of("/v1/apps/%s", app_id)))


def find_app(api: Client, name: str, environment: Optional[str]) -> Dict[str, Any]:
    """An app by its name: the one that this process belongs to, else the deployed one."""
    own = own_app(api)
    if own and own["name"] == name and environment in (None, own["environment"]):
        return own
    chosen = environment or (own and own["environment"]) or os.environ.get("BERTH_ENVIRONMENT") or None

    def look() -> Dict[str, Any]:
        for app in api.pages("/v1/apps", name=name, environment=chosen, state="deployed"):
            return app
        raise Error("there is no deployed app named %s%s: berth deploy makes it" % (name, _within(chosen)))

    return _once(("app", name, chosen), look)


def find_function(api: Client, app_name: str, name: str, environment: Optional[str] = None) -> Dict[str, Any]:
    """A function by the names of its app and itself."""
    app = find_app(api, app_name, environment)

    def look() -> Dict[str, Any]:
        for found in api.pages(path_of("/v1/apps/%s/functions", app["app_id"]), name=name):
            return found
        names = [each["name"] for each in api.pages(path_of("/v1/apps/%s/functions", app["app_id"]))]
        has = ", ".join(names) or "none"
        raise Error("the app %s has no function %s; it has: %s" % (app_name, name, has))

    return _once(("function", app["app_id"], name), look)


def forget() -> None:
    """What was found may have been deployed anew."""
    with _lock:
        _found.clear()


def _within(environment: Optional[str]) -> str:
    return " in the environment %s" % environment if environment else ""


__all__ = ["find_app", "find_function", "forget", "own_app", "NotFoundError"]
