import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EngineError, type ContainerEngine } from '@berth/container-engine';
import type { Logger } from '@berth/service-kit';

/** Images that this node built or pulled, and when each was last used: over a restart, too. Others' are left alone. */
export class UsedImages {
  private readonly held = new Map<string, number>();

  private constructor(
    private readonly folder: string,
    private readonly engine: Pick<ContainerEngine, 'findImage' | 'removeImage'>,
    private readonly log: Logger,
    /** By reference: when it was last used, in milliseconds. */
    private readonly used: Map<string, number>,
  ) {}

  static async open(
    folder: string,
    engine: Pick<ContainerEngine, 'findImage' | 'removeImage'>,
    log: Logger,
  ): Promise<UsedImages> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const used = new Map<string, number>();
    for (const name of await readdir(folder)) {
      const path = join(folder, name);
      used.set(await readFile(path, 'utf8'), (await stat(path)).mtimeMs);
    }
    return new UsedImages(folder, engine, log, used);
  }

  /** It came to be here by us. */
  async add(reference: string): Promise<void> {
    this.used.set(reference, Date.now());
    await writeFile(this.pathOf(reference), reference, { mode: 0o600 });
  }

  async forget(reference: string): Promise<void> {
    this.used.delete(reference);
    await rm(this.pathOf(reference), { force: true });
  }

  withPrefix(prefix: string): string[] {
    return [...this.used.keys()].filter((reference) => reference.startsWith(prefix));
  }

  /** Keeps it here, if it is here, until the answer is called. Safe to call that again. */
  hold(reference: string): () => void {
    this.held.set(reference, (this.held.get(reference) ?? 0) + 1);
    this.touch(reference);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      const left = this.held.get(reference)! - 1;
      if (left > 0) this.held.set(reference, left);
      else this.held.delete(reference);
      this.touch(reference);
    };
  }

  private touch(reference: string): void {
    if (!this.used.has(reference)) return;
    this.used.set(reference, Date.now());
    const now = new Date();
    utimes(this.pathOf(reference), now, now).catch(() => undefined);
  }

  /** Removes the least recently used until the rest takes at most `bytesMax`; never one that is held or has a container. */
  async keepWithin(bytesMax: number): Promise<void> {
    const found: { reference: string; bytes: number }[] = [];
    for (const [reference] of [...this.used].sort(([, a], [, b]) => a - b)) {
      const image = await this.engine.findImage(reference);
      // Layers that two of them share count twice: rather too little is kept than too much.
      if (image) found.push({ reference, bytes: image.bytes });
      else await this.forget(reference);
    }
    let bytes = found.reduce((sum, each) => sum + each.bytes, 0);
    for (const each of found) {
      if (bytes <= bytesMax) return;
      if (this.held.has(each.reference)) continue;
      try {
        await this.engine.removeImage(each.reference);
      } catch (error) {
        if (error instanceof EngineError && error.kind === 'conflict') continue; // A container has it.
        throw error;
      }
      await this.forget(each.reference);
      bytes -= each.bytes;
      this.log.info({ image: each.reference }, 'an image that was not used for long was removed');
    }
  }

  private pathOf(reference: string): string {
    return join(this.folder, createHash('sha256').update(reference).digest('hex'));
  }
}
