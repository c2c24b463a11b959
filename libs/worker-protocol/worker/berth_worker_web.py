"""Web endpoints in Berth's Python worker, for Python 3.8 or newer with nothing installed.

A web request comes as an input of format `web` on the worker's own connection, and gets its outcome there. The request
and the response themselves pass over a connection of their own, which the worker opens with the token in the input's
payload: frames again, and what one side does not read holds the other up.

One asyncio loop in the main thread hears the runner and runs ASGI apps and async endpoints; WSGI apps and plain
functions run in threads. Nothing here counts inputs: as many run at a time as the runner sends.
"""

import asyncio
import concurrent.futures
import contextvars
import inspect
import json
import os
import signal
import socket
import sys
import threading
import time
import typing
import urllib.parse

import berth_worker as base

PIECE_BYTES = 65536
ENDPOINT_BODY_BYTES_MAX = 16 * 1024 * 1024
SERVER_HEAD_BYTES_MAX = 65536
# From telling an ASGI app that its client is gone to cancelling its task.
DISCONNECT_SECONDS = 1.0
THREADS_MAX = 1000

current = contextvars.ContextVar("berth_input", default=None)


class NotCallable(Exception):
    """A web endpoint was invoked as a function."""


class WebEndpointInvalid(Exception):
    """The handler is none that this kind of endpoint can have, or its server did not come up."""


# ---- the connection of one request


def encode_frame(header, payload=b""):
    head = json.dumps(header).encode()
    return (4 + len(head) + len(payload)).to_bytes(4, "big") + len(head).to_bytes(4, "big") + head + payload


def connect_to(address):
    if address.startswith("tcp://"):
        host, port = address[6:].rsplit(":", 1)
        return socket.create_connection((host.strip("[]"), int(port)))
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(address)
    return connection


