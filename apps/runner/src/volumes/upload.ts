import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import type { VolumeClient } from './volume-client';

/** What sync takes as one chunk. Bytes. */
const CHUNK_BYTES = 4 * 1024 * 1024;
/** Content that is held in memory until sync has said whether it lacks it. Bytes. */
const HELD_BYTES_MAX = 4 * CHUNK_BYTES;
const HELD_CHUNKS_MAX = 500;
/** Sync puts each on its disk for sure, which takes longer than moving it. */
const AT_ONCE = 8;

/**
 * Moves the chunks that a workspace lacks: while some are on their way, the next are read. A file of any size costs the
 * memory of twice what is held.
 */
export class Upload {
  #held = new Map<string, Buffer>();
  #heldBytes = 0;
  #moving: Promise<void> = Promise.resolve();

  constructor(
    private readonly client: Pick<VolumeClient, 'missingChunks' | 'putChunk'>,
    private readonly workspaceId: string,
    private readonly signal: AbortSignal,
  ) {}

  /** Reads up to `size` bytes, and gives the hashes of their chunks and how many bytes there were. */
  async read(file: FileHandle, size: number): Promise<{ chunks: string[]; size: number }> {
    const chunks: string[] = [];
    let at = 0;
    while (at < size) {
      this.signal.throwIfAborted();
      const content = await readFully(file, at, Math.min(CHUNK_BYTES, size - at));
      if (content.length === 0) break;
      const hash = createHash('sha256').update(content).digest('hex');
      chunks.push(hash);
      at += content.length;
      if (this.#held.has(hash)) continue;
      this.#held.set(hash, content);
      this.#heldBytes += content.length;
      if (this.#heldBytes >= HELD_BYTES_MAX || this.#held.size >= HELD_CHUNKS_MAX) await this.#moveHeld();
    }
    return { chunks, size: at };
  }

  /** Resolves when sync has all that was read. */
  async flush(): Promise<void> {
    await this.#moveHeld();
    await this.#moving;
  }

  /** Begins to move what is held, once what was moved before it is there. */
  async #moveHeld(): Promise<void> {
    await this.#moving;
    const held = this.#held;
    this.#held = new Map();
    this.#heldBytes = 0;
    this.#moving = this.#move(held);
    this.#moving.catch(() => undefined); // Thrown by whoever waits for it next.
  }

  async #move(held: ReadonlyMap<string, Buffer>): Promise<void> {
    if (held.size === 0) return;
    const missing = [...(await this.client.missingChunks(this.workspaceId, [...held.keys()]))];
    const work = async () => {
      for (let hash = missing.pop(); hash; hash = missing.pop()) {
        this.signal.throwIfAborted();
        await this.client.putChunk(this.workspaceId, hash, held.get(hash)!);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  }
}

/** All bytes that there are, up to `length`: one read may give fewer. */
async function readFully(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}
