"""Values that are too large for one frame: loaded by berth_worker.py with the first of them.

Such a value is a tree of one file in the workspace's storage, its chunks named by their SHA-256. They are fetched and put
through the container's own socket to the platform, a chunk at a time: neither the queue nor the runner holds the whole.
"""

import hashlib
import http.client
import json
import os
import socket
import time

CHUNK_BYTES = 4 * 1024 * 1024
BYTES_MAX = 512 * 1024 * 1024
# For how long a platform that is being restarted is asked again.
PATIENCE_S = 60
NAME = "value"


class Unavailable(Exception):
    """No value can be moved: there is no socket, or the platform does not answer."""


class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["BERTH_API_SOCKET"])


def ask(method, path, body=None, kind="application/json"):
    """The body of the answer. Raises Unavailable."""
    if not os.environ.get("BERTH_API_SOCKET"):
        raise Unavailable("this container has no socket to the platform")
    until = time.monotonic() + PATIENCE_S
    pause = 0.1
    while True:
        connection = Connection("berth")
        try:
            connection.request(method, path, body, {"content-type": kind} if body is not None else {})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status < 300:
                return content
            problem = "%d %s" % (answer.status, content[:500].decode("utf-8", "replace"))
            if answer.status not in (429, 503):
                raise Unavailable(problem)
        except (OSError, http.client.HTTPException) as error:
            problem = "%s: %s" % (type(error).__name__, error)
        finally:
            connection.close()
        if time.monotonic() > until:
            raise Unavailable(problem)
        time.sleep(pause)
        pause = min(2 * pause, 2)


def fetch(tree):
    (entry,) = json.loads(ask("GET", "/v1/trees/" + tree))["entries"]
    value = bytearray()
    for chunk in entry["chunks"]:
        content = ask("GET", "/v1/chunks/" + chunk)
        if hashlib.sha256(content).hexdigest() != chunk:
            raise Unavailable("a chunk of %s came damaged" % tree)
        value += content
    return bytes(value)


def store(value):
    """The id of the tree that holds `value`."""
    whole = memoryview(value)
    chunks = []
    for start in range(0, len(whole), CHUNK_BYTES):
        content = bytes(whole[start : start + CHUNK_BYTES])
        chunk = hashlib.sha256(content).hexdigest()
        chunks.append(chunk)
        missing = json.loads(ask("POST", "/v1/chunks/missing", json.dumps({"hashes": [chunk]})))["missing"]
        if missing:
            ask("PUT", "/v1/chunks/" + chunk, content, "application/octet-stream")
    entry = {"path": NAME, "executable": False, "size": len(whole), "chunks": chunks}
    return json.loads(ask("POST", "/v1/trees", json.dumps({"entries": [entry]})))["tree_id"]
