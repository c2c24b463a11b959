"""Functions that run in containers, and their calls."""

from __future__ import annotations

import sys
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Callable, Dict, Generic, Iterable, Iterator, List, Optional, TypeVar

from .exceptions import InvalidError
from .exceptions import TimeoutError as CallTimeoutError

if sys.version_info >= (3, 10):
    from typing import ParamSpec

    P = ParamSpec("P")
else:
    P = TypeVar("P")
R = TypeVar("R")

if TYPE_CHECKING:
    from .app import App
    from .image import Image
    from .resources import Volume

_OPTIONS = "__berth_options__"


class _Both(Generic[P, R]):
    """Something to call and wait for; `.aio` is the same for async code."""

    def __init__(self, work: Callable[..., R]) -> None:
        self._work = work

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._work(*args, **kwargs)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        import asyncio
        from functools import partial

        return await asyncio.get_running_loop().run_in_executor(None, partial(self._work, *args, **kwargs))


class _Remote(Generic[P, R]):
    """What can be called on the platform. Subclasses say which function that is."""

    def _function_id(self) -> str:
        raise NotImplementedError

    # Whether values go there and come back as pickles.
    _pickles = False

    def _known(self) -> Dict[str, Any]:
        """Where exception classes of the user's own are looked for."""
        return {}

    @property
    def remote(self) -> _Both[P, R]:
        """Calls it in a container and gives its result, or raises what it raised."""
        return _Both(self._invoke)

    @property
    def spawn(self) -> _Both[P, FunctionCall[R]]:
        """Calls it in a container and does not wait."""
        return _Both(self._spawn)

    def remote_gen(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
        """Calls a generator function in a container and gives what it yields, as it yields it; at the end it raises what that
        raised. Whoever stops before ends the call."""
        from ._items import run_generator

        # What it yields is JSON, whatever its arguments are.
        return run_generator(self._post("spawn", args, kwargs, pickles=False)["call_id"], self._known())

    def map(
        self,
        *iterables: Iterable[Any],
        kwargs: Dict[str, Any] = {},
        order_outputs: bool = True,
        return_exceptions: bool = False,
    ) -> Iterator[R]:
        """Calls it once for each item, in as many containers as it may have, and gives the results as they come; in
        the order of the inputs unless `order_outputs=False`. Inputs are taken from `iterables` as there is room for
        them. The first failure is raised and cancels the rest, unless `return_exceptions=True` makes it a result."""
        return self.starmap(
            zip(*iterables), kwargs=kwargs, order_outputs=order_outputs, return_exceptions=return_exceptions
        )

    def starmap(
        self,
        arguments: Iterable[Iterable[Any]],
        *,
        kwargs: Dict[str, Any] = {},
        order_outputs: bool = True,
        return_exceptions: bool = False,
    ) -> Iterator[R]:
        """As `map`, for arguments that are tuples already."""
        from ._map import run_map

        requests = ((each, kwargs) for each in arguments)
        options = {"order_outputs": order_outputs, "return_exceptions": return_exceptions}
        return run_map(self._function_id(), requests, known=self._known(), pickles=self._pickles, **options)

    def for_each(
        self, *iterables: Iterable[Any], kwargs: Dict[str, Any] = {}, ignore_exceptions: bool = False
    ) -> None:
        """As `map`, where results are not wanted."""
        for _ in self.map(*iterables, kwargs=kwargs, order_outputs=False, return_exceptions=ignore_exceptions):
            pass

    def _post(self, what: str, args: Any, kwargs: Any, pickles: bool) -> Any:
        from ._client import client, path_of
        from ._values import fields

        try:
            body = b"{" + fields(args, kwargs, pickles) + b"}"
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidError("the arguments cannot be sent as JSON: %s" % error) from None
        return client().post(path_of("/v1/functions/%s/" + what, self._function_id()), body)

    def _invoke(self, *args: Any, **kwargs: Any) -> Any:
        from ._values import result

        return result(self._post("invocations", args, kwargs, self._pickles), self._known(), self._pickles)

    def _spawn(self, *args: Any, **kwargs: Any) -> Any:
        call_id = self._post("spawn", args, kwargs, self._pickles)["call_id"]
        return FunctionCall(call_id, self._known(), self._pickles)


class Function(_Remote[P, R]):
    """A function of an app. Called like any other it runs right here: `f(3)` is `f.local(3)`. What goes to its containers and
    comes back may be anything that Python can pickle."""

    _pickles = True

    def __init__(self, app: App, name: str, raw: Callable[P, R], options: Dict[str, Any]) -> None:
        update_wrapper(self, raw)
        self.app = app
        self.name = name
        self.options = options
        self.image: Optional[Image] = None
        self.volumes: Dict[str, Volume] = {}
        self._raw = raw
        self.__berth_raw__ = raw  # What the worker calls in a container.

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._raw(*args, **kwargs)

    def local(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs it here, in this process."""
        return self._raw(*args, **kwargs)

    @staticmethod
    def from_name(
        app_name: str, name: str, *, environment: Optional[str] = None, pickle: bool = False
    ) -> NamedFunction:
        """A function of a deployed app. Looked for when it is first called. What goes there and comes back is JSON; with
        `pickle=True` it may be anything that Python can pickle. Reading a pickle may run code: only for Python functions
        that you trust."""
        return NamedFunction(app_name, name, environment, pickle)

    def _function_id(self) -> str:
        from ._client import client
        from ._lookup import find_function

        return find_function(client(), self.app.name, self.name, self.app.environment)["function_id"]

    def _known(self) -> Dict[str, Any]:
        return getattr(self._raw, "__globals__", {})

    def __repr__(self) -> str:
        return "<berth.Function %s.%s>" % (self.app.name, self.name)


class NamedFunction(_Remote[Any, Any]):
    """A function of a deployed app, by its name: what `Function.from_name` gives."""

    def __init__(self, app_name: str, name: str, environment: Optional[str], pickles: bool = False) -> None:
        self._pickles = pickles
        self.app_name = app_name
        self.name = name
        self.environment = environment

    def _function_id(self) -> str:
        from ._client import client
        from ._lookup import find_function

        return find_function(client(), self.app_name, self.name, self.environment)["function_id"]

    def __repr__(self) -> str:
        return "Function.from_name(%r, %r)" % (self.app_name, self.name)


class FunctionCall(Generic[R]):
    """A call that was spawned."""

    def __init__(self, call_id: str, known: Dict[str, Any] = {}, pickles: bool = False) -> None:
        self.call_id = call_id
        self._known = known
        self._pickles = pickles

    @property
    def object_id(self) -> str:
        return self.call_id

    @staticmethod
    def from_id(call_id: str, *, pickle: bool = False) -> FunctionCall[Any]:
        """A call by its id (`fc-…`); `pickle=True` reads a result that is a pickle, of a function that you trust."""
        return FunctionCall(call_id, pickles=pickle)

    @property
    def get(self) -> _Both[Any, R]:
        """`get(timeout=None)` waits for its result, or raises what it raised. After `timeout` seconds it raises
        `berth.exceptions.TimeoutError`, and the call goes on."""
        return _Both(self._get)

    @property
    def cancel(self) -> _Both[Any, None]:
        """Ends it, also if it runs; a finished call stays as it is."""
        return _Both(self._cancel)

    def status(self) -> str:
        """`pending`, `running`, `success`, `failure` or `terminated`."""
        from ._client import client, path_of

        return client().get(path_of("/v1/function-calls/%s", self.call_id))["status"]

    def _get(self, timeout: Optional[float] = None) -> R:
        from ._values import result
        from ._wait import wait_for_call

        found = wait_for_call(self.call_id, timeout)
        if found is None:
            raise CallTimeoutError("the call %s has not ended within %s seconds" % (self.call_id, timeout))
        return result(found, self._known, self._pickles)

    def _cancel(self) -> None:
        from ._client import client, path_of

        client().post(path_of("/v1/function-calls/%s/cancel", self.call_id))

    def __repr__(self) -> str:
        return "FunctionCall.from_id(%r)" % self.call_id


def gather(*calls: FunctionCall[Any]) -> List[Any]:
    """The results of several calls, in their order."""
    return [call.get() for call in calls]


def add_options(target: Any, decorator: str, **options: Any) -> Any:
    """Notes on a function or class what `app.function` or `app.cls`, which come above, will read."""
    if isinstance(target, Function) or hasattr(target, "__berth_class__"):
        raise InvalidError("@berth.%s goes below @app.function or @app.cls, not above" % decorator)
    setattr(target, _OPTIONS, {**options_of(target), **options})
    return target


def options_of(target: Any) -> Dict[str, Any]:
    return vars(target).get(_OPTIONS, {})
