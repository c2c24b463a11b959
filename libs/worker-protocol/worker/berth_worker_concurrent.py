"""Runs several inputs at a time in one container: loaded by berth_worker.py only where a function asks for that.

The main thread runs one asyncio loop. It reads the socket and runs async handlers as tasks; sync handlers run in
threads, at most one for each input. Prints and errors find their input by a context variable, which tasks (and
asyncio.to_thread) inherit; a thread that user code starts itself prints in the name of no input.

A cancel reaches a task as asyncio.CancelledError, and a thread as InputCancellation, raised between two of its
bytecodes: a thread that sits in one long call into C hears of it only when that returns. Such an exception must not
strike the worker's own code, where it would tear a frame in two or lose an outcome. So a thread says when it may be
struck (`expose`, `hide`), and whoever shoots says that it aims before it looks: each sees the other's word.
"""

import asyncio
import inspect
import threading
import time
from _queue import SimpleQueue
from contextvars import ContextVar

import berth_worker as base

try:
    import ctypes
except ImportError:  # A Python without it cannot interrupt threads: their container is ended instead.
    ctypes = None

current = ContextVar("berth_input", default=None)


class Run:
    """One input that runs, as a task or in a thread."""

    def __init__(self, header, payload, batch=None):
        self.header = header
        self.payload = payload
        self.batch = batch
        self.input_ids = [header["input_id"]] if batch is None else list(batch.open)
        self.items = None
        self.result = None
        self.error = None
        self.began = time.perf_counter_ns()
        self.is_cancelled = False
        self.task = None  # What a cancel is thrown into.
        self.keep = None  # The loop itself holds its tasks weakly.
        self.thread = 0
        self.is_exposed = False
        self.is_aimed_at = False
        self.is_hit = False

    def arguments(self):
        return base.arguments(self.header, self.payload) if self.batch is None else self.batch.arguments

    def cancel(self, input_id):
        """In the main thread. A repeat is for nothing: user code may be cleaning up."""
        if self.is_cancelled or (self.batch is not None and not self.batch.cancel(input_id)):
            return
        self.is_aimed_at = True
        self.is_cancelled = True
        if self.task is not None:
            self.task.cancel()
        elif self.is_exposed and ctypes is not None:
            self.is_exposed = False
            self.is_hit = True
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self.thread), ctypes.py_object(base.InputCancellation)
            )
            if self.items is not None:
                self.items.wake()
        self.is_aimed_at = False

    def expose(self):
        """In its own thread: user code runs from here on."""
        self.is_exposed = True
        if self.is_cancelled:
            self.hide()
            if not self.is_hit:
                self.is_hit = True
                raise base.InputCancellation()

    def hide(self):
        """In its own thread: user code does not run any more. What was shot strikes here, or has struck before."""
        self.is_exposed = False
        while self.is_aimed_at:
            time.sleep(0)  # A few instructions of the main thread.


