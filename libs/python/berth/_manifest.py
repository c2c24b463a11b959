"""What the command line asks of a user's file, in the user's own Python.

    describe FILE                  prints the app as JSON: its functions, their options and parameters, its entrypoints
    entrypoint FILE NAME ARGUMENTS runs a local entrypoint with JSON arguments
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import typing
from typing import Any, Dict, List

from ._module import app_of, load, print_error
from .exceptions import InvalidError
from .functions import Function

_TYPES = {int: "int", float: "float", str: "str", bool: "bool"}


def main() -> None:
    command, path = sys.argv[1], sys.argv[2]
    try:
        if command == "describe":
            describe(path)
        else:
            run_entrypoint(path, sys.argv[3], json.loads(sys.argv[4]))
    except InvalidError as error:
        sys.exit("berth: %s" % error)


def describe(path: str) -> None:
    # Whatever the file prints while it is imported goes to stderr: stdout is the answer's.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    folder, module = load(path)
    app = app_of(module)
    functions = [_function(module, folder, name, each) for name, each in app.functions.items()]
    entrypoints = [{"name": name, "parameters": _parameters(raw)} for name, raw in app.entrypoints.items()]
    volumes = [each for function in app.functions.values() for each in function.volumes.values()]
    manifest = {
        "app": app.name,
        "environment": app.environment,
        "folder": folder,
        "functions": functions,
        "entrypoints": entrypoints,
        "volumes": sorted({each.name for each in volumes if each.create_if_missing}),
    }
    with answer:
        json.dump(manifest, answer)


def run_entrypoint(path: str, name: str, arguments: Dict[str, Any]) -> None:
    _, module = load(path)
    entrypoint = app_of(module).entrypoints[name]
    try:
        result = entrypoint(*arguments["args"], **arguments["kwargs"])
        if inspect.iscoroutine(result):
            import asyncio

            asyncio.run(result)
    except Exception as error:
        print_error(error)
        sys.exit(1)


def _function(module: Any, folder: str, name: str, function: Function[Any, Any]) -> Dict[str, Any]:
    definition = {"runtime": "python", "handler": _handler(module, function), **function.options}
    if function.image:
        definition["image"] = function.image.definition(folder)
    return {"name": name, "definition": definition, "parameters": _parameters(function._raw)}


def _handler(module: Any, thing: Any) -> str:
    """Where a container finds it: the module that it was written in, and the variable that holds it."""
    home = sys.modules.get(thing.__module__, module)
    for variable in (thing.__name__, *vars(home)):
        if vars(home).get(variable) is thing:
            return "%s:%s" % (home.__name__, variable)
    raise InvalidError("no variable of %s holds the function %s: containers could not find it" % (
        home.__name__, thing.__name__,
    ))


def _parameters(raw: Any) -> List[Dict[str, Any]]:
    try:
        hints = typing.get_type_hints(raw)
    except Exception:
        hints = {}  # A hint that names what is not there says nothing of how to read a word.
    return [
        {
            "name": each.name,
            "type": _type(hints.get(each.name)),
            "kind": each.kind.name.lower(),
            "required": each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD),
        }
        for each in inspect.signature(raw).parameters.values()
    ]


def _type(hint: Any) -> str:
    """`int`, `float`, `str`, `bool`, or `json` for everything else; `Optional[int]` is an `int`. Empty: nothing is said."""
    if hint is None:
        return ""
    if hint in _TYPES:
        return _TYPES[hint]
    inner = [each for each in typing.get_args(hint) if each is not type(None)]
    if len(inner) == 1 and len(typing.get_args(hint)) == 2 and inner[0] in _TYPES:
        return _TYPES[inner[0]]
    return "json"
