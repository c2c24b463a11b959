import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** The Node that the platform is made for; this program itself runs on any from 20 on. */
export function platformNode(): string {
  const pinned = join(__dirname, '../../node_modules/node/bin/node');
  return existsSync(pinned) ? pinned : process.execPath;
}
