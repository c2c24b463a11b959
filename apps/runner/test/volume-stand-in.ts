import { createHash } from 'node:crypto';
import { BerthError } from '@berth/service-kit';
import type { HeadFile, VolumeClient, VolumeCommit } from '../src/volumes/volume-client';

/** One volume of one workspace, in memory: what runners ask of `sync`. */
export class StandInVolume implements VolumeClient {
  readonly chunks = new Map<string, Buffer>();
  files = new Map<string, HeadFile>();
  revision = 0;
  /** Chunks that were moved here. */
  puts = 0;
  largestChunk = 0;
  /** What the next requests are refused with. */
  fails: BerthError | undefined;
  /** Called before a commit is written. */
  beforeCommit: () => unknown = () => undefined;

  open: VolumeClient['open'] = async (_, knownRevision) => {
    this.refuse();
    const files = knownRevision === this.revision ? undefined : new Map(this.files);
    return { volumeId: 'vo-1', revision: this.revision, files };
  };

  async *fetchChunks(_: string, hashes: readonly string[]): AsyncGenerator<Uint8Array> {
    for (const hash of hashes) yield this.chunks.get(hash)!;
  }

  missingChunks: VolumeClient['missingChunks'] = async (_, hashes) => {
    this.refuse();
    return new Set(hashes.filter((hash) => !this.chunks.has(hash)));
  };

  putChunk: VolumeClient['putChunk'] = async (_, hash, content) => {
    this.puts++;
    this.largestChunk = Math.max(this.largestChunk, content.length);
    this.chunks.set(hash, Buffer.from(content));
  };

  commit = async ({ puts, removes, unlessChangedSince }: VolumeCommit): Promise<number> => {
    await this.beforeCommit();
    this.refuse();
    const mayChange = (path: string) =>
      (this.files.get(path)?.revision ?? 0) <= (unlessChangedSince ?? Infinity);
    this.revision++;
    for (const path of removes) if (mayChange(path)) this.files.delete(path);
    for (const [path, { executable, size, chunks, link }] of puts) {
      if (!mayChange(path)) continue;
      const file = { executable, size, chunks, link, revision: this.revision, modifiedAt: new Date() };
      this.files.set(path, file);
    }
    return this.revision;
  };

  /** As another container commits. */
  put(path: string, text: string, more: Partial<HeadFile> = {}): void {
    const content = Buffer.from(text);
    const hash = createHash('sha256').update(content).digest('hex');
    if (content.length > 0) this.chunks.set(hash, content);
    this.files.set(path, {
      executable: false,
      size: content.length,
      chunks: content.length > 0 ? [hash] : [],
      link: '',
      revision: ++this.revision,
      modifiedAt: new Date(),
      ...more,
    });
  }

  remove(path: string): void {
    this.files.delete(path);
    this.revision++;
  }

  text(path: string): string | undefined {
    const file = this.files.get(path);
    return (
      file && (file.link ? `-> ${file.link}` : file.chunks.map((hash) => this.chunks.get(hash)).join(''))
    );
  }

  all(): Record<string, string> {
    return Object.fromEntries([...this.files.keys()].sort().map((path) => [path, this.text(path)!]));
  }

  private refuse(): void {
    if (this.fails) throw this.fails;
  }
}
