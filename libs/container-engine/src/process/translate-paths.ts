import type { Mount } from '../engine';

/**
 * Puts host paths where container paths stand. Without a mount namespace `/berth/source` does not exist: wherever a
 * mount's target stands in `text` as a whole path, or as the start of one, its source takes its place. Alone, in a
 * list (`PYTHONPATH=/berth/worker:/berth/source`), in an option (`--dir=/berth/source`) and within a script
 * (`sh -c 'ls /berth/source'`) alike. `/data` is not found in `/data2`, `/x/data` or `host/data`. A path that is
 * a source already stays as it is, so translating twice is the same as once.
 */
export function translatePaths(mounts: readonly Mount[], text: string): string {
  if (!mounts.length) return text;
  const hostPaths = new Map<string, string>();
  for (const { source } of mounts) hostPaths.set(trimSlash(source), trimSlash(source));
  for (const { source, target } of mounts) hostPaths.set(trimSlash(target), trimSlash(source));
  // The longest first, so that a mount inside another mount wins.
  const paths = [...hostPaths.keys()].sort((a, b) => b.length - a.length).map(literal);
  const pattern = new RegExp(`(?<![\\w./-])(?:${paths.join('|')})(?![\\w.-])`, 'g');
  return text.replace(pattern, (path) => hostPaths.get(path)!);
}

function trimSlash(path: string): string {
  return path.length > 1 ? path.replace(/\/+$/, '') : path;
}

function literal(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}
