"""What a function asks for beside its code."""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import Any, Dict, Optional, Tuple

from .exceptions import InvalidError


class Secret:
    """Variables that containers get and nobody else reads, by the name that they were stored under."""

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def from_name(cls, name: str) -> "Secret":
        """A secret of the app's environment."""
        return cls(name)

    def __repr__(self) -> str:
        return "Secret.from_name(%r)" % self.name


class Volume:
    """A file tree that containers share, by its name."""

    def __init__(self, name: str, create_if_missing: bool) -> None:
        self.name = name
        self.create_if_missing = create_if_missing

    @classmethod
    def from_name(cls, name: str, *, create_if_missing: bool = False) -> "Volume":
        """A volume of the app's environment; with `create_if_missing` a deploy makes it."""
        return cls(name, create_if_missing)

    @property
    def path(self) -> str:
        """Where it is in this container."""
        paths: Dict[str, str] = json.loads(os.environ.get("BERTH_VOLUMES", "{}"))
        if self.name not in paths:
            raise InvalidError("this container has no volume %s: the function has to name it" % self.name)
        return paths[self.name]

    def commit(self) -> None:
        """Makes what this container has written there so far visible to others; they see it when they reload or start.
        What cannot be kept, such as a socket, is warned of."""
        for left in self._ask("commit")["left_out"]:
            warnings.warn("%s was left out of %s: %s" % (left["path"], self.name, left["reason"]), stacklevel=2)

    def reload(self) -> None:
        """Brings what others have committed since into this container."""
        self._ask("reload")

    def _ask(self, what: str) -> Any:
        if is_local():
            raise InvalidError("%s() is of code that runs in a container with the volume" % what)
        from ._client import client, path_of

        return client().post(path_of("/runtime/volumes/%s/" + what, self.name))

    def __repr__(self) -> str:
        return "Volume.from_name(%r)" % self.name


class Retries:
    """How a failed input is run again: at most `max_retries` times, after `initial_delay` seconds, and after
    `backoff_coefficient` times as long for each further one, up to `max_delay` seconds."""

    def __init__(
        self,
        max_retries: int,
        *,
        backoff_coefficient: float = 2.0,
        initial_delay: float = 1.0,
        max_delay: float = 60.0,
    ) -> None:
        self.max_retries = max_retries
        self.backoff_coefficient = backoff_coefficient
        self.initial_delay = initial_delay
        self.max_delay = max_delay

    def definition(self) -> Dict[str, Any]:
        delay = {"first": self.initial_delay, "backoff": self.backoff_coefficient, "max": self.max_delay}
        return {"retries": self.max_retries, "retry_delay": delay}


class Cron:
    """A schedule of five fields, as crontab has them, in a time zone of the tz database."""

    def __init__(self, cron_string: str, timezone: str = "UTC") -> None:
        self.cron_string = cron_string
        self.timezone = timezone

    def definition(self) -> Dict[str, Any]:
        return {"cron": self.cron_string, "timezone": self.timezone}


class Period:
    """A schedule of one call each so much time, from the deployment on."""

    def __init__(
        self, *, weeks: float = 0, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> None:
        self.total_seconds = seconds + 60 * (minutes + 60 * (hours + 24 * (days + 7 * weeks)))
        if self.total_seconds < 1:
            raise InvalidError("a Period is at least one second: Period(hours=1)")

    def definition(self) -> Dict[str, Any]:
        return {"period": self.total_seconds}


def is_local() -> bool:
    """Whether this runs outside Berth's containers."""
    return "BERTH_CONTAINER_ID" not in os.environ


def current_input_id() -> Optional[str]:
    """The input that the calling code runs for (`in-…`); None outside one."""
    return _current_input()[0]


def current_function_call_id() -> Optional[str]:
    """The call that the calling code runs for (`fc-…`); None outside one."""
    return _current_input()[1]


def _current_input() -> Tuple[Optional[str], Optional[str]]:
    worker = sys.modules.get("berth_worker")
    return (worker and worker.current_input()) or (None, None)


def optional(definition: Dict[str, Any], **values: Optional[Any]) -> None:
    """Puts what was given: the rest takes the platform's defaults."""
    for name, value in values.items():
        if value is not None:
            definition[name] = value
