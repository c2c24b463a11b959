import { renameSync, writeFileSync } from 'node:fs';

/** Puts `content` at `path`, whole or not at all: a reader, also after kill -9, finds the old or the new. */
export function writeAtomically(path: string, content: string | Uint8Array): void {
  const aside = `${path}.part`;
  writeFileSync(aside, content, { mode: 0o600 });
  renameSync(aside, path);
}
