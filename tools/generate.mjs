// Generates libs/contracts from proto/: message types and service definitions (ts-proto), and the compiled
// descriptors, which the gateway turns into routes and service-kit into access rules.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const out = join(root, 'libs/contracts/src/generated');
const buf = join(root, 'node_modules/.bin/buf');

function run(...args) {
  const { status } = spawnSync(buf, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
run('generate');

const binary = join(out, 'descriptors.binpb');
run('build', '-o', binary);
const base64 = readFileSync(binary).toString('base64');
writeFileSync(
  join(out, 'descriptors.ts'),
  `/** A google.protobuf.FileDescriptorSet of everything in proto/, with comments. */\nexport const DESCRIPTORS = '${base64}';\n`,
);
