"""An app: functions that are deployed together."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Union

from .exceptions import InvalidError
from .functions import Function, P, R, options_of
from .image import Image
from .resources import Cron, Period, Retries, Secret, Volume, optional


class App:
    """The functions of one name in one environment. Decorators describe them; `berth run`, `berth deploy` and
    `berth serve` make them."""

    def __init__(
        self, name: str, *, environment: Optional[str] = None, image: Optional[Image] = None
    ) -> None:
        self.name = name
        self.image = image
        self.environment = environment
        self.functions: Dict[str, Any] = {}
        self.entrypoints: Dict[str, Callable[..., Any]] = {}

    def function(
        self,
        *,
        name: Optional[str] = None,
        image: Optional[Image] = None,
        gpu: Union[str, List[str], None] = None,
        cpu: Optional[float] = None,
        memory: Optional[int] = None,
        timeout: Optional[int] = None,
        startup_timeout: Optional[int] = None,
        retries: Union[int, Retries, None] = None,
        min_containers: Optional[int] = None,
        max_containers: Optional[int] = None,
        buffer_containers: Optional[int] = None,
        scaledown_window: Optional[int] = None,
        secrets: List[Secret] = [],
        volumes: Mapping[str, Volume] = {},
        schedule: Union[Cron, Period, None] = None,
        env: Mapping[str, str] = {},
    ) -> Callable[[Callable[P, R]], Function[P, R]]:
        """Makes a function of the app.

        name: default, the function's own. image: default, the app's. gpu: a model, a model and count (`"H100:4"`), `"any"`, or a list in order
        of preference. cpu: cores. memory: MiB. timeout: seconds that one input may run. startup_timeout: seconds
        until a container is ready. retries: how often a failed input is run again, or `berth.Retries`.
        min_containers, max_containers: how many there are at least and at most; buffer_containers: how many idle
        ones are kept beside the busy; scaledown_window: seconds that an idle one is kept. secrets: their variables are
        set in its containers. volumes: by the absolute path at which they are there. schedule: when it is called by itself, without arguments. env: variables.
        """
        options = _definition(
            gpu=gpu,
            cpu=cpu,
            memory=memory,
            timeout=timeout,
            startup_timeout=startup_timeout,
            retries=retries,
            min_containers=min_containers,
            max_containers=max_containers,
            buffer_containers=buffer_containers,
            scaledown_window=scaledown_window,
            secrets=secrets,
            volumes=volumes,
            schedule=schedule,
            env=env,
        )

        def decorate(raw: Callable[P, R]) -> Function[P, R]:
            if not callable(raw) or isinstance(raw, type):
                raise InvalidError("@app.function() is for functions, and %r is none" % (raw,))
            if "." in raw.__qualname__:
                raise InvalidError(
                    "%s is not at the top of its module: containers would not find it there" % raw.__qualname__
                )
            function = Function(self, name or raw.__name__, raw, {**options, **options_of(raw)})
            function.image = image or self.image
            function.volumes = dict(volumes)
            self._add(function.name, function)
            return function

        return decorate

    def local_entrypoint(self, *, name: Optional[str] = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """A function that `berth run` runs here, on your machine, while the app's functions are there to be called.
        Its arguments come from the command line."""

        def decorate(raw: Callable[P, R]) -> Callable[P, R]:
            self.entrypoints[name or raw.__name__] = raw
            return raw

        return decorate

    def _add(self, name: str, thing: Any) -> None:
        if name in self.functions:
            raise InvalidError("the app %s has two functions named %s: give one a name=" % (self.name, name))
        self.functions[name] = thing

    def __repr__(self) -> str:
        return "berth.App(%r)" % self.name


def _definition(
    *,
    retries: Union[int, Retries, None],
    secrets: List[Secret],
    volumes: Mapping[str, Volume],
    schedule: Union[Cron, Period, None],
    env: Mapping[str, str],
    **plain: Any,
) -> Dict[str, Any]:
    """What was asked for, in the words of the REST API."""
    definition: Dict[str, Any] = {}
    optional(definition, **plain)
    if isinstance(retries, Retries):
        definition.update(retries.definition())
    elif retries is not None:
        definition["retries"] = retries
    for secret in secrets:
        if not isinstance(secret, Secret):
            raise InvalidError("secrets are berth.Secret.from_name(…), and %r is none" % (secret,))
    if secrets:
        definition["secrets"] = [secret.name for secret in secrets]
    for volume in volumes.values():
        if not isinstance(volume, Volume):
            raise InvalidError("volumes are {path: berth.Volume.from_name(…)}, and %r is none" % (volume,))
    if volumes:
        definition["volumes"] = {path: volume.name for path, volume in volumes.items()}
    if schedule is not None:
        if not isinstance(schedule, (Cron, Period)):
            raise InvalidError("a schedule is berth.Cron(…) or berth.Period(…), and %r is none" % (schedule,))
        definition["schedule"] = schedule.definition()
    if env:
        definition["env"] = dict(env)
    return definition
