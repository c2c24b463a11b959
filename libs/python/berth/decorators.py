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
