"""Values in Python's own format: loaded by berth_worker.py with the first input that comes as `pickle`.

Arguments are one pickled pair, (args, kwargs), or (args, kwargs, method) for a class. Reading them runs what their sender wrote, as calling the function does:
whoever may do the one may do the other, in the same container.
"""

import pickle

import berth_worker as base

# Every Python that can run this reads it.
PROTOCOL = 4


def arguments(payload):
    args, kwargs, method = arguments_and_method(payload)
    if method:
        raise base.report().MethodNotFound("a method is called of a class, and this function is none")
    return args, kwargs


def arguments_and_method(payload):
    if not payload:
        return (), {}, None
    try:
        values = pickle.loads(payload)
    except Exception as error:
        raise base.report().ArgumentsNotReadable(
            "the arguments cannot be unpickled: %s: %s" % (type(error).__name__, error)
        )
    if isinstance(values, tuple) and len(values) in (2, 3):
        args, kwargs, method = (*values, None)[:3]
        if isinstance(args, (list, tuple)) and isinstance(kwargs, dict):
            return args, kwargs, method
    raise base.report().ArgumentsNotReadable("the arguments are not a pickled pair, (args, kwargs)")


def encode(result):
    try:
        return pickle.dumps(result, PROTOCOL)
    except Exception as error:
        raise base.report().ResultNotSerializable(
            "the result (%s) cannot be pickled: %s: %s" % (type(result).__name__, type(error).__name__, error)
        )
