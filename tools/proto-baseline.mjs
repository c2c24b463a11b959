// Writes proto/baseline.binpb.gz: the contract as released, which `npm test` holds every later change against.
// Run it at a release. In a change that breaks the contract on purpose, commit it together with the reason.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from './install.mjs';

const { status } = spawnSync(
  join(root, 'node_modules/.bin/buf'),
  ['build', '--exclude-source-info', '-o', 'proto/baseline.binpb.gz'],
  { cwd: root, stdio: 'inherit' },
);
process.exit(status ?? 1);
