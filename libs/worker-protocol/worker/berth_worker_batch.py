"""Inputs that one call of the handler takes together: loaded by berth_worker.py with the first batch that comes.

Each argument is a list, of what the inputs gave for it, and so is the result. An element that is an exception fails its
input and no other.
"""

import berth_worker as base


def batches(worker, header, payload):
    """What a batch of the runner is run as: one call of the handler for all inputs that give the same arguments."""
    by_shape = {}
    at = 0
    for one in header["inputs"]:
        one["type"] = "input"
        end = at + one["bytes"]
        try:
            args, kwargs = base.arguments(one, payload[at:end])
        except BaseException as error:
            worker.finish(one, None, error, 0, False)
        else:
            method = args[0] if worker.instance is not None else None
            by_shape.setdefault((method, len(args), tuple(sorted(kwargs))), []).append((one, args, kwargs))
        at = end
    return [Batch(worker, inputs) for inputs in by_shape.values()]


class Batch:
    def __init__(self, worker, inputs):
        self.worker = worker
        self.headers = [header for header, _, _ in inputs]
        self.first = self.headers[0]
        # Those that still want an outcome. Who takes one out says how it ended.
        self.open = {header["input_id"]: header for header in self.headers}
        args = [list(values) for values in zip(*(args for _, args, _ in inputs))]
        kwargs = {name: [kwargs[name] for _, _, kwargs in inputs] for name in inputs[0][2]}
        self.arguments = args, kwargs

    def cancel(self, input_id):
        """True where nobody is left who wants the result: user code is to end. Else that input ends now."""
        if input_id not in self.open:
            return False
        if len(self.open) == 1:
            return True
        header = self.open.pop(input_id, None)
        if header is not None:
            self.worker.finish(header, None, base.InputCancellation(), 0, True)
        return False

    def finish(self, result, error, run_us, is_cancelled):
        count = len(self.headers)
        # Which input the handler raised for it does not say: the runner runs each alone.
        of_batch = None if error is None or is_cancelled or count == 1 else count
        if error is None and (not isinstance(result, (list, tuple)) or len(result) != count):
            error = base.report().BatchResultInvalid(
                "a batch of %d inputs needs a list of %d results; the function returned %s"
                % (
                    count,
                    count,
                    "a list of %d" % len(result)
                    if isinstance(result, (list, tuple))
                    else "something of type %s" % type(result).__name__,
                )
            )
        for index, header in enumerate(self.headers):
            if self.open.pop(header["input_id"], None) is None:
                continue
            if error is not None:
                self.worker.finish(header, None, error, run_us, is_cancelled, of_batch)
            elif isinstance(result[index], Exception):
                self.worker.finish(header, None, result[index], run_us, False)
            else:
                self.worker.finish(header, result[index], None, run_us, False)