class Session:
    """For the loop. A read that is given up keeps its place: the next one goes on with it."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer
        self.reading = None

    @classmethod
    async def open(cls, address, token):
        connection = connect_to(address)
        connection.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=connection)
        writer.write(encode_frame({"type": "session", "token": token}))
        return cls(reader, writer)

    async def receive(self):
        """The next frame as (header, payload); (None, b"") when the other side has gone."""
        if self.reading is None:
            self.reading = asyncio.ensure_future(self.read())
        reading = self.reading
        frame = await asyncio.shield(reading)
        if self.reading is reading:
            self.reading = None
        return frame

    async def read(self):
        try:
            prefix = await self.reader.readexactly(8)
            header_bytes = int.from_bytes(prefix[4:], "big")
            rest = await self.reader.readexactly(int.from_bytes(prefix[:4], "big") - 4)
        except (asyncio.IncompleteReadError, OSError):
            return None, b""
        return json.loads(rest[:header_bytes].decode()), rest[header_bytes:]

    async def send(self, header, payload=b""):
        self.writer.write(encode_frame(header, payload))
        await self.writer.drain()

    async def send_body(self, data):
        for at in range(0, len(data), PIECE_BYTES):
            await self.send({"type": "body"}, data[at : at + PIECE_BYTES])

    async def close(self):
        """Resolves when all that was sent has been taken. What is closed with words unread in it is reset instead."""
        try:
            self.writer.write_eof()
            while (await self.receive())[0] is not None:
                pass
        except OSError:
            pass
        finally:
            self.abort()

    def abort(self):
        self.writer.transport.abort()


class ThreadSession:
    """The same for a thread."""

    def __init__(self, address, token):
        self.socket = connect_to(address)
        self.socket.sendall(encode_frame({"type": "session", "token": token}))
        self.stream = self.socket.makefile("rb", PIECE_BYTES)

    def receive(self):
        prefix = self.stream.read(8)
        if len(prefix) < 8:
            return None, b""
        header_bytes = int.from_bytes(prefix[4:], "big")
        rest = self.stream.read(int.from_bytes(prefix[:4], "big") - 4)
        return json.loads(rest[:header_bytes].decode()), rest[header_bytes:]

    def send(self, header, payload=b""):
        self.socket.sendall(encode_frame(header, payload))

    def send_body(self, data):
        for at in range(0, len(data), PIECE_BYTES):
            self.send({"type": "body"}, data[at : at + PIECE_BYTES])

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_WR)
            while self.stream.read(PIECE_BYTES):
                pass
        except OSError:
            pass
        self.stream.close()
        self.socket.close()

    def abort(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


# ---- what user code prints, and in whose name


def printer():
    header = current.get()
    return threading.get_ident(), None if header is None else header["input_id"]


def current_input():
    header = current.get()
    return None if header is None else (header["input_id"], header["call_id"])


def flush_of(header):
    for stream in base.streams:
        for by in list(stream.buffer.held):
            if by[1] == header["input_id"]:
                held = stream.buffer.held.pop(by, None)
                if held:
                    stream.buffer.send(held, by)


# ---- the worker's part


class Web:
    """What berth_worker.py hands over to where a function is a web endpoint."""

    def __init__(self, worker, handler):
        spec = json.loads(os.environ.pop("BERTH_WEB"))
        self.worker = worker
        self.channel = worker.channel
        self.address = os.environ.pop("BERTH_WEB_SOCKET")
        self.loop = worker.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.threads = concurrent.futures.ThreadPoolExecutor(THREADS_MAX)
        self.running = {}
        self.is_stopping = False
        self.over = None
        base.printer = printer
        base.input_of = lambda by: by[1]
        base.current_input = current_input
        self.kind = KINDS[spec["kind"]](self, handler, spec)

    def serve(self):
        """Serves until the runner says stop; what runs is finished first."""
        self.loop.run_until_complete(self.hear())

    async def hear(self):
        self.over = asyncio.Event()
        self.loop.add_signal_handler(signal.SIGTERM, self.stop)
        self.loop.add_reader(self.channel.socket.fileno(), self.on_frames)
        self.on_frames()  # Those that came with the start.
        await self.over.wait()
        self.loop.remove_reader(self.channel.socket.fileno())
        await self.kind.close()

    def on_frames(self):
        for header, payload in self.channel.receive_waiting():
            if header["type"] == "input":
                self.begin(header, payload)
            elif header["type"] == "cancel" and header["input_id"] in self.running:
                self.running[header["input_id"]].cancel()
            elif header["type"] == "stop":
                self.stop()

    def stop(self):
        self.is_stopping = True
        self.end_if_idle()

    def end_if_idle(self):
        if self.is_stopping and not self.running:
            self.over.set()

    def begin(self, header, payload):
        if self.is_stopping:
            return  # It goes back to the queue with this connection.
        request = Request(self, header, payload)
        self.running[header["input_id"]] = request
        request.task = self.loop.create_task(request.run())

    async def in_thread(self, function, *args):
        """Runs in a thread, in whose prints the input is known."""
        context = contextvars.copy_context()
        return await self.loop.run_in_executor(self.threads, lambda: context.run(function, *args))


class Request:
    """One input, from its arrival to its outcome."""

    def __init__(self, web, header, payload):
        self.web = web
        self.header = header
        self.payload = payload
        self.task = None
        self.session = None
        self.is_cancelled = False

    def cancel(self):
        if self.is_cancelled:
            return
        self.is_cancelled = True
        if self.session is not None:
            self.session.abort()
        # An app that hears of the disconnect may still clean up behind it.
        if self.web.kind.hears_disconnect:
            self.web.loop.call_later(DISCONNECT_SECONDS, self.task.cancel)
        else:
            self.task.cancel()

    async def leave(self):
        if isinstance(self.session, ThreadSession):
            await self.web.in_thread(self.session.close)
        elif self.session is not None:
            try:
                await self.session.close()
            except asyncio.CancelledError:
                pass  # It was cancelled while its last words were on their way.

    async def run(self):
        web, header = self.web, self.header
        current.set(header)
        began = time.perf_counter_ns()
        error = None
        try:
            if header["format"] != "web":
                raise NotCallable("this function answers web requests: call its web_url, or deploy it without web")
            token = json.loads(self.payload.decode())["session"]
            await web.kind.answer(self, token)
        except asyncio.CancelledError:
            error = base.InputCancellation("the input was cancelled")
        except BaseException as raised:
            error = raised
        await self.leave()
        if self.is_cancelled:
            error = base.InputCancellation("the input was cancelled")
        run_us = (time.perf_counter_ns() - began) // 1000
        outcome = {"input_id": header["input_id"], "attempt": header["attempt"], "run_us": run_us}
        flush_of(header)
        if error is None:
            outcome.update(type="success", format="json")
            web.channel.send(json.dumps(outcome), b"null")
        else:
            outcome.update(type="failure")
            web.worker.send_with_error(outcome, error)
        del web.running[header["input_id"]]
        web.end_if_idle()


def is_app(handler, arguments):
    """Whether the handler is an app itself, which takes that many arguments, and not what makes one."""
    try:
        inspect.signature(handler).bind(*range(arguments))
        return True
    except (TypeError, ValueError):
        return False


def latin(text):
    return text.encode("latin-1")


def headers_of(pairs):
    """Response headers from pairs of bytes or text, as the frames have them."""
    found = []
    for name, value in pairs:
        name = name.decode("latin-1") if isinstance(name, bytes) else str(name)
        value = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        found.append([name, value])
    return found


# ---- ASGI


class Asgi:
    hears_disconnect = True

    def __init__(self, web, handler, spec):
        self.web = web
        self.app = handler if is_app(handler, 3) else handler()
        if not callable(self.app):
            raise WebEndpointInvalid(
                "the handler returned a %s; it must return an ASGI app" % type(self.app).__name__
            )
        self.state = {}
        self.lifespan = None
        self.lifespan_events = None
        self.stopped = None
        web.loop.run_until_complete(self.start_up())

    async def start_up(self):
        """Runs the app's start-up, once; an app without one raises or returns, which is as well."""
        self.lifespan_events = asyncio.Queue()
        started = self.web.loop.create_future()
        self.stopped = self.web.loop.create_future()

        async def send(message):
            for future, event in ((started, "startup"), (self.stopped, "shutdown")):
                if message["type"] == "lifespan.%s.complete" % event and not future.done():
                    future.set_result(None)
                elif message["type"] == "lifespan.%s.failed" % event and not future.done():
                    future.set_result(message.get("message") or "the app's %s failed" % event)

        async def run():
            scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
            try:
                await self.app(scope, self.lifespan_events.get, send)
            except Exception:
                pass  # No lifespan in this app; where one fails, it says so by an event.
            for future in (started, self.stopped):
                if not future.done():
                    future.set_result(None)

        self.lifespan_events.put_nowait({"type": "lifespan.startup"})
        self.lifespan = self.web.loop.create_task(run())
        problem = await started
        if problem is not None:
            raise WebEndpointInvalid(problem)

    async def close(self):
        if not self.lifespan.done():
            self.lifespan_events.put_nowait({"type": "lifespan.shutdown"})
            await self.stopped

    async def answer(self, request, token):
        session = request.session = await Session.open(self.web.address, token)
        head, _ = await session.receive()
        if head is None:
            raise base.InputCancellation("the client is gone")
        scope = asgi_scope(head)
        scope["state"] = dict(self.state)
        exchange = (AsgiSocket if head["upgrade"] == "websocket" else AsgiHttp)(session, request)
        await self.app(scope, exchange.receive, exchange.send)
        await exchange.finish()


