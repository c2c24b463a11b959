import { isUtf8 } from 'node:buffer';
import { BerthError } from '@berth/service-kit';
import { stampOf, type FoundFile } from '../domain/volume-changes';
import { OpenFolder } from './open-folder';

/** As sync has them: what it would refuse is left out here, with the reason. */
const PATH_BYTES_MAX = 4096;
const NAME_BYTES_MAX = 255;
/** Of all files together: what a volume may have. */
const BYTES_MAX = 1024 ** 4;
/** Each level is an open file while it is looked at. */
const DEPTH_MAX = 128;
/** Files and folders: a volume has no more files than that. */
const ENTRIES_MAX = 100_000;
const AT_ONCE = 32;
const EXECUTABLE = 0o100n;

export interface Scan {
  files: Map<string, FoundFile>;
  /** What a volume cannot keep, by path, and why; nothing below it was looked at. */
  leftOut: Map<string, string>;
}

/**
 * What lies in a folder that may change meanwhile. Nothing is opened but folders, and no link is followed.
 * Errors: `too_large` for more than a volume may have.
 */
export async function scan(root: string): Promise<Scan> {
  const result: Scan = { files: new Map(), leftOut: new Map() };
  let seen = 0;
  let bytes = 0;
  const look = async (folder: OpenFolder, prefix: string, depth: number): Promise<void> => {
    const below: string[] = [];
    const lookAt = async (raw: Buffer) => {
      const name = raw.toString();
      const path = prefix + name;
      const fault = faultOf(raw, path, depth);
      if (fault) return void result.leftOut.set(path, fault);
      const stat = await folder.stat(raw).catch(unlessGone);
      if (!stat) return;
      if (stat.isDirectory()) return void below.push(name);
      if (stat.isFile()) {
        const executable = (stat.mode & EXECUTABLE) !== 0n;
        const size = Number(stat.size);
        bytes += size;
        if (bytes > BYTES_MAX) {
          throw new BerthError('too_large', `The files of the volume have more than ${BYTES_MAX} bytes.`);
        }
        return void result.files.set(path, { executable, size, link: '', stamp: stampOf(stat) });
      }
      if (!stat.isSymbolicLink())
        return void result.leftOut.set(path, 'is neither a file nor a folder nor a link');
      const target = await folder.readLink(raw).catch(unlessGone);
      if (!target) return;
      const link = target.toString();
      if (!isUtf8(target) || /\p{Cc}/u.test(link)) {
        return void result.leftOut.set(path, 'is a link to what is not plain text');
      }
      result.files.set(path, { executable: false, size: 0, link, stamp: stampOf(stat) });
    };
    let batch: Promise<void>[] = [];
    for await (const raw of folder.names()) {
      if (++seen > ENTRIES_MAX) {
        throw new BerthError('too_large', `The volume has more than ${ENTRIES_MAX} files and folders in it.`);
      }
      batch.push(lookAt(raw));
      if (batch.length < AT_ONCE) continue;
      await Promise.all(batch);
      batch = [];
    }
    await Promise.all(batch);
    for (const name of below) {
      const inner = await folder.folder(name).catch(unlessGone);
      if (!inner) continue;
      await using opened = inner;
      await look(opened, `${prefix}${name}/`, depth + 1);
    }
  };
  await using folder = await OpenFolder.open(root);
  await look(folder, '', 0);
  return result;
}

function faultOf(raw: Buffer, path: string, depth: number): string | undefined {
  if (!isUtf8(raw)) return 'has a name that is not UTF-8';
  if (/\p{Cc}/u.test(raw.toString())) return 'has a name with a control character in it';
  if (raw.length > NAME_BYTES_MAX || Buffer.byteLength(path) > PATH_BYTES_MAX)
    return 'has a path that is too long';
  if (depth >= DEPTH_MAX) return `is below more than ${DEPTH_MAX} folders`;
  return undefined;
}

/** Gone, or something else, since it was named: it is looked at the next time. */
function unlessGone(error: NodeJS.ErrnoException): undefined {
  if (['ENOENT', 'ENOTDIR', 'ELOOP', 'EINVAL'].includes(error.code!)) return undefined;
  throw error;
}
