"""Functions that call functions: each square in a container of its own, their sum in one that asks for them."""

import berth

app = berth.App("squares")


class NoSquare(Exception):
    """Of a number that nobody should square."""


@app.function(cpu=0.2, memory=128, max_containers=4, scaledown_window=5)
def square(x: int) -> int:
    if x == 13:
        raise NoSquare("13 brings bad luck")
    print("squaring", x)
    return x * x


@app.function(cpu=0.2, memory=128, scaledown_window=5)
def sum_of_squares(n: int, start: int = 0) -> int:
    return sum(square.map(range(start, n)))


@app.function(cpu=0.2, memory=128, scaledown_window=5)
async def describe(word: str, *, loud: bool = False) -> dict:
    four = await square.remote.aio(2)
    return {"word": word.upper() if loud else word, "four": four, "local": berth.is_local()}


@app.local_entrypoint()
def main(n: int = 4):
    print("the sum is", sum_of_squares.remote(n))
