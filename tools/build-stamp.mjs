// Builds only when something that goes into the build is different from the last time.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pinnedNode, root } from './install.mjs';
import { begin, Refusal } from './progress.mjs';

const INPUTS = [
  'apps',
  'libs',
  'proto',
  'tools',
  'tsconfig.json',
  'package-lock.json',
  'buf.yaml',
  'buf.gen.yaml',
];
const SKIPPED = new Set(['node_modules', 'generated', 'test', '__pycache__']);

function* filesUnder(path) {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) return;
  if (!stat.isDirectory()) return yield { path, stat };
  for (const name of readdirSync(path).sort()) if (!SKIPPED.has(name)) yield* filesUnder(join(path, name));
}

/** Changes when the content of a file changes: a checkout that only touches times does not build again. */
export function fingerprint(inputs = INPUTS, base = root) {
  const hash = createHash('sha256');
  for (const input of inputs)
    for (const { path } of filesUnder(join(base, input)))
      hash.update(`${path.slice(base.length)}\0`).update(readFileSync(path));
  return hash.digest('hex');
}

const stamp = join(root, 'dist', '.stamp');

export async function buildIfChanged() {
  const now = fingerprint();
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === now) return;
  const end = begin('build', 'building');
  const child = spawn(pinnedNode, [join(root, 'tools/build.mjs')], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child.stdout.resume();
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Refusal('The build failed; the reason is above. Fix it and run npm start again.');
  mkdirSync(join(root, 'dist'), { recursive: true });
  writeFileSync(stamp, now);
  end('built');
}