class Concurrent:
    def __init__(self, worker):
        self.worker = worker
        self.channel = worker.channel
        self.runs = {}  # By input id.
        self.active = set()
        self.in_threads = {}  # By thread.
        self.jobs = SimpleQueue()
        self.threads = 0
        self.loop = worker.loop = worker.loop or asyncio.new_event_loop()
        self.is_over = False
        self.is_async = is_async(worker.handler)

    def serve(self):
        asyncio.set_event_loop(self.loop)
        send = self.channel.send

        def send_shielded(header, payload=b""):
            run = self.in_threads.get(threading.get_ident())
            if run is None or not run.is_exposed:
                return send(header, payload)
            run.hide()
            try:
                send(header, payload)
            finally:
                run.expose()

        self.channel.send = send_shielded
        base._signal.signal(base._signal.SIGTERM, lambda *_: self.loop.call_soon_threadsafe(self.stop))
        self.loop.add_reader(self.channel.socket.fileno(), self.on_readable)
        for header, payload in self.worker.waiting:
            self.take(header, payload)
        if self.worker.is_stopping:
            self.stop()
        self.on_readable()
        while not self.is_over:
            try:
                self.loop.run_forever()  # User code may stop the loop: it goes on.
            except (SystemExit, KeyboardInterrupt):
                pass  # Of a task that user code left behind: it ends that task and no more.

    def on_readable(self):
        for header, payload in self.channel.receive_waiting():
            self.take(header, payload)

    def take(self, header, payload):
        kind = header["type"]
        if kind == "input":
            self.begin(Run(header, payload))
        elif kind == "batch":
            for batch in base.own_module("berth_worker_batch").batches(self.worker, header, payload):
                self.begin(Run(batch.first, b"", batch))
        elif kind == "cancel":
            run = self.runs.get(header["input_id"])
            if run is not None:
                run.cancel(header["input_id"])
        elif kind == "recorded":
            run = self.runs.get(header["input_id"])
            if run is not None and run.items is not None:
                run.items.recorded(header["items"])
        elif kind == "stop":
            self.stop()

    def stop(self):
        self.worker.is_stopping = True
        self.end_if_idle()

    def end_if_idle(self):
        if self.worker.is_stopping and not self.active:
            self.is_over = True
            self.loop.stop()

    # ---- one input

    def begin(self, run):
        self.active.add(run)
        for input_id in run.input_ids:
            self.runs[input_id] = run
        if self.is_async:
            run.keep = self.loop.create_task(self.run_task(run))
            return
        if self.threads < len(self.active):
            self.threads += 1
            threading.Thread(target=self.work, daemon=True, name="input-%d" % self.threads).start()
        self.jobs.put(run)

    async def run_task(self, run):
        current.set(run.header)
        try:
            args, kwargs = run.arguments()
            run.began = time.perf_counter_ns()
            if run.is_cancelled:
                raise base.InputCancellation()
            # From here on a cancel may be thrown in.
            run.task = run.keep
            run.result = await self.awaited(run, self.worker.handler(*args, **kwargs))
        except BaseException as raised:
            run.error = raised
        self.finish(run)

    async def awaited(self, run, result):
        """What an awaitable gives, or, once all are sent, how many items an async generator yielded."""
        if not hasattr(result, "ag_frame"):
            return await result
        run.items = base.own_module("berth_worker_items").Items(self.worker, run.header)
        await run.items.drain_async(result)
        return base.Streamed(run.items.count)

    def work(self):
        """A thread's life: one input after the other."""
        me = threading.get_ident()
        while True:
            run = self.jobs.get()
            run.thread = me
            current.set(run.header)
            self.in_threads[me] = run
            try:
                self.call(run)
            except BaseException as raised:  # It struck when user code had just ended.
                run.error = raised
            del self.in_threads[me]
            self.finish(run)
            current.set(None)
            run = None

    def call(self, run):
        try:
            args, kwargs = run.arguments()
            run.began = time.perf_counter_ns()
            run.expose()
            run.result = self.worker.handler(*args, **kwargs)
            if hasattr(run.result, "gi_frame") and run.batch is None:
                run.items = base.own_module("berth_worker_items").ThreadItems(self.worker, run.header)
                run.items.drain(run.result)
                run.result = base.Streamed(run.items.count)
        except BaseException as raised:
            run.error = raised
        run.hide()
        if run.error is None and type(run.result) not in base.PLAIN:
            if base.is_awaitable(run.result) or (hasattr(run.result, "ag_frame") and run.batch is None):
                self.await_on_loop(run)

    def await_on_loop(self, run):
        """A handler that is no coroutine function gave an awaitable: a wrapper, mostly."""
        over = threading.Event()

        async def awaited():
            current.set(run.header)
            try:
                if run.is_cancelled:
                    raise base.InputCancellation()
                run.task = asyncio.current_task()
                run.result = await self.awaited(run, run.result)
            except BaseException as raised:
                run.error = raised
            run.task = None
            over.set()

        def begin():
            run.keep = self.loop.create_task(awaited())

        self.loop.call_soon_threadsafe(begin)
        over.wait()

    def finish(self, run):
        run_us = (time.perf_counter_ns() - run.began) // 1000
        flush_of(run.header)
        self.active.discard(run)
        for input_id in run.input_ids:
            del self.runs[input_id]
        if run.batch is None:
            self.worker.finish(run.header, run.result, run.error, run_us, run.is_cancelled)
        else:
            run.batch.finish(run.result, run.error, run_us, run.is_cancelled)
        run.result = run.error = run.keep = run.task = run.items = None
        if self.worker.is_stopping:
            self.loop.call_soon_threadsafe(self.end_if_idle)


def is_async(handler):
    while hasattr(handler, "func"):  # functools.partial
        handler = handler.func
    return any(
        inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each)
        for each in (handler, getattr(handler, "__call__", None))
    )


# ---- what user code prints


def printer():
    header = current.get()
    return threading.get_ident(), None if header is None else header["input_id"]


def flush_of(header):
    for stream in base.streams:
        for by in list(stream.buffer.held):
            if by[1] == header["input_id"]:
                held = stream.buffer.held.pop(by, None)
                if held:
                    stream.buffer.send(held, by)


def current_input():
    header = current.get()
    return None if header is None else (header["input_id"], header["call_id"])


def serve(worker):
    base.printer = printer
    base.input_of = lambda by: by[1]
    base.current_input = current_input
    Concurrent(worker).serve()
    for stream in base.streams:
        stream.buffer.flush_all()
