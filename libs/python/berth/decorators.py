"""What is written below `@app.function` or `@app.cls`: how inputs come to it."""

from __future__ import annotations

from typing import Callable, TypeVar

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
