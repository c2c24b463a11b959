"""Many inputs at a time in one container: tasks for what waits, threads for what is plain Python."""

import asyncio
import threading

session = {"opened": 0}
lock = threading.Lock()


async def fetch_title(name, seconds=0.1):
    """Async: all inputs of a container are tasks on one event loop, and share what the module keeps."""
    if not session["opened"]:
        session["opened"] = 1
        print("opened the session that all inputs share")
    try:
        await asyncio.sleep(seconds)  # Stands for a request to a slow server.
    except asyncio.CancelledError:
        print("gave up on", name)  # A cancelled call ends here, and only this one.
        raise
    return name.title()


def count_words(text):
    """Plain: each input has a thread of its own, so what is shared needs a lock."""
    with lock:
        session["counted"] = session.get("counted", 0) + 1
    return len(text.split())