def asgi_scope(head):
    is_socket = head["upgrade"] == "websocket"
    raw_path = head["root_path"] + head["path"]
    host, _, port = head["authority"].rpartition(":")
    scope = {
        "type": "websocket" if is_socket else "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": head["http_version"],
        "scheme": head["scheme"].replace("http", "ws") if is_socket else head["scheme"],
        "path": urllib.parse.unquote(raw_path),
        "raw_path": raw_path.encode("latin-1"),
        "query_string": head["query"].encode("latin-1"),
        "root_path": head["root_path"],
        "headers": [(latin(name).lower(), latin(value)) for name, value in head["headers"]],
        "client": (head["client_host"], head["client_port"]),
        "server": (host, int(port)) if host and port.isdigit() else (head["authority"], None),
    }
    if is_socket:
        offered = [value for name, value in scope["headers"] if name == b"sec-websocket-protocol"]
        scope["subprotocols"] = [each.strip().decode("latin-1") for value in offered for each in value.split(b",")]
        scope["extensions"] = {"websocket.http.response": {}}
    else:
        scope["method"] = head["method"]
    return scope


class AsgiHttp:
    def __init__(self, session, request):
        self.session = session
        self.request = request
        self.has_body = True
        self.is_started = False
        self.is_complete = False

    async def receive(self):
        if self.is_complete or self.request.is_cancelled:
            return {"type": "http.disconnect"}
        header, payload = await self.session.receive()
        if header is None or not self.has_body:
            return {"type": "http.disconnect"}
        if header["type"] == "body":
            return {"type": "http.request", "body": payload, "more_body": True}
        self.has_body = False
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message):
        if message["type"] == "http.response.start":
            if self.is_started:
                raise RuntimeError("http.response.start was sent twice")
            self.is_started = True
            headers = headers_of(message.get("headers", ()))
            await self.session.send({"type": "response", "status": message["status"], "headers": headers})
        elif message["type"] == "http.response.body":
            if not self.is_started or self.is_complete:
                raise RuntimeError("http.response.body was sent outside of a response")
            await self.session.send_body(message.get("body", b""))
            if not message.get("more_body", False):
                self.is_complete = True
                await self.session.send({"type": "end"})
        else:
            raise RuntimeError("an ASGI app cannot send %s here" % message["type"])

    async def finish(self):
        if not self.is_complete:
            raise RuntimeError("the ASGI app returned without a complete response")


