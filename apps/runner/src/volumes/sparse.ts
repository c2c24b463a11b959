/** Files of which long stretches are zeros, written so that these take no room: a small volume can say "3 TB of nothing". */
import { constants } from 'node:fs';
import { copyFile, open, rm, type FileHandle } from 'node:fs/promises';

/** Stretches of zeros below this are written: a hole is worth its while in whole blocks only. */
const STRETCH_BYTES = 64 * 1024;
const READ_BYTES = 1024 * 1024;
const ZEROS = Buffer.alloc(STRETCH_BYTES);

/** Writes to a new file from its beginning to its end. */
export class SparseWriter {
  #at = 0;

  constructor(private readonly file: FileHandle) {}

  async write(content: Uint8Array): Promise<void> {
    let from = 0;
    const flush = async (to: number) => {
      for (let at = from; at < to;) {
        at += (await this.file.write(content, at, to - at, this.#at + at)).bytesWritten;
      }
    };
    for (let at = 0; at < content.length; at += STRETCH_BYTES) {
      const end = Math.min(at + STRETCH_BYTES, content.length);
      if (ZEROS.compare(content, at, end, 0, end - at) !== 0) continue;
      await flush(at);
      from = end;
    }
    await flush(content.length);
    this.#at += content.length;
  }

  /** Makes it as long as what was written. Bytes. */
  async end(): Promise<number> {
    await this.file.truncate(this.#at);
    return this.#at;
  }
}

/** Copies to a new file: by sharing blocks where the filesystem can, else with the holes of the source. */
export async function copySparse(source: string, target: string): Promise<void> {
  await using from = await open(source, 'r');
  const { size, blocks } = await from.stat();
  if (blocks * 512 >= size) {
    return copyFile(source, target, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  }
  try {
    return await copyFile(source, target, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE);
  } catch (error) {
    if (['ENOENT', 'EEXIST'].includes((error as NodeJS.ErrnoException).code!)) throw error;
  }
  await using to = await open(target, 'wx');
  try {
    const writer = new SparseWriter(to);
    const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, size));
    for (;;) {
      const { bytesRead } = await from.read(buffer, 0, buffer.length, null);
      if (bytesRead === 0) break;
      await writer.write(buffer.subarray(0, bytesRead));
    }
    await writer.end();
  } catch (error) {
    await rm(target, { force: true });
    throw error;
  }
}
