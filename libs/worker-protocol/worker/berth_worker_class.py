"""A handler that is a class: loaded by berth_worker.py only then.

One object for the container's life: made and entered before it is ready, its methods called by name, exited when it stops.
A class says with `__berth_class__` which of its methods are which: {"enter": [...], "exit": [...], "methods": [...]}.
Without that, `__enter__` and `__exit__` are its hooks, and all public methods can be called.
"""

import berth_worker as base


class Instance:
    def __init__(self, worker, kind, parameters):
        self.worker = worker
        self.name = kind.__name__
        marked = getattr(kind, "__berth_class__", None)
        if marked is None:
            marked = {
                "enter": ["__enter__"] if hasattr(kind, "__enter__") else [],
                "exit": ["__exit__"] if hasattr(kind, "__exit__") else [],
                "methods": [
                    name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name, None))
                ],
            }
        self.object = made(kind, parameters)
        for hook in marked.get("enter", ()):
            self.run(getattr(self.object, hook))
        self.exits = [getattr(self.object, hook) for hook in marked.get("exit", ())]
        self.methods = {name: getattr(self.object, name) for name in marked.get("methods", ())}

    def run(self, hook, *args):
        result = hook(*args)
        if base.is_awaitable(result):
            self.worker.run_async(result)

    def arguments(self, header, payload):
        """In place of the worker's own: the method comes before what is given to it."""
        if header["format"] == "pickle":
            args, kwargs, name = base.other_format("pickle").arguments_and_method(payload)
        else:
            args, kwargs = base.plain_arguments(header, payload)
            name = base.loads(payload.decode()).get("method") if payload else None
        if not name and len(self.methods) == 1:
            (name,) = self.methods
        if not isinstance(name, str) or name not in self.methods:
            raise base.report().MethodNotFound(
                "%s; %s has: %s"
                % (
                    'there is no method "%s"' % name if name else "a call of a class names a method",
                    self.name,
                    ", ".join(sorted(self.methods)) or "no methods",
                )
            )
        return (name, *args), kwargs

    def call(self, name, *args, **kwargs):
        # In a batch each argument is a list, and all of its inputs call the same method.
        return self.methods[name[0] if isinstance(name, list) else name](*args, **kwargs)

    def exit(self):
        """Runs all exit hooks; what one raises is printed, and the next one runs all the same."""
        self.worker.is_cancelled = False  # That was of an input.
        for hook in self.exits:
            try:
                self.run(hook, *((None, None, None) if hook.__name__ == "__exit__" else ()))
            except BaseException:
                import traceback

                traceback.print_exc()


def made(kind, parameters):
    """The object. Without a constructor of its own, its annotated attributes are its parameters."""
    if kind.__init__ is not object.__init__:
        return kind(**parameters)
    annotated = {}
    for each in reversed(kind.__mro__):
        annotated.update(each.__dict__.get("__annotations__", {}))
    unknown = sorted(set(parameters) - set(annotated))
    if unknown:
        raise TypeError("%s has no parameter %s" % (kind.__name__, ", ".join(unknown)))
    missing = sorted(name for name in annotated if name not in parameters and not hasattr(kind, name))
    if missing:
        raise TypeError("%s needs the parameter %s" % (kind.__name__, ", ".join(missing)))
    instance = kind()
    for name, value in parameters.items():
        setattr(instance, name, value)
    return instance