class AsgiSocket:
    def __init__(self, session, request):
        self.session = session
        self.request = request
        self.is_connected = False
        self.is_accepted = False
        self.is_closed = False
        self.is_refusing = False

    async def receive(self):
        if not self.is_connected:
            self.is_connected = True
            return {"type": "websocket.connect"}
        header, payload = (None, b"") if self.request.is_cancelled else await self.session.receive()
        if header is None or header["type"] == "close":
            self.is_closed = True
            code, reason = (header["code"], header["reason"]) if header else (1006, "")
            return {"type": "websocket.disconnect", "code": code, "reason": reason}
        if header["text"]:
            return {"type": "websocket.receive", "text": payload.decode()}
        return {"type": "websocket.receive", "bytes": payload}

    async def send(self, message):
        kind = message["type"]
        if kind == "websocket.accept" and not self.is_accepted:
            self.is_accepted = True
            headers = headers_of(message.get("headers", ()))
            if message.get("subprotocol"):
                headers.append(["sec-websocket-protocol", message["subprotocol"]])
            await self.session.send({"type": "response", "status": 101, "headers": headers})
        elif kind == "websocket.send" and self.is_accepted and not self.is_closed:
            text = message.get("text")
            data = message.get("bytes") or b"" if text is None else text.encode()
            await self.session.send({"type": "message", "text": text is not None}, data)
        elif kind == "websocket.close":
            if self.is_accepted and not self.is_closed:
                code = message.get("code") or 1000
                await self.session.send({"type": "close", "code": code, "reason": message.get("reason") or ""})
            elif not self.is_accepted:
                await self.session.send({"type": "response", "status": 403, "headers": []})
                await self.session.send({"type": "end"})
            self.is_closed = True
        elif kind == "websocket.http.response.start" and not self.is_accepted:
            self.is_refusing = True
            headers = headers_of(message.get("headers", ()))
            await self.session.send({"type": "response", "status": message["status"], "headers": headers})
        elif kind == "websocket.http.response.body" and self.is_refusing:
            await self.session.send_body(message.get("body", b""))
            if not message.get("more_body", False):
                self.is_closed = True
                await self.session.send({"type": "end"})
        else:
            raise RuntimeError("an ASGI app cannot send %s here" % kind)

    async def finish(self):
        if self.is_closed:
            return
        if not self.is_accepted:
            raise RuntimeError("the ASGI app returned without an answer to the WebSocket")
        await self.session.send({"type": "close", "code": 1000, "reason": ""})


# ---- WSGI


