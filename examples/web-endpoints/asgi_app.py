"""An ASGI app written with the standard library: a page, a stream of server-sent events, a WebSocket and an upload."""

import asyncio
import hashlib
import json
import time

started = []


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "websocket":
        await chat(receive, send)
    else:
        path = scope["path"][len(scope["root_path"]) :]
        await {"/events": events, "/digest": digest}.get(path, page)(scope, receive, send)


async def lifespan(receive, send):
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            started.append(time.time())
            await send({"type": "lifespan.startup.complete"})
        else:
            print("shutting down")
            await send({"type": "lifespan.shutdown.complete"})
            return


async def page(scope, receive, send):
    body = json.dumps({"root_path": scope["root_path"], "path": scope["path"], "starts": len(started)})
    await respond(send, 200, "application/json", body.encode())


async def events(scope, receive, send):
    """Server-sent events until the client goes away, or the count that it asks for."""
    count = int(dict(pair.split("=") for pair in scope["query_string"].decode().split("&"))["count"])
    await start(send, 200, "text/event-stream")
    for number in range(count):
        event = "id: %d\ndata: %s\n\n" % (number, time.strftime("%H:%M:%S"))
        await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
        await asyncio.sleep(0.1)
    await send({"type": "http.response.body", "body": b""})


async def digest(scope, receive, send):
    """The hash of a body of any size, which is never in memory."""
    seen = hashlib.sha256()
    while True:
        message = await receive()
        seen.update(message.get("body", b""))
        if not message.get("more_body"):
            break
    await respond(send, 200, "text/plain", seen.hexdigest().encode())


async def chat(receive, send):
    """Says back what it hears, in capitals."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            print("disconnected with", message["code"])
            return
        if message.get("text") == "bye":
            await send({"type": "websocket.close", "code": 4000, "reason": "as you wish"})
            return
        if message.get("text") is not None:
            await send({"type": "websocket.send", "text": message["text"].upper()})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"][::-1]})


async def start(send, status, kind, headers=()):
    headers = [(b"content-type", kind.encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def respond(send, status, kind, body):
    await start(send, status, kind, [(b"content-length", b"%d" % len(body))])
    await send({"type": "http.response.body", "body": body})
