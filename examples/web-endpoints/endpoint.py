"""Functions as endpoints: the query and the JSON body are their arguments, what they return is the answer."""

import time


def greet(name: str = "world", times: int = 1):
    """GET ?name=Ada&times=3"""
    return {"greeting": " ".join(["hello, %s!" % name] * times)}


def total(numbers: list, tax: float = 0.0):
    """POST {"numbers": [1, 2, 3], "tax": 0.2}: a generator is streamed, piece by piece."""
    running = 0
    for number in numbers:
        running += number
        yield "%g\n" % running
        time.sleep(0.05)
    yield "with tax: %g\n" % (running * (1 + tax))