class Wsgi:
    hears_disconnect = True  # Its reads and writes fail; a thread cannot be interrupted otherwise.

    def __init__(self, web, handler, spec):
        self.web = web
        self.app = handler if is_app(handler, 2) else handler()
        if not callable(self.app):
            raise WebEndpointInvalid("the handler returned a %s; it must return a WSGI app" % type(self.app).__name__)

    async def close(self):
        pass

    async def answer(self, request, token):
        # Shielded: the outcome of an input waits for its thread.
        running = asyncio.ensure_future(self.web.in_thread(self.run, request, token))
        while not running.done():
            try:
                await asyncio.shield(running)
            except asyncio.CancelledError:
                if running.cancelled():
                    raise
        running.result()

    def run(self, request, token):
        session = request.session = ThreadSession(self.web.address, token)
        head, _ = session.receive()
        if head is None:
            raise base.InputCancellation("the client is gone")
        response = WsgiResponse(session)
        try:
            chunks = self.app(wsgi_environ(head, session), response.start)
            try:
                for chunk in chunks:
                    response.write(chunk)
            finally:
                if hasattr(chunks, "close"):
                    chunks.close()
            response.write(b"", is_last=True)
        except OSError:
            if not request.is_cancelled:
                raise


class WsgiResponse:
    def __init__(self, session):
        self.session = session
        self.head = None
        self.is_sent = False

    def start(self, status, headers, exc_info=None):
        if exc_info is not None and self.is_sent:
            raise exc_info[1].with_traceback(exc_info[2])
        if exc_info is None and self.head is not None:
            raise AssertionError("start_response was called twice")
        self.head = {"type": "response", "status": int(status.split(" ", 1)[0]), "headers": headers_of(headers)}
        return self.write

    def write(self, data, is_last=False):
        if self.head is None:
            raise AssertionError("the WSGI app gave a body before it called start_response")
        if (data or is_last) and not self.is_sent:
            self.is_sent = True
            self.session.send(self.head)
        if data:
            self.session.send_body(data)
        if is_last:
            self.session.send({"type": "end"})


class WsgiInput:
    """wsgi.input: the body as it comes, and nothing of it in memory but what was asked for."""

    def __init__(self, session):
        self.session = session
        self.held = b""
        self.is_over = False

    def fill(self):
        header, payload = self.session.receive()
        if header is None:
            raise ConnectionResetError("the client went away in the middle of its request")
        if header["type"] == "end":
            self.is_over = True
        self.held += payload

    def take(self, size):
        taken, self.held = self.held[:size], self.held[size:]
        return taken

    def read(self, size=-1):
        if size is None or size < 0:
            pieces = []
            while not self.is_over:
                pieces.append(self.take(len(self.held)))
                self.fill()
            return b"".join(pieces) + self.take(len(self.held))
        while len(self.held) < size and not self.is_over:
            self.fill()
        return self.take(size)

    def readline(self, size=-1):
        while b"\n" not in self.held and not self.is_over and not 0 <= size <= len(self.held):
            self.fill()
        end = self.held.find(b"\n") + 1 or len(self.held)
        return self.take(end if size is None or size < 0 else min(end, size))

    def readlines(self, hint=-1):
        return list(self)

    def __iter__(self):
        while True:
            line = self.readline()
            if not line:
                return
            yield line


