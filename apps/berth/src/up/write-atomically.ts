import { renameSync, writeFileSync } from 'node:fs';

/** Writes a file that only this user may read; a reader sees the old content or the new, never half of one. */
export function writeAtomically(path: string, content: string): void {
  const draft = `${path}.${process.pid}.draft`;
  writeFileSync(draft, content, { mode: 0o600 });
  renameSync(draft, path);
}
