"""Items that a generator yields: loaded by berth_worker.py with the first one.

Each item is sent as it comes, and the runner says how many are recorded. A generator that is further ahead than that by
so many items, or so many bytes, waits: its user code stands still where it yielded.
"""

from _queue import SimpleQueue
from collections import deque

import berth_worker as base

AHEAD_ITEMS_MAX = 32
AHEAD_BYTES_MAX = 1024 * 1024


class Items:
    def __init__(self, worker, header):
        self.worker = worker
        self.header = header
        self.count = 0
        self.ahead = deque()  # The sizes of what is sent and not recorded.
        # Two sums, each of one thread: the difference is what is ahead.
        self.bytes_sent = 0
        self.bytes_recorded = 0

    def is_full(self):
        return len(self.ahead) >= AHEAD_ITEMS_MAX or self.bytes_sent - self.bytes_recorded >= AHEAD_BYTES_MAX

    def recorded(self, count):
        for _ in range(min(count, len(self.ahead))):
            self.bytes_recorded += self.ahead.popleft()
        self.wake()

    def wake(self):
        """Something changed that a generator may wait for."""

    def send(self, value):
        encoded = self.worker.encoded(value, "json")
        limit = self.worker.channel.frame_bytes_max - 4096
        if len(encoded) > limit:
            raise base.report().ResultTooLarge(
                "an item is %d bytes long; at most %d may be yielded. Yield less, or write it to a volume and yield its "
                "path" % (len(encoded), limit)
            )
        self.ahead.append(len(encoded))
        self.bytes_sent += len(encoded)
        self.worker.channel.send(
            '{"type":"item","input_id":%s,"attempt":%d,"index":%d,"format":"json"}'
            % (base.dumps(self.header["input_id"]), self.header["attempt"], self.count),
            encoded,
        )
        self.count += 1

    def drain(self, generator):
        """Sends all that a generator yields. What ends it from outside is thrown into it, so that it can clean up."""
        try:
            for value in generator:
                self.send(value)
                self.wait()
        except base.InputCancellation as cancellation:
            if generator.gi_frame is not None:
                generator.throw(cancellation)
            raise
        finally:
            generator.close()

    async def drain_async(self, generator):
        import asyncio

        loop = asyncio.get_running_loop()
        room = asyncio.Event()
        self.wake = lambda: loop.call_soon_threadsafe(room.set)
        try:
            async for value in generator:
                self.send(value)
                while self.is_full():
                    room.clear()
                    if self.is_full():
                        await room.wait()
        except asyncio.CancelledError as cancellation:
            if generator.ag_frame is not None:
                await generator.athrow(cancellation)
            raise
        finally:
            await generator.aclose()


class MainThreadItems(Items):
    """Where one input runs at a time: its generator waits by reading what the runner says."""

    def wait(self):
        while self.is_full():
            # Not by signals meanwhile: one that came just before the poll would leave it nothing to hear of.
            self.worker.stop_listening_for_signals()
            base.has_arrived(1000)
            self.worker.listen_for_signals()


class ThreadItems(Items):
    """Where several inputs run: the main thread hears of what is recorded, and wakes the generator's own."""

    def __init__(self, worker, header):
        super().__init__(worker, header)
        self.words = SimpleQueue()

    def wake(self):
        self.words.put(None)

    def wait(self):
        while self.is_full():
            self.words.get()


def stream(worker, header, generator):
    """Where one input runs at a time."""
    items = worker.items = MainThreadItems(worker, header)
    try:
        if hasattr(generator, "ag_frame"):
            worker.run_async(items.drain_async(generator))
        else:
            worker.is_interruptible = True
            items.drain(generator)
    finally:
        worker.items = None
    return base.Streamed(items.count)
