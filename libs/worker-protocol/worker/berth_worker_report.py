"""What the Python worker says when something fails: loaded at the first failure, so that a start does not pay for it."""

import os
import sys
import traceback
import types

MESSAGE_LENGTH_MAX = 16 * 1024
TRACEBACK_LENGTH_MAX = 128 * 1024
NAMES_MAX = 20


class HandlerNotFound(Exception):
    pass


class FormatNotSupported(Exception):
    pass


class ArgumentsNotReadable(Exception):
    pass


class ResultNotSerializable(Exception):
    pass


class ResultTooLarge(Exception):
    pass


class BatchResultInvalid(Exception):
    pass


class MethodNotFound(Exception):
    pass


# Raised by the worker, not by user code: their message says it all.
OWN = (
    MethodNotFound,
    HandlerNotFound,
    FormatNotSupported,
    ArgumentsNotReadable,
    ResultNotSerializable,
    ResultTooLarge,
    BatchResultInvalid,
)


def describe(error, source, worker_folder):
    """`{type, message, traceback}` of an exception, without the worker's and the import system's own frames."""
    name = type(error).__name__
    if isinstance(error, OWN):
        return {"type": name, "message": clean(str(error), MESSAGE_LENGTH_MAX), "traceback": ""}
    return {
        "type": name,
        "message": clean(message_of(error), MESSAGE_LENGTH_MAX),
        "traceback": clean(traceback_of(error, source, worker_folder), TRACEBACK_LENGTH_MAX),
    }


def message_of(error):
    if isinstance(error, SystemExit):
        code = error.code
        if code is None or isinstance(code, int):
            return "user code called sys.exit(%s)" % ("" if code is None else code)
        return "user code called sys.exit(%r)" % (code,)
    try:
        return str(error)
    except Exception as broken:
        return "<the exception's __str__ raised %s>" % type(broken).__name__


def traceback_of(error, source, worker_folder):
    try:
        whole = traceback.TracebackException.from_exception(error)
    except RecursionError:
        return ""
    seen = set()
    chain = [whole]
    while chain:
        part = chain.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        part.stack = traceback.StackSummary.from_list(
            [relative(frame, source) for frame in part.stack if is_users(frame.filename, worker_folder)]
        )
        if getattr(part, "filename", None):  # A SyntaxError says itself where it is.
            part.filename = inside(part.filename, source)
        chain += [part.__cause__, part.__context__] + list(getattr(part, "exceptions", None) or [])
    return "".join(whole.format()).rstrip("\n")


def is_users(filename, worker_folder):
    return not (
        os.path.dirname(os.path.abspath(filename)) == worker_folder
        or filename.startswith("<frozen importlib")
        or os.path.basename(os.path.dirname(filename)) == "importlib"
    )


def relative(frame, source):
    # Mutated, not copied: newer Pythons keep columns in the frame, which draw the carets.
    frame.line  # Read now: under the shorter name the file would not be found from another folder.
    frame.filename = inside(frame.filename, source)
    return frame


def inside(filename, source):
    """The name the user knows: relative to the source folder where it is in there."""
    prefix = source.rstrip("/") + "/"
    return filename[len(prefix) :] if filename.startswith(prefix) else filename


def clean(text, length_max):
    """Valid UTF-8, and its two ends where it is too long."""
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= length_max:
        return text
    half = length_max // 2
    return "%s\n... %d characters left out ...\n%s" % (text[:half], len(text) - 2 * half, text[-half:])


def module_missing(handler, module_name, source):
    top = module_name.split(".")[0]
    try:
        entries = sorted(os.listdir(source))
    except OSError as error:
        return HandlerNotFound("the source folder cannot be read: %s" % error.strerror)
    names = [entry for entry in entries if not entry.startswith((".", "__"))]
    shown = ", ".join(names[:NAMES_MAX]) + (", ..." if len(names) > NAMES_MAX else "")
    wanted = module_name.replace(".", "/") + ".py"
    return HandlerNotFound(
        'the handler is "%s", but there is no module %s: the source has no %s%s; it has: %s'
        % (handler, module_name, wanted, "" if "." in module_name else " and no package %s" % top, shown or "no files")
    )


def function_missing(handler, module):
    names = sorted(
        name
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    )
    shown = ", ".join(names[:NAMES_MAX]) + (", ..." if len(names) > NAMES_MAX else "")
    return HandlerNotFound(
        'the handler is "%s", but %s has no such function; it has: %s'
        % (handler, module.__name__, shown or "no functions at all")
    )


def not_serializable(result, raised):
    """Says which part of a result JSON cannot carry, and what to do. `raised` is what the encoder said."""
    try:
        return ResultNotSerializable(culprit(result, raised))
    except Exception:
        return ResultNotSerializable("the result cannot be written as JSON: %s" % message_of(raised))


def culprit(result, raised):
    kind = type(result).__name__
    if isinstance(raised, RecursionError):
        return "the result (%s) is nested too deeply for JSON" % kind
    # Depth first, by iterators: a value that is its own ancestor is a circle. The way is the keys that led here.
    way = []
    above = []
    levels = [iter([("", result)])]
    while levels:
        for key, value in levels[-1]:
            del way[len(levels) - 1 :]
            way.append(key)
            if isinstance(value, (list, tuple, dict)):
                if any(value is ancestor for ancestor in above):
                    return "%s contains itself: a circle cannot be written as JSON" % place(way)
                if isinstance(value, dict):
                    for name in value:
                        problem = problem_of_key(name)
                        if problem:
                            return "%s %s" % (place(way), problem)
                above.append(value)
                levels.append(iter(value.items()) if isinstance(value, dict) else iter(enumerate(value)))
                break
            problem = problem_of(value)
            if problem:
                return "%s %s" % (place(way), problem)
        else:
            levels.pop()
            if above:
                above.pop()
    return "the result cannot be written as JSON: %s" % message_of(raised)


def place(way):
    return "result" + "".join("[%s]" % shorten(repr(key)) for key in way[1:])


def problem_of_key(name):
    if isinstance(name, str):
        return "has a key with a lone surrogate, which is not valid Unicode" if is_broken(name) else None
    if name is None or isinstance(name, (int, float)):
        return None
    return "has a key of type %s; JSON has string keys only" % type_name(name)


def problem_of(value):
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return "is %r, which JSON cannot carry. Return None, or a string" % value
        return None
    if isinstance(value, int):
        try:
            int.__repr__(value)
            return None
        except ValueError:
            return "is an integer with more digits than Python writes as text. Return hex(...) of it"
    if isinstance(value, str):
        return "is text with a lone surrogate, which is not valid Unicode" if is_broken(value) else None
    return "is of type %s, which JSON cannot carry%s" % (type_name(value), hint(value))


def is_broken(text):
    try:
        text.encode()
        return False
    except UnicodeEncodeError:
        return True


def type_name(value):
    kind = type(value)
    return kind.__name__ if kind.__module__ in ("builtins", "__main__") else kind.__module__ + "." + kind.__name__


def hint(value):
    if hasattr(value, "tolist"):
        return ". Return its .tolist()"
    if isinstance(value, (set, frozenset)):
        return ". Return a list of it"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return ". Return base64 text of it"
    if hasattr(value, "isoformat"):
        return ". Return its .isoformat()"
    if isinstance(value, types.GeneratorType):
        return ". Return a list of it"
    return ""


def shorten(text):
    return text if len(text) <= 80 else text[:77] + "..."
