"""The REST API over HTTP/1.1 with what Python brings along: kept connections, retries of what is safe to repeat.

Imported by the first call and not before: a container that calls nothing should not wait for it.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import threading
import time
import uuid
from typing import Any, Dict, Iterator, List, Mapping, Optional
from urllib.parse import quote, urlencode, urlsplit

from .exceptions import ApiError, AuthError, ConnectionError, NotFoundError

# For how long a request is repeated to a platform that does not answer, in seconds: one that has answered before is being
# restarted; one that never has is most likely not there.
_PATIENCE_KNOWN = 60.0
_PATIENCE_UNKNOWN = 3.0
_RETRY_FIRST = 0.1
_RETRY_LAST = 2.0
_CONNECT_SECONDS = 10.0
_KEPT_MAX = 64


def find_credentials(environ: Optional[Mapping[str, str]] = None) -> Dict[str, Any]:
    """Where the platform is and what opens it: `BERTH_API_URL` with `BERTH_TOKEN_ID` and `BERTH_TOKEN_SECRET` (or
    `BERTH_API_KEY`); inside a container its own run's (`BERTH_API_SOCKET`); else the `credentials.json` of
    `BERTH_DATA_DIR` (default `.berth`). Raises AuthError, saying what to set."""
    env = os.environ if environ is None else environ
    url = env.get("BERTH_API_URL")
    if url and env.get("BERTH_API_KEY"):
        return {"url": url, "headers": {"x-api-key": env["BERTH_API_KEY"]}}
    if url and env.get("BERTH_TOKEN_ID") and env.get("BERTH_TOKEN_SECRET"):
        return {"url": url, "headers": _bearer(env["BERTH_TOKEN_ID"], env["BERTH_TOKEN_SECRET"])}
    if env.get("BERTH_API_SOCKET"):
        return {"url": "http://berth", "socket": env["BERTH_API_SOCKET"], "headers": {}}
    path = os.path.join(env.get("BERTH_DATA_DIR") or ".berth", "credentials.json")
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except OSError as error:
        raise AuthError(
            "no credentials: %s cannot be read. Set BERTH_DATA_DIR, or BERTH_API_URL, BERTH_TOKEN_ID and "
            "BERTH_TOKEN_SECRET" % path
        ) from error
    return {"url": url or found["api_url"], "headers": _bearer(found["token_id"], found["token_secret"])}


def _bearer(token_id: str, token_secret: str) -> Dict[str, str]:
    return {"authorization": "Bearer %s.%s" % (token_id, token_secret)}


class Client:
    """One platform, from any thread. A call may wait for hours: reading has no deadline but the one that is given."""

    def __init__(self, credentials: Mapping[str, Any]) -> None:
        parts = urlsplit(credentials["url"])
        self._url = credentials["url"]
        self._base = parts.path.rstrip("/")
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port
        self._socket = credentials.get("socket")
        self._headers = dict(credentials["headers"])
        self._free: List[Any] = []
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._has_answered = False

    # ---- what is asked

    def get(self, path: str, **query: Any) -> Any:
        return self._json("GET", path, query=query)

    def get_bytes(self, path: str, **query: Any) -> bytes:
        """A body as it is."""
        return self._body("GET", path, query=query)

    def put_bytes(self, path: str, content: bytes) -> None:
        self._body("PUT", path, body=content, kind="application/octet-stream")

    def post(self, path: str, body: Any = None, key: Optional[str] = None) -> Any:
        """`key`: a repeat with it is the same request; by default one of this call's own."""
        return self._json("POST", path, body={} if body is None else body, key=key)

    def pages(self, path: str, **query: Any) -> Iterator[Any]:
        """All items of a list, page after page."""
        cursor = ""
        while True:
            page = self.get(path, cursor=cursor or None, **query)
            yield from page["data"]
            cursor = page.get("next_cursor") or ""
            if not cursor:
                return

    def lines(self, path: str, deadline: Optional[float] = None, **query: Any) -> Iterator[Any]:
        """The documents of a streamed answer, as they come. `deadline`, as `time.monotonic` counts: when it has passed,
        `socket.timeout` is raised."""
        connection, response = self._send("GET", path, query=query, deadline=deadline)
        line_socket = connection.sock
        try:
            while True:
                if deadline is not None and line_socket is not None:
                    line_socket.settimeout(_left(deadline))
                line = response.readline()
                if not line:
                    return
                document = json.loads(line)
                if isinstance(document, dict) and set(document) == {"error"}:
                    raise _api_error(500, document)
                yield document
        finally:
            connection.close()  # What is left of the stream would be read as the next answer.

    # ---- how

    def _json(self, method: str, path: str, **options: Any) -> Any:
        text = self._body(method, path, **options)
        return json.loads(text) if text else None

    def _body(self, method: str, path: str, **options: Any) -> bytes:
        connection, response = self._send(method, path, **options)
        try:
            text = response.read()
        except BaseException:
            connection.close()
            raise
        self._keep(connection, response)
        return text

    def _send(
        self,
        method: str,
        path: str,
        query: Optional[Mapping[str, Any]] = None,
        body: Any = None,
        kind: str = "application/json",
        key: Optional[str] = None,
        deadline: Optional[float] = None,
    ) -> Any:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        target = self._base + path + ("?" + urlencode({n: _text(v) for n, v in given.items()}) if given else "")
        headers = dict(self._headers)
        payload = None
        if body is not None:
            payload = body if isinstance(body, bytes) else encode(body)
            headers["content-type"] = kind
        if method != "GET":
            # With a key of its own, a change may be sent again when its answer got lost.
            headers["idempotency-key"] = key or str(uuid.uuid4())
        began = time.monotonic()
        pause = _RETRY_FIRST
        while True:
            connection, is_kept = self._connection()
            try:
                if connection.sock is None:
                    connection.connect()
                connection.sock.settimeout(None if deadline is None else _left(deadline))
                connection.request(method, target, payload, headers)
                response = connection.getresponse()
                self._has_answered = True
                if response.status < 400:
                    return connection, response
                error = _api_error(response.status, _document(response.read()))
                self._keep(connection, response)
                if response.status not in (429, 503) or self._is_late(began):
                    raise error
            except (OSError, http.client.HTTPException) as failure:
                connection.close()
                if deadline is not None and time.monotonic() >= deadline:
                    raise
                if is_kept:
                    continue  # It was closed while nobody used it: a new one at once.
                if self._is_late(began):
                    raise ConnectionError("Berth does not answer at %s: is it running?" % self._where()) from failure
            except BaseException:
                connection.close()
                raise
            time.sleep(pause * (0.5 + random.random()))
            pause = min(2 * pause, _RETRY_LAST)

    def _is_late(self, began: float) -> bool:
        patience = _PATIENCE_KNOWN if self._has_answered else _PATIENCE_UNKNOWN
        return time.monotonic() - began > patience

    def _where(self) -> str:
        return self._socket or self._url

    def _connection(self) -> Any:
        with self._lock:
            if self._pid != os.getpid():  # A fork shares its parent's sockets: it must not speak on them.
                self._free, self._pid = [], os.getpid()
            if self._free:
                return self._free.pop(), True
        return self._new_connection(), False

    def _new_connection(self) -> Any:
        if self._socket:
            return UnixConnection(self._socket)
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=_CONNECT_SECONDS)

    def _keep(self, connection: Any, response: Any) -> None:
        if response.will_close:
            connection.close()
            return
        with self._lock:
            if len(self._free) < _KEPT_MAX and self._pid == os.getpid():
                self._free.append(connection)
                return
        connection.close()


