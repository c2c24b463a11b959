/** What a container did to its copy of a volume, told from what was there before. Content is looked at elsewhere. */

/** A file as the head has it, and how it looked on disk when it was known to be that. */
export interface BaseFile {
  executable: boolean;
  size: number;
  chunks: readonly string[];
  /** The target of a symbolic link; empty for a regular file. */
  link: string;
  /** Empty: whatever is on disk now is not known to be this. */
  stamp: string;
}

/** A file as it lies on disk now. */
export interface FoundFile {
  executable: boolean;
  size: number;
  link: string;
  stamp: string;
}

/**
 * Inode, size and both times. User code sets a file's modification time as it likes, but the time of its last change is
 * the kernel's: what has the same stamp has the same content.
 */
export const stampOf = (stat: { ino: bigint; size: bigint; mtimeNs: bigint; ctimeNs: bigint }): string =>
  `${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`;

export interface Changes {
  /** Not known to be as the base has them: new, or touched. */
  suspects: string[];
  removed: string[];
}

/** `leftOut` are paths that nobody looked at or below: what the base has there is taken to be there still. */
export function changesOf(
  base: ReadonlyMap<string, BaseFile>,
  found: ReadonlyMap<string, FoundFile>,
  leftOut: Iterable<string>,
): Changes {
  const suspects: string[] = [];
  for (const [path, file] of found) {
    const before = base.get(path);
    if (!before || before.stamp !== file.stamp) suspects.push(path);
  }
  const unseen = [...leftOut];
  const removed: string[] = [];
  for (const path of base.keys()) {
    if (found.has(path)) continue;
    if (unseen.some((each) => path === each || path.startsWith(`${each}/`))) continue;
    removed.push(path);
  }
  return { suspects, removed };
}

/** Whether two versions of a file are the same one. */
export const isSameFile = (one: Omit<BaseFile, 'stamp'>, other: Omit<BaseFile, 'stamp'>): boolean =>
  one.executable === other.executable &&
  one.size === other.size &&
  one.link === other.link &&
  one.chunks.length === other.chunks.length &&
  one.chunks.every((hash, index) => hash === other.chunks[index]);
