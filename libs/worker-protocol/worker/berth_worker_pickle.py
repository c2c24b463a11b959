"""Values in Python's own format: loaded by berth_worker.py with the first input that comes as `pickle`.

Arguments are one pickled pair, (args, kwargs). Reading them runs what their sender wrote, as calling the function does:
whoever may do the one may do the other, in the same container.
"""

import pickle

import berth_worker as base

# Every Python that can run this reads it.
PROTOCOL = 4


def arguments(payload):
    if not payload:
        return (), {}
    try:
        values = pickle.loads(payload)
    except Exception as error:
        raise base.report().ArgumentsNotReadable(
            "the arguments cannot be unpickled: %s: %s" % (type(error).__name__, error)
        )
    if isinstance(values, tuple) and len(values) == 2:
        args, kwargs = values
        if isinstance(args, (list, tuple)) and isinstance(kwargs, dict):
            return args, kwargs
    raise base.report().ArgumentsNotReadable("the arguments are not a pickled pair, (args, kwargs)")


def encode(result):
    try:
        return pickle.dumps(result, PROTOCOL)
    except Exception as error:
        raise base.report().ResultNotSerializable(
            "the result (%s) cannot be pickled: %s: %s" % (type(result).__name__, type(error).__name__, error)
        )