class UnixConnection(http.client.HTTPConnection):
    """HTTP on a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("berth", timeout=_CONNECT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def encode(document: Any) -> bytes:
    """JSON that any reader reads. Raises TypeError, ValueError or RecursionError for what JSON cannot hold."""
    return json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def path_of(template: str, *ids: str) -> str:
    """`path_of("/v1/apps/%s", app_id)`, whatever the id holds."""
    return template % tuple(quote(each, safe="") for each in ids)


def _left(deadline: float) -> float:
    """Seconds; never none at all, which a socket takes for "do not wait"."""
    return max(0.001, deadline - time.monotonic())


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _document(text: bytes) -> Optional[Mapping[str, Any]]:
    try:
        return json.loads(text)
    except ValueError:
        return None  # Not from Berth's gateway: a proxy in between, say.


def _api_error(status: int, document: Optional[Mapping[str, Any]]) -> Exception:
    error = (document or {}).get("error") or {
        "code": "unknown",
        "message": "the answer was HTTP %d without an error document: is something else at this address?" % status,
    }
    message, request_id = error["message"], error.get("request_id") or ""
    if status in (401, 403):
        return AuthError(message)
    kind = NotFoundError if status == 404 else ApiError
    return kind(status, error["code"], message, error.get("field"), request_id)


_shared: Optional[Client] = None
_shared_lock = threading.Lock()


def client() -> Client:
    """The platform that this process's credentials open; looked for once."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = Client(find_credentials())
        return _shared
