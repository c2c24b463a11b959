"""Berth's Python worker: runs one function inside a container, on Python 3.8 or newer with nothing installed.

It connects to its runner, says hello with the run token, imports `module:function` from the source folder, and
then answers inputs until it is told to stop. The frames are described in the README of libs/worker-protocol.

The main thread reads the socket while it is idle and runs user code itself, so that a warm input costs no hand-over
between threads. While user code runs, the kernel says by SIGIO that the runner has sent something (cancel, stop);
the signal's handler runs in the main thread, in the middle of user code, and can raise there. One that comes just
before user code enters a blocking system call is noticed only with the next: so the runner repeats a cancel.

That is how one input at a time runs. Where a function asks for several at a time, berth_worker_concurrent.py takes over
once the handler is loaded.

What makes a cold start slow is imports, so hello goes out before anything but built-in modules is loaded, and
what only failures need lies in berth_worker_report.py.
"""

import sys
import _signal
import _socket
import _thread
import os
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
LOG_BYTES_MAX = 65536
COPY_BYTES_MAX = 65536


class InputCancellation(BaseException):
    """The input was cancelled. Not an Exception, so that user code's `except Exception` lets it pass."""

    def __init__(self, message="the input was cancelled"):
        super().__init__(message)


class Channel:
    """The socket: frames out from any thread, frames in for the main thread."""

    def __init__(self, address):
        if address.startswith("tcp://"):
            host, port = address[6:].rsplit(":", 1)
            family, kind, protocol, _, target = _socket.getaddrinfo(
                host.strip("[]"), int(port), 0, _socket.SOCK_STREAM
            )[0]
            self.socket = _socket.socket(family, kind, protocol)
            self.socket.connect(target)
            self.socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        else:
            self.socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            self.socket.connect(address)
        os.set_inheritable(self.socket.fileno(), False)
        self.received = bytearray()
        self.frame_bytes_max = 64 * 1024 * 1024
        self.lock = _thread.allocate_lock()
        self.sender = None
        self.unsent = []
        # Raised in the main thread once it is no longer in the middle of a frame; see send.
        self.postponed = None
        self.main = _thread.get_ident()

    def send(self, header, payload=b""):
        """Sends one frame whole. Where a signal wants to raise meanwhile, it does so once the frame is out."""
        header = header.encode()
        length = 4 + len(header) + len(payload)
        head = length.to_bytes(4, "big") + len(header).to_bytes(4, "big") + header
        pieces = (head + payload,) if len(payload) <= COPY_BYTES_MAX else (head, payload)

        me = _thread.get_ident()
        unsent = self.unsent
        unsent.append(pieces)
        if self.sender == me:
            return  # A signal handler or a finalizer of the user's prints in the middle of a frame: sent after it.
        while unsent:
            with self.lock:
                self.sender = me
                try:
                    while unsent:
                        for piece in unsent.pop(0):
                            self.socket.sendall(piece)
                except OSError:
                    os._exit(1)  # The runner is gone: nobody pays for or hears of what runs here.
                finally:
                    self.sender = None
        if self.postponed is not None and me == self.main:
            postponed, self.postponed = self.postponed, None
            raise postponed

    def receive(self):
        """The next frame as (header, payload); waits for it. Ends the process where the runner is gone."""
        received = self.received
        if not received:
            # Mostly one read is one frame: no copy but its pieces.
            chunk = self.socket.recv(65536)
            if not chunk:
                os._exit(1)
            if len(chunk) >= 8 and 4 + int.from_bytes(chunk[:4], "big") == len(chunk):
                end = 8 + int.from_bytes(chunk[4:8], "big")
                return loads(chunk[8:end].decode()), chunk[end:]
            received += chunk
        while True:
            frame = self.cut()
            if frame:
                return frame
            chunk = self.socket.recv(1 << 20 if len(received) > 65536 else 65536)
            if not chunk:
                os._exit(1)
            received += chunk

    def receive_waiting(self):
        """All whole frames that are there, without waiting."""
        while True:
            try:
                chunk = self.socket.recv(65536, _socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            if not chunk:
                os._exit(1)
            self.received += chunk
        frames = []
        while True:
            frame = self.cut()
            if not frame:
                return frames
            frames.append(frame)

    def cut(self):
        received = self.received
        if len(received) < 8:
            return None
        end = 4 + int.from_bytes(received[:4], "big")
        if len(received) < end:
            return None
        header_end = 8 + int.from_bytes(received[4:8], "big")
        frame = loads(received[8:header_end].decode()), bytes(received[header_end:end])
        del received[:end]
        return frame


class Worker:
    def __init__(self, channel):
        self.channel = channel
        self.input_id = None  # The input that runs, in the main thread.
        self.call_id = None
        self.items = None  # Where what runs is a generator: what it has yielded.
        self.batch = None  # Where what runs is a batch of inputs; input_id is then that of its first.
        self.slots = 1
        self.task = None  # The asyncio task of an input whose handler is async.
        self.loop = None
        self.is_interruptible = False
        self.is_cancelled = False
        self.is_hearing = False
        self.has_more = False
        self.is_starting = False
        self.is_stopping = False
        self.waiting = []  # Inputs that came while another ran.
        self.source = ""
        self.handler = None
        self.instance = None  # Where the handler is a class.
        self.web = None  # What serves in place of this, where the function is a web endpoint.

    # ---- what the runner says

    def start(self, header):
        """Imports the handler. False where that failed, which the runner was told."""
        began = time.perf_counter()
        self.source = header["source"]
        self.slots = header.get("slots", 1)
        self.channel.frame_bytes_max = header.get("frame_bytes_max", self.channel.frame_bytes_max)
        os.environ.update(header.get("env", {}))
        # The worker's own folder is there because it is the script's: user code must not find it.
        if sys.path and sys.path[0] == FOLDER:
            del sys.path[0]
        sys.path.insert(0, self.source)
        # `import berth`, after all that is the user's: a module of that name of theirs is theirs.
        sys.path.append(FOLDER + "/lib")
        sys.argv = [header["handler"]]
        try:
            os.chdir(self.source)
        except OSError:
            pass  # Found by sys.path alone, or the import says what is missing.

        self.is_starting = True
        self.listen_for_signals()
        try:
            self.handler = resolve(header["handler"], self.source)
            if isinstance(self.handler, type) and "BERTH_WEB" not in os.environ:
                self.enter(self.handler, header.get("parameters") or {})
            if "BERTH_WEB" in os.environ:
                self.web = own_module("berth_worker_web").Web(self, self.handler)
        except BaseException as error:
            self.is_starting = False
            self.stop_listening_for_signals()
            flush_logs()
            self.send_with_error({"type": "init_failed"}, error)
            return False
        self.is_starting = False
        self.stop_listening_for_signals()
        flush_logs()
        init_ms = round((time.perf_counter() - began) * 1000)
        self.channel.send('{"type":"ready","init_ms":%d}' % init_ms)
        return True

    def enter(self, kind, parameters):
        global arguments
        self.instance = own_module("berth_worker_class").Instance(self, kind, parameters)
        self.handler = self.instance.call
        arguments = self.instance.arguments

    def serve(self):
        """Runs inputs until it is told to stop. Inputs that wait then go back: they have no outcome."""
        if self.slots > 1:
            return own_module("berth_worker_concurrent").serve(self)
        while not self.is_stopping:
            header, payload = self.waiting.pop(0) if self.waiting else self.channel.receive()
            kind = header["type"]
            if kind == "input":
                self.run_input(header, payload)
            elif kind == "batch":
                for self.batch in own_module("berth_worker_batch").batches(self, header, payload):
                    self.run_input(self.batch.first, b"")
                self.batch = None
            elif kind == "stop":
                return
            elif kind == "cancel":
                self.heard(header, payload)

    def heard(self, header, payload):
        """Takes a frame that came while something else was going on; true if what runs is cancelled."""
        kind = header["type"]
        if kind == "input" or kind == "batch":
            self.waiting.append((header, payload))
        elif kind == "stop":
            if self.is_starting:
                os._exit(0)
            self.is_stopping = True
        elif kind == "recorded":
            if self.items is not None and header["input_id"] == self.input_id:
                self.items.recorded(header["items"])
        elif kind == "cancel":
            if self.batch is not None:
                return self.batch.cancel(header["input_id"])
            if header["input_id"] == self.input_id:
                return True
            for index, (waiting, _) in enumerate(self.waiting):
                if waiting.get("input_id") == header["input_id"]:
                    del self.waiting[index]
                    self.send_with_error(outcome(waiting, "failure"), InputCancellation())
                    break
        return False

    # ---- one input

    def run_input(self, header, payload):
        # Threads print in the name of the input that runs: one at a time, so they need not inherit a context.
        self.is_cancelled = False
        self.input_id = header["input_id"]
        self.call_id = header["call_id"]
        result = None
        error = None
        began = time.perf_counter_ns()
        try:
            try:
                self.is_interruptible = True
                # A frame that came before this line waits in the buffer or the socket; one that comes later signals.
                self.listen_for_signals()
                if self.is_cancelled:  # By a signal of the input before that was handled late.
                    raise InputCancellation()
                args, kwargs = arguments(header, payload) if self.batch is None else self.batch.arguments
                began = time.perf_counter_ns()
                result = self.handler(*args, **kwargs)
                if type(result) not in PLAIN:
                    if is_awaitable(result):
                        result = self.run_async(result)
                    if is_generator(result) and self.batch is None:
                        result = own_module("berth_worker_items").stream(self, header, result)
            finally:
                self.is_interruptible = False
        except BaseException as raised:
            self.is_interruptible = False
            error = raised
        run_us = (time.perf_counter_ns() - began) // 1000
        self.stop_listening_for_signals()
        flush_logs()
        if self.batch is None:
            self.finish(header, result, error, run_us, self.is_cancelled)
        else:
            self.batch.finish(result, error, run_us, self.is_cancelled)
        self.input_id = None
        error = result = None  # Else this frame and the traceback keep each other alive.

    def finish(self, header, result, error, run_us, is_cancelled, of_batch=None):
        """Tells how an input ended."""
        encoded = None
        blob = ""
        is_streamed = type(result) is Streamed
        if error is None:
            try:
                format = "json" if is_streamed else header["format"]
                encoded = self.encoded(result, format)
                inline_max = min(self.channel.frame_bytes_max - 4096, INLINE_BYTES[format])
                if len(encoded) > inline_max:
                    blob = ',"blob":"%s"' % stored(encoded, inline_max)
                    encoded = b""
            except BaseException as raised:
                error = raised
        if error is None:
            self.channel.send(
                '{"type":"success","input_id":%s,"attempt":%d,"format":"%s","run_us":%d%s}'
                % (
                    dumps(header["input_id"]),
                    header["attempt"],
                    "items" if is_streamed else format,
                    run_us,
                    blob,
                ),
                encoded,
            )
        else:
            failure = outcome(header, "failure")
            failure["run_us"] = run_us
            if of_batch:
                failure["of_batch"] = of_batch
            if is_cancelled and type(error).__name__ == "CancelledError":
                error = InputCancellation()
            self.send_with_error(failure, error)
        error = None

    def encoded(self, result, format):
        try:
            return encode(result) if format == "json" else other_format(format).encode(result)
        except BaseException as raised:
            if isinstance(raised, report().ResultNotSerializable):
                raise
            raise report().not_serializable(result, raised) from None

    def run_async(self, awaitable):
        """Awaits on one loop for all inputs, so that sessions and pools that user code keeps stay usable."""
        import asyncio

        if self.loop is None:
            self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        # From here a cancel goes to the task, not to whatever line of asyncio the main thread is in.
        self.is_interruptible = False

        async def awaited():
            return await awaitable

        self.task = self.loop.create_task(awaited())
        if self.is_cancelled:
            self.task.cancel()
        try:
            return self.loop.run_until_complete(self.task)
        finally:
            self.task = None

    def send_with_error(self, header, error):
        try:
            header["error"] = report().describe(error, self.source, FOLDER)
        except BaseException as broken:  # An exception class of the user's that cannot even be looked at.
            header["error"] = {
                "type": type(error).__name__,
                "message": "the exception could not be described (%s)" % type(broken).__name__,
                "traceback": "",
            }
        self.channel.send(dumps(header))

    # ---- signals, all in the main thread

    def listen_for_signals(self):
        set_flags(self.channel.socket.fileno(), F_SETFL, FLAGS_ASYNC)
        # A cancel that came before: nothing will signal it.
        if self.channel.received or has_arrived(0):
            self.on_sigio()

    def stop_listening_for_signals(self):
        set_flags(self.channel.socket.fileno(), F_SETFL, FLAGS_SYNC)

    def on_sigio(self, *_):
        if self.input_id is None and not self.is_starting:
            return  # Between inputs; receive() will read it.
        # A signal may come while the one before is handled. It must not raise there: frames in hand would be lost.
        self.has_more = True
        is_hit = False
        while self.has_more and not self.is_hearing:
            self.is_hearing = True
            while self.has_more:
                self.has_more = False
                for header, payload in self.channel.receive_waiting():
                    is_hit = self.heard(header, payload) or is_hit
            self.is_hearing = False
        if not is_hit or self.is_cancelled:
            return
        self.is_cancelled = True
        if self.task is not None:
            # The loop may sleep: this also wakes it.
            self.loop.call_soon_threadsafe(self.task.cancel)
        elif self.is_interruptible:
            self.is_interruptible = False
            cancellation = InputCancellation()
            if self.channel.sender != self.channel.main:
                raise cancellation
            self.channel.postponed = cancellation

    def on_sigterm(self, *_):
        self.is_stopping = True
        if self.is_starting:
            os._exit(0)
        if self.input_id is None:
            raise SystemExit(0)


def outcome(header, kind):
    return {"type": kind, "input_id": header["input_id"], "attempt": header["attempt"], "run_us": 0}


def own_module(name):
    """A file of the worker's own. Neither it nor what it imports is looked for among the user's files."""
    module = own_modules.get(name)
    if module is not None:
        return module
    # Where inputs run in threads, several may need it first: it is there for the others when it is whole.
    with own_modules_lock:
        path = sys.path
        sys.path = [FOLDER] + [entry for entry in path if entry and entry != worker.source]
        try:
            module = own_modules[name] = __import__(name)
        finally:
            sys.path = path
    return module


own_modules = {}
own_modules_lock = _thread.RLock()  # An import of one may ask for another.


def report():
    """The part that only failures need."""
    return own_module("berth_worker_report")


def other_format(format):
    if format == "pickle":
        return own_module("berth_worker_pickle")
    raise report().FormatNotSupported("this worker reads arguments as json or pickle, not as %s" % format)


# A larger result is kept as a blob. Who sends pickles knows of those; of JSON most readers want the document itself.
INLINE_BYTES = {"json": 16 * 1024 * 1024, "pickle": 1024 * 1024}


def stored(encoded, inline_max):
    """The id under which a result is kept that is too large for a frame."""
    blobs = own_module("berth_worker_blob")
    problem = "at most %d may be returned" % blobs.BYTES_MAX
    if len(encoded) <= blobs.BYTES_MAX:
        try:
            return blobs.store(encoded)
        except blobs.Unavailable as error:
            problem = "at most %d may be returned in one message, and it could not be stored (%s)" % (inline_max, error)
    raise report().ResultTooLarge(
        "the result is %d bytes long; %s. Return less, or write it to a volume and return its path"
        % (len(encoded), problem)
    )


def arguments(header, payload):
    if "blob" in header:
        blobs = own_module("berth_worker_blob")
        try:
            payload = blobs.fetch(header["blob"])
        except blobs.Unavailable as error:
            raise report().ArgumentsNotReadable("the arguments could not be fetched: %s" % error)
    if header["format"] != "json":
        return other_format(header["format"]).arguments(payload)
    if not payload:
        return (), {}
    try:
        values = loads(payload.decode())
        args = values.get("args") or ()
        kwargs = values.get("kwargs") or {}
        if len(values) > 2 and values.get("method") and worker.instance is None:
            raise report().MethodNotFound("a method is called of a class, and this function is none")
        if type(values) is dict and isinstance(args, (list, tuple)) and type(kwargs) is dict:
            return args, kwargs
        problem = "not of the form {\"args\": [...], \"kwargs\": {...}}"
    except RecursionError:
        problem = "nested too deeply for this Python"
    except (ValueError, AttributeError) as error:
        problem = str(error)
    raise report().ArgumentsNotReadable("the arguments cannot be read: %s" % problem)


plain_arguments = arguments


def is_awaitable(result):
    return hasattr(result, "__await__")


def is_generator(result):
    return hasattr(result, "gi_frame") or hasattr(result, "ag_frame")


class Streamed(int):
    """The result of a generator: how many items were sent."""


def resolve(handler, source):
    """The callable that `module:function` names. Raises what the user's module raises, or HandlerNotFound."""
    module_name, colon, path = handler.partition(":")
    if not colon or not module_name or not path:
        raise report().HandlerNotFound(
            'the handler is "%s"; it must be "module:function", for example "main:hello"' % handler
        )
    try:
        __import__(module_name)
    except ModuleNotFoundError as error:
        # Only where the handler's own module is what is missing: else the user's import is wrong.
        if error.name and (module_name + ".").startswith(error.name + "."):
            raise report().module_missing(handler, module_name, source) from None
        raise
    target = sys.modules[module_name]
    for name in path.split("."):
        try:
            target = getattr(target, name)
        except AttributeError:
            raise report().function_missing(handler, sys.modules[module_name]) from None
    # A function that `@app.function()` describes stands for the user's own, which is called without a step between.
    target = getattr(target, "__berth_raw__", target)
    if not callable(target):
        raise report().HandlerNotFound(
            '"%s" is of type %s, which cannot be called' % (handler, type(target).__name__)
        )
    return target


# ---- what user code prints


def log_streams(worker):
    """Text streams for sys.stdout and sys.stderr that send what is written as log frames, line by line.

    What subprocesses and C code write to descriptors 1 and 2 is not seen here: it goes to the container's output.
    """
    import io

    class LogBytes(io.RawIOBase):
        """The `buffer` of a log stream. Holds what is not a whole line yet, up to 64 KiB."""

        def __init__(self, stream, descriptor):
            self.head = '{"type":"log","stream":"%s","input_id":' % stream
            self.descriptor = descriptor
            # By printer: print writes a line's text and its end one after the other, and threads print at once.
            self.held = {}

        def writable(self):
            return True

        def fileno(self):
            return self.descriptor

        def write(self, data):
            data = bytes(data)
            me = printer()
            held = self.held.pop(me, b"")
            end = data.rfind(b"\n") + 1
            if end == 0 and len(held) + len(data) < LOG_BYTES_MAX:
                # A line is written in few pieces; joining them costs less than a list of them.
                self.held[me] = held + data
                return len(data)
            end = end or len(data)
            if end < len(data):
                self.held[me] = data[end:]
            self.send(held + data[:end], me)
            return len(data)

        def flush(self):
            me = printer()
            held = self.held.pop(me, None)
            if held:
                self.send(held, me)

        def flush_all(self):
            """Also what threads left without a line's end."""
            while self.held:
                try:
                    by, held = self.held.popitem()
                except KeyError:
                    return
                self.send(held, by)

        def send(self, lines, by):
            input_id = input_of(by)
            header = self.head + ("null}" if input_id is None else dumps(input_id) + "}")
            at = 0
            while at < len(lines):
                end = min(at + LOG_BYTES_MAX, len(lines))
                while end < len(lines) and end > at + LOG_BYTES_MAX - 4 and lines[end] & 0xC0 == 0x80:
                    end -= 1  # Not in the middle of a character.
                worker.channel.send(header, lines[at:end])
                at = end

    class LogText(io.TextIOBase):
        def __init__(self, stream, descriptor):
            self.buffer = LogBytes(stream, descriptor)
            self.name = "<%s>" % stream
            self.mode = "w"

        encoding = "utf-8"
        errors = "backslashreplace"

        def writable(self):
            return True

        def fileno(self):
            return self.buffer.descriptor

        def write(self, text):
            if not isinstance(text, str):
                raise TypeError("write() argument must be str, not %s" % type(text).__name__)
            self.buffer.write(text.encode("utf-8", "backslashreplace"))
            return len(text)

        def flush(self):
            self.buffer.flush()

        def close(self):
            self.flush()  # User code that closes its standard output must not take the next input's.

        def reconfigure(self, **_):
            """As TextIOWrapper's; lines go out at once in any case."""

    return LogText("stdout", 1), LogText("stderr", 2)


worker = None
streams = ()

# Who prints, and in the name of which input: berth_worker_concurrent.py knows better where several run at a time.
printer = _thread.get_ident


def input_of(_printer):
    return worker.input_id


def current_input():
    """The input that the calling code belongs to, as (input id, call id); None outside an input."""
    return None if worker is None or worker.input_id is None else (worker.input_id, worker.call_id)


def flush_logs():
    for stream in streams:
        if stream.buffer.held:
            stream.buffer.flush_all()


# ---- start of the process


def prepare():
    """Loads what inputs need. Comes after hello, so that the runner answers meanwhile."""
    global loads, dumps, encode, set_flags, F_SETFL, PLAIN
    import fcntl
    import json

    loads = json.loads
    dumps = json.dumps
    encode_text = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode

    def encode(value):
        return encode_text(value).encode()

    set_flags = fcntl.fcntl
    F_SETFL = fcntl.F_SETFL
    # The types of results that are certainly no awaitables.
    PLAIN = frozenset((type(None), bool, int, float, str, list, dict, tuple))


def own_signals(worker):
    """SIGIO to the main thread whenever the runner sends while user code runs; SIGTERM is a stop."""
    global FLAGS_SYNC, FLAGS_ASYNC, has_arrived
    import fcntl
    import select

    descriptor = worker.channel.socket.fileno()
    arrivals = select.poll()
    arrivals.register(descriptor, select.POLLIN)
    has_arrived = arrivals.poll
    FLAGS_SYNC = fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~fcntl.FASYNC
    FLAGS_ASYNC = FLAGS_SYNC | fcntl.FASYNC
    _signal.signal(_signal.SIGIO, worker.on_sigio)
    _signal.signal(_signal.SIGTERM, worker.on_sigterm)
    f_setown_ex = 15
    try:
        # To this thread, not to any: only a signal here ends the main thread's own system call.
        from _thread import get_native_id
        import struct

        fcntl.fcntl(descriptor, f_setown_ex, struct.pack("ii", 0, get_native_id()))
    except (ImportError, OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())


def leave_to_child(worker):
    """A fork of user code has no part in the conversation: it prints to the container's output."""
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    worker.channel.socket.close()


def main():
    global streams, worker
    channel = Channel(os.environ["BERTH_SOCKET"])
    # Popped, so that user code that prints its environment does not print it.
    token = os.environ.pop("BERTH_RUN_TOKEN", "")
    version = "%d.%d.%d" % sys.version_info[:3]
    text = '{"type":"hello","token":"%s","runtime":"python","version":"%s","pid":%d}'
    quoted = token.replace("\\", "\\\\").replace('"', '\\"')
    channel.send(text % (quoted, version, os.getpid()))

    prepare()
    # Under this name user code, and the berth module, find InputCancellation and current_input.
    sys.modules["berth_worker"] = sys.modules["__main__"]
    worker = Worker(channel)
    own_signals(worker)
    os.register_at_fork(after_in_child=lambda: leave_to_child(worker))
    streams = log_streams(worker)
    sys.stdout, sys.stderr = streams
    header, _ = channel.receive()
    if header["type"] != "start":
        sys.exit(0)
    if not worker.start(header):
        flush_logs()
        os._exit(1)
    try:
        (worker.web or worker).serve()
    finally:
        if worker.instance is not None:
            worker.instance.exit()
            flush_logs()


if __name__ == "__main__":
    main()
