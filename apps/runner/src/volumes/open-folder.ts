/**
 * Folders that hostile code changes while we work in them. A path that is looked up twice may lead elsewhere the second
 * time: a folder on it has become a link to `/etc` meanwhile. So a folder is opened once, and all that is done in it goes
 * by what was opened, one name at a time, and a name is never followed when it is a link. Node has no `openat`; a path
 * below `/proc/self/fd/<n>` is the same thing.
 */
import { constants, existsSync, type BigIntStats } from 'node:fs';
import {
  lstat,
  mkdir,
  open,
  opendir,
  readlink,
  rename,
  rmdir,
  symlink,
  unlink,
  type FileHandle,
} from 'node:fs/promises';

/** Where there is none (macOS) nothing runs isolated that could do harm. */
const DESCRIPTORS = existsSync('/proc/self/fd') ? '/proc/self/fd' : undefined;
const FOLDER_FLAGS = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** Opening a pipe that nobody writes to must not wait. */
const FILE_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

type Name = string | Buffer;

export class OpenFolder implements AsyncDisposable {
  private constructor(
    private readonly handle: FileHandle,
    private readonly path: string,
  ) {}

  /** `path` is our own: nobody else can put a link on it. */
  static async open(path: string): Promise<OpenFolder> {
    return new OpenFolder(await open(path, FOLDER_FLAGS), path);
  }

  /** The folder of that name in this one. Throws ENOTDIR or ELOOP for what is none, or a link to one. */
  async folder(name: string): Promise<OpenFolder> {
    return new OpenFolder(await open(this.at(name), FOLDER_FLAGS), `${this.path}/${name}`);
  }

  /** The names in it, one after the other: there may be more than fit in memory. */
  async *names(): AsyncGenerator<Buffer> {
    const options = { encoding: 'buffer' as BufferEncoding, bufferSize: 256 };
    for await (const entry of await opendir(this.root, options)) yield entry.name as unknown as Buffer;
  }

  stat(name: Name): Promise<BigIntStats> {
    return lstat(this.at(name), { bigint: true });
  }

  openFile(name: Name): Promise<FileHandle> {
    return open(this.at(name), FILE_FLAGS);
  }

  readLink(name: Name): Promise<Buffer> {
    return readlink(this.at(name), { encoding: 'buffer' });
  }

  makeFolder(name: string): Promise<unknown> {
    return mkdir(this.at(name), { mode: 0o755 });
  }

  makeLink(name: string, target: string): Promise<void> {
    return symlink(target, this.at(name));
  }

  /** Puts a file of our own in the place of whatever file or link has this name. */
  take(file: string, name: string): Promise<void> {
    return rename(file, this.at(name));
  }

  removeFile(name: string): Promise<void> {
    return unlink(this.at(name));
  }

  /** Throws ENOTEMPTY. */
  removeFolder(name: string): Promise<void> {
    return rmdir(this.at(name));
  }

  own(uid: number, gid: number): Promise<void> {
    return this.handle.chown(uid, gid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.handle.close();
  }

  private get root(): string {
    return DESCRIPTORS ? `${DESCRIPTORS}/${this.handle.fd}` : this.path;
  }

  private at(name: Name): string {
    const root = `${this.root}/`;
    // What is no UTF-8 goes as bytes, which Node takes wherever it takes a path.
    return typeof name === 'string'
      ? root + name
      : (Buffer.concat([Buffer.from(root), name]) as unknown as string);
  }
}
