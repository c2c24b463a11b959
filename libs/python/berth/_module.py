"""The user's file as a module, as containers will import it."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from types import ModuleType
from typing import Any, List, Tuple

from .app import App
from .exceptions import InvalidError

_HERE = os.path.dirname(os.path.abspath(__file__))


def locate(path: str) -> Tuple[str, str]:
    """The folder that is uploaded and the module's name in it: the file's own folder, or, in a package, the one above."""
    path = os.path.realpath(path)
    if not os.path.isfile(path):
        raise InvalidError("there is no file %s" % path)
    if not path.endswith(".py"):
        raise InvalidError("%s is not a Python file" % path)
    folder, file = os.path.split(path)
    parts = [] if file == "__init__.py" else [file[:-3]]
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        parts.insert(0, package)
    if "." in parts[-1]:
        raise InvalidError("%s cannot be imported: a module's name has no dots" % file)
    return folder, ".".join(parts)


def load(path: str) -> Tuple[str, ModuleType]:
    """Imports the file; what it raises is printed with its own lines, and ends this process with 1."""
    folder, name = locate(path)
    sys.path.insert(0, folder)
    try:
        module = importlib.import_module(name)
    except BaseException as error:
        print_error(error)
        raise SystemExit(1) from None
    if os.path.realpath(module.__file__ or "") != os.path.realpath(path):
        raise InvalidError(
            "Python knows another module named %s (%s): give %s another name" % (name, module.__file__, path)
        )
    return folder, module


def app_of(module: ModuleType) -> App:
    """The app of a module: its only one, or the one that is named `app`."""
    apps = {name: each for name, each in vars(module).items() if isinstance(each, App)}
    if isinstance(apps.get("app"), App):
        return apps["app"]
    distinct: List[App] = list({id(each): each for each in apps.values()}.values())
    if len(distinct) == 1:
        return distinct[0]
    if not distinct:
        raise InvalidError('%s has no app: app = berth.App("name")' % module.__file__)
    raise InvalidError("%s has several apps (%s): name the one to take app" % (module.__file__, ", ".join(apps)))


def print_error(error: BaseException) -> None:
    """As Python prints it, without the lines of Berth and of the import system."""
    shown: Any = traceback.TracebackException.from_exception(error)
    each = shown
    while each is not None:
        kept = [frame for frame in each.stack if not _is_ours(frame.filename)]
        each.stack = traceback.StackSummary.from_list(kept)
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    sys.stderr.write("".join(shown.format()))


def _is_ours(file: str) -> bool:
    return file == "<string>" or file.startswith("<frozen ") or file.startswith(_HERE) or "/importlib/" in file
