"""Values that are too large for a request or an answer: trees of one file in the workspace's storage, moved a chunk at a time."""

from __future__ import annotations

import hashlib

from ._client import client, path_of

_CHUNK_BYTES = 4 * 1024 * 1024
BYTES_MAX = 512 * 1024 * 1024


def put(value: bytes) -> str:
    """Stores bytes; gives what `blob` of a call takes. The same bytes are the same blob."""
    whole = memoryview(value)
    chunks = []
    for start in range(0, len(whole), _CHUNK_BYTES):
        content = bytes(whole[start : start + _CHUNK_BYTES])
        chunk = hashlib.sha256(content).hexdigest()
        chunks.append(chunk)
        if client().post("/v1/chunks/missing", {"hashes": [chunk]})["missing"]:
            client().put_bytes("/v1/chunks/" + chunk, content)
    entry = {"path": "value", "executable": False, "size": len(whole), "chunks": chunks}
    tree_id: str = client().post("/v1/trees", {"entries": [entry]})["tree_id"]
    return tree_id


def get(blob: str) -> bytes:
    """The bytes of a blob, each chunk checked."""
    value = bytearray()
    for entry in client().get(path_of("/v1/trees/%s", blob))["entries"]:
        for chunk in entry["chunks"]:
            content = client().get_bytes("/v1/chunks/" + chunk)
            if hashlib.sha256(content).hexdigest() != chunk:
                raise ConnectionError("a chunk of %s came damaged: read it again" % blob)
            value += content
    return bytes(value)