def wsgi_environ(head, session):
    host, _, port = head["authority"].rpartition(":")
    has_port = host and port.isdigit()
    environ = {
        "REQUEST_METHOD": head["method"],
        "SCRIPT_NAME": head["root_path"],
        "PATH_INFO": urllib.parse.unquote(head["path"], "latin-1"),
        "QUERY_STRING": head["query"],
        "SERVER_NAME": host if has_port else head["authority"],
        "SERVER_PORT": port if has_port else ("443" if head["scheme"] == "https" else "80"),
        "SERVER_PROTOCOL": "HTTP/" + head["http_version"],
        "REMOTE_ADDR": head["client_host"],
        "REMOTE_PORT": str(head["client_port"]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": head["scheme"],
        "wsgi.input": WsgiInput(session),
        "wsgi.input_terminated": True,  # It ends by itself, also without a content length.
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in head["headers"]:
        key = name.upper().replace("-", "_")
        if "_" in name:
            continue  # Would be taken for a header with hyphens.
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
        environ[key] = environ[key] + ("; " if key == "HTTP_COOKIE" else ",") + value if key in environ else value
    return environ


# ---- an endpoint: a function of the query and the JSON body


class BadRequest(Exception):
    def __init__(self, status, detail, headers=()):
        super().__init__(status)
        self.status = status
        self.detail = detail
        self.headers = list(headers)


def bad_field(where, field, kind, message):
    return BadRequest(422, [{"loc": [where, field], "type": kind, "msg": message}])


class Endpoint:
    hears_disconnect = False

    def __init__(self, web, handler, spec):
        self.web = web
        self.handler = handler
        self.methods = ("GET", "HEAD") if spec["method"] == "GET" else (spec["method"],)
        self.is_async = inspect.iscoroutinefunction(handler) or inspect.isasyncgenfunction(handler)
        try:
            self.parameters = list(inspect.signature(handler).parameters.values())
        except (TypeError, ValueError):
            raise WebEndpointInvalid("the arguments of the handler cannot be read: make it a plain function") from None
        try:
            self.hints = typing.get_type_hints(handler)
        except Exception:  # An annotation that names what is not there.
            self.hints = {}
        for parameter in self.parameters:
            if parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is parameter.empty:
                raise WebEndpointInvalid(
                    "%s of the handler is positional only; arguments are given by name" % parameter.name
                )

    async def close(self):
        pass

    async def answer(self, request, token):
        session = request.session = await Session.open(self.web.address, token)
        head, _ = await session.receive()
        if head is None:
            raise base.InputCancellation("the client is gone")
        try:
            if head["method"] not in self.methods:
                raise BadRequest(405, "Method Not Allowed", [["allow", ", ".join(self.methods)]])
            arguments = self.arguments(head, await read_body(session))
        except BadRequest as bad:
            await send_answer(session, bad.status, bad.headers, json_body({"detail": bad.detail}))
            return
        if self.is_async:
            result = self.handler(**arguments)
            if hasattr(result, "__await__"):
                result = await result
        else:
            result = await self.web.in_thread(lambda: self.handler(**arguments))
            if hasattr(result, "__await__"):
                result = await result
        await self.send_result(session, result)

    def arguments(self, head, body):
        query = urllib.parse.parse_qs(head["query"], keep_blank_values=True)
        content_type = next((value for name, value in head["headers"] if name.lower() == "content-type"), "")
        values, whole = {}, None
        if body:
            whole = parse_body(body, content_type)
            if isinstance(whole, dict):
                values = whole
        arguments = {}
        for parameter in self.parameters:
            name = parameter.name
            hint = self.hints.get(name, parameter.empty)
            if parameter.kind is parameter.VAR_KEYWORD:
                named = {each.name for each in self.parameters}
                arguments.update((key, each[-1]) for key, each in query.items() if key not in named)
                arguments.update((key, each) for key, each in values.items() if key not in named)
            elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
                continue
            elif name in values:
                arguments[name] = coerce(values[name], hint, "body", name)
            elif name in query:
                is_list = getattr(hint, "__origin__", hint) is list
                arguments[name] = coerce(query[name] if is_list else query[name][-1], hint, "query", name)
            elif body and takes_whole(hint, whole):
                arguments[name] = whole
            elif parameter.default is parameter.empty:
                where = "query" if "GET" in self.methods else "body"
                raise bad_field(where, name, "missing", "Field required")
        return arguments

    async def send_result(self, session, result):
        status, headers = 200, []
        if hasattr(result, "status_code") and (hasattr(result, "body") or hasattr(result, "body_iterator")):
            status = int(result.status_code)
            headers = response_headers(result)
            result = result.body_iterator if hasattr(result, "body_iterator") else result.body
            if isinstance(result, (dict, list)):
                headers, result = with_type(headers, "application/json"), json_body(result)
            elif isinstance(result, str):
                result = result.encode()
            elif result is None:
                result = b""
        elif isinstance(result, str):
            headers, result = with_type(headers, "text/plain; charset=utf-8"), result.encode()
        elif isinstance(result, (bytes, bytearray, memoryview)):
            headers, result = with_type(headers, "application/octet-stream"), bytes(result)
        elif not hasattr(result, "__aiter__") and not hasattr(result, "__next__"):
            headers, result = with_type(headers, "application/json"), json_body(result)

        if isinstance(result, (bytes, bytearray, memoryview)):
            await send_answer(session, status, headers, bytes(result))
            return
        headers = with_type(headers, "text/plain; charset=utf-8")
        await session.send({"type": "response", "status": status, "headers": headers})
        async for piece in self.pieces(result):
            if not isinstance(piece, (str, bytes, bytearray, memoryview)):
                raise TypeError("a streamed answer is made of str or bytes, not of %s" % type(piece).__name__)
            await session.send_body(piece.encode() if isinstance(piece, str) else bytes(piece))
        await session.send({"type": "end"})

    async def pieces(self, result):
        if hasattr(result, "__aiter__"):
            try:
                async for piece in result:
                    yield piece
            finally:
                if hasattr(result, "aclose"):
                    await result.aclose()
            return
        pieces = iter(result)
        over = object()
        try:
            while True:
                piece = await self.web.in_thread(next, pieces, over)
                if piece is over:
                    return
                yield piece
        finally:
            if hasattr(pieces, "close") and not getattr(pieces, "gi_running", False):
                pieces.close()


async def read_body(session):
    pieces, size = [], 0
    while True:
        header, payload = await session.receive()
        if header is None:
            raise base.InputCancellation("the client went away in the middle of its request")
        if header["type"] == "end":
            return b"".join(pieces)
        size += len(payload)
        if size > ENDPOINT_BODY_BYTES_MAX:
            raise BadRequest(413, "The body is larger than %d bytes." % ENDPOINT_BODY_BYTES_MAX)
        pieces.append(payload)


def parse_body(body, content_type):
    kind = content_type.split(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return {name: values[-1] for name, values in urllib.parse.parse_qs(body.decode("utf-8", "replace"), True).items()}
    try:
        return json.loads(body.decode())
    except (ValueError, RecursionError):
        raise bad_field("body", "body", "json_invalid", "The body is not JSON") from None


def takes_whole(hint, whole):
    origin = getattr(hint, "__origin__", hint)
    return origin in (dict, list) and isinstance(whole, origin)


def coerce(value, hint, where, name):
    """The value as the annotation wants it; text becomes numbers and truths."""
    options = getattr(hint, "__args__", None) or ()
    if type(None) in options:  # Optional[...]
        if value is None:
            return None
        rest = [each for each in options if each is not type(None)]
        return coerce(value, rest[0], where, name) if len(rest) == 1 else value
    if getattr(hint, "__origin__", None) is list and options and isinstance(value, list):
        return [coerce(each, options[0], where, name) for each in value]
    if hint is bool:
        if isinstance(value, bool):
            return value
        truth = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
        if str(value).lower() in truth:
            return truth[str(value).lower()]
        raise bad_field(where, name, "bool_parsing", "Input should be a valid boolean")
    if hint in (int, float):
        kind = "integer" if hint is int else "number"
        try:
            if isinstance(value, bool) or (hint is int and isinstance(value, float) and value != int(value)):
                raise ValueError
            return hint(value)
        except (TypeError, ValueError, OverflowError):
            raise bad_field(where, name, hint.__name__ + "_parsing", "Input should be a valid " + kind) from None
    if hint is str and not isinstance(value, str):
        raise bad_field(where, name, "string_type", "Input should be a valid string")
    if hint in (dict, list) and not isinstance(value, hint):
        raise bad_field(where, name, hint.__name__ + "_type", "Input should be a valid " + hint.__name__)
    return value


def json_body(value):
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def response_headers(result):
    raw = getattr(result, "raw_headers", None)
    if raw is None:
        raw = getattr(result, "headers", None) or {}
        raw = raw.items() if hasattr(raw, "items") else raw
    return headers_of(raw)


def with_type(headers, content_type):
    if any(name.lower() == "content-type" for name, _ in headers):
        return headers
    return headers + [["content-type", content_type]]


async def send_answer(session, status, headers, body):
    if not any(name.lower() == "content-length" for name, _ in headers) and status not in (204, 304):
        headers = headers + [["content-length", str(len(body))]]
    if status not in (204, 304):
        headers = with_type(headers, "application/json")
    await session.send({"type": "response", "status": status, "headers": headers})
    await session.send_body(body)
    await session.send({"type": "end"})


# ---- a server of the user's on a port


class Server:
    hears_disconnect = False

    def __init__(self, web, handler, spec):
        self.web = web
        self.port = spec["port"]
        self.host = None
        if self.find():
            raise WebEndpointInvalid("port %d is in use before the handler was called: choose another" % self.port)
        self.raised = None
        # Beside the main thread: a handler may start a server and return, or serve by itself.
        threading.Thread(target=self.run, args=(handler,), daemon=True).start()
        pause = 0.002
        while not self.find():
            if self.raised is not None:
                raise self.raised
            # No event says that a port is listened on. The runner ends a start that takes too long.
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)

    def run(self, handler):
        try:
            result = handler()
            if hasattr(result, "__await__"):
                asyncio.new_event_loop().run_until_complete(result)
        except BaseException as error:
            self.raised = error
            if self.host is not None:
                import traceback

                traceback.print_exc()

    def find(self):
        for host in ("127.0.0.1", "::1"):
            try:
                socket.create_connection((host, self.port), 1).close()
            except OSError:
                continue
            self.host = host
            return True
        return False

    async def close(self):
        pass

    async def answer(self, request, token):
        session = request.session = await Session.open(self.web.address, token)
        head, _ = await session.receive()
        if head is None:
            raise base.InputCancellation("the client is gone")
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=SERVER_HEAD_BYTES_MAX)
        sending = asyncio.ensure_future(self.send_request(session, head, writer))
        try:
            await self.send_response(session, head, reader)
        finally:
            sending.cancel()
            writer.transport.abort()

    async def send_request(self, session, head, writer):
        try:
            await self.pass_request(session, head, writer)
        except OSError:
            pass  # The server reads no more; what it answers says why.

    async def pass_request(self, session, head, writer):
        target = head["path"] + ("?" + head["query"] if head["query"] else "")
        lines = ["%s %s HTTP/1.1" % (head["method"], target)]
        lines += ["%s: %s" % (name, value) for name, value in head["headers"]]
        is_tunnel = head["upgrade"] == "raw"
        if not is_tunnel:
            lines.append("connection: close")
        has_length = any(name.lower() == "content-length" for name, _ in head["headers"])
        header, payload = (None, b"") if is_tunnel else await session.receive()
        is_chunked = not is_tunnel and not has_length and header is not None and header["type"] == "body"
        if is_chunked:
            lines.append("transfer-encoding: chunked")
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        if is_tunnel:
            header, payload = await session.receive()
        while header is not None and header["type"] == "body":
            if payload:
                writer.write(b"%x\r\n%b\r\n" % (len(payload), payload) if is_chunked else payload)
                await writer.drain()
            header, payload = await session.receive()
        if header is None:
            writer.transport.abort()
        elif is_chunked:
            writer.write(b"0\r\n\r\n")
        elif is_tunnel and writer.can_write_eof():
            writer.write_eof()

    async def send_response(self, session, head, reader):
        status, headers = await read_head(reader)
        while 100 <= status < 200 and status != 101:
            status, headers = await read_head(reader)
        await session.send({"type": "response", "status": status, "headers": headers})
        named = {name.lower(): value for name, value in headers}
        if head["method"] == "HEAD" or status in (204, 304):
            pass
        elif status == 101:
            await copy(reader, session, None)
        elif "chunked" in named.get("transfer-encoding", "").lower():
            await copy_chunked(reader, session)
        else:
            await copy(reader, session, int(named["content-length"]) if "content-length" in named else None)
        await session.send({"type": "end"})


async def read_head(reader):
    try:
        block = (await reader.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1")
    except asyncio.IncompleteReadError:
        raise ConnectionResetError("the server on the port closed the connection without a response") from None
    first, *lines = block.split("\r\n")
    headers = [line.split(":", 1) for line in lines if ":" in line]
    return int(first.split(" ", 2)[1]), [[name.strip(), value.strip()] for name, value in headers]


async def copy(reader, session, size):
    while size is None or size > 0:
        piece = await reader.read(PIECE_BYTES if size is None else min(size, PIECE_BYTES))
        if not piece:
            if size is None:
                return
            raise ConnectionResetError("the server on the port ended its response too soon")
        if size is not None:
            size -= len(piece)
        await session.send({"type": "body"}, piece)


async def copy_chunked(reader, session):
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size == 0:
            return
        await copy(reader, session, size)
        await reader.readexactly(2)


KINDS = {"asgi": Asgi, "wsgi": Wsgi, "endpoint": Endpoint, "server": Server}
