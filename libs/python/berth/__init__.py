"""Functions on GPU machines that you own.

    import berth

    app = berth.App("squares")

    @app.function(cpu=2)
    def square(x: int) -> int:
        return x * x

    @app.local_entrypoint()
    def main(n: int = 10):
        print(sum(square.map(range(n))))

`berth run squares.py --n 20` runs it; `berth deploy squares.py` keeps it, for `berth.Function.from_name("squares",
"square").remote(3)` from anywhere, other functions included.
"""

from . import exceptions
from .app import App
from .decorators import asgi_app, batched, concurrent, web_endpoint, web_server, wsgi_app
from .functions import Function, FunctionCall, gather
from .image import Image
from .resources import (
    Cron,
    Period,
    Retries,
    Secret,
    Volume,
    current_function_call_id,
    current_input_id,
    is_local,
)

__all__ = [
    "App",
    "Cron",
    "Function",
    "FunctionCall",
    "Image",
    "Period",
    "Retries",
    "Secret",
    "Volume",
    "asgi_app",
    "batched",
    "concurrent",
    "current_function_call_id",
    "current_input_id",
    "exceptions",
    "gather",
    "is_local",
    "web_endpoint",
    "web_server",
    "wsgi_app",
]
__version__ = "0.1.0"
