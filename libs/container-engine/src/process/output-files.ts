import { appendFileSync, readFileSync, statSync, watch, type FSWatcher } from 'node:fs';
import { open } from 'node:fs/promises';
import { EventEmitter, once } from 'node:events';
import { join } from 'node:path';

import type { LogChunk, LogOptions } from '../engine';

type Stream = LogChunk['stream'];

interface Entry {
  stream: Stream;
  offset: number;
  bytes: number;
  time: Date;
}

const STREAMS: readonly Stream[] = ['stdout', 'stderr'];
const PIECE_BYTES_MAX = 1024 * 1024;

/**
 * A container's output. Its processes write straight into two files, so that they live on without the engine; the
 * engine notes in a third, `times`, when it saw which of them grow by how much. What was written while no engine
 * looked gets the time of the file's last change.
 */
export class OutputFiles {
  readonly #entries: Entry[] = [];
  readonly #sizes = { stdout: 0, stderr: 0 };
  readonly #emitter = new EventEmitter<{ change: [] }>();
  #watcher: FSWatcher | undefined;
  #ended = false;

  constructor(private readonly dir: string) {
    this.#emitter.setMaxListeners(0);
    for (const line of readIfThere(join(dir, 'times')).split('\n')) {
      const [time, stream, bytes] = line.split(' ');
      if (bytes) this.#add(stream as Stream, Number(bytes), new Date(Number(time)));
    }
  }

  /** Calls `onFile` for each change in the container's folder, which also tells of its exit code. */
  watch(onFile: (name: string) => void): void {
    this.#watcher ??= watch(this.dir, { persistent: false }, (_event, name) => {
      if (name === 'stdout' || name === 'stderr') this.sweep();
      else if (name) onFile(name);
    });
    this.#watcher.on('error', () => undefined); // The folder was removed.
  }

  /** Notes what was written since the last look. */
  sweep(): void {
    let grew = false;
    for (const stream of STREAMS) {
      const stat = statSync(join(this.dir, stream), { throwIfNoEntry: false });
      const bytes = (stat?.size ?? 0) - this.#sizes[stream];
      if (!stat || bytes <= 0) continue;
      this.#add(stream, bytes, stat.mtime);
      appendFileSync(join(this.dir, 'times'), `${stat.mtime.getTime()} ${stream} ${bytes}\n`, {
        mode: 0o600,
      });
      grew = true;
    }
    if (grew) this.#emitter.emit('change');
  }

  /** No more will be written: those who follow come to an end. */
  end(): void {
    this.sweep();
    this.close();
  }

  close(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#ended = true;
    this.#emitter.emit('change');
  }

  async *read({ follow = false, since, signal }: LogOptions): AsyncGenerator<LogChunk> {
    if (!this.#ended) this.sweep();
    const last = follow ? Infinity : this.#entries.length;
    for (let next = 0; next < last && !signal?.aborted; next++) {
      while (next >= this.#entries.length) {
        if (this.#ended || signal?.aborted) return;
        await once(this.#emitter, 'change', { signal }).catch(() => undefined);
      }
      const entry = this.#entries[next]!;
      if (since && entry.time < since) continue;
      yield* this.#chunks(entry);
    }
  }

  /** The last bytes of what was written to stderr. */
  stderrTail(bytesMax: number): string {
    return readIfThere(join(this.dir, 'stderr')).slice(-bytesMax);
  }

  #add(stream: Stream, bytes: number, time: Date): void {
    this.#entries.push({ stream, offset: this.#sizes[stream], bytes, time });
    this.#sizes[stream] += bytes;
  }

  /** A line each, as the other engines give them. */
  async *#chunks({ stream, offset, bytes, time }: Entry): AsyncGenerator<LogChunk> {
    await using file = await open(join(this.dir, stream));
    for (let done = 0; done < bytes;) {
      const { buffer, bytesRead } = await file.read({
        buffer: Buffer.allocUnsafe(Math.min(PIECE_BYTES_MAX, bytes - done)),
        position: offset + done,
      });
      if (!bytesRead) return; // Cut short by someone else's hand.
      done += bytesRead;
      for (const data of linesOf(buffer.subarray(0, bytesRead))) yield { stream, data, time };
    }
  }
}

function* linesOf(data: Buffer): Generator<Buffer> {
  for (let start = 0; start < data.length;) {
    const newline = data.indexOf(0x0a, start);
    const end = newline < 0 ? data.length : newline + 1;
    yield data.subarray(start, end);
    start = end;
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
