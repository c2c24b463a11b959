import { spawnSync } from 'node:child_process';
import { realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { Refusal } from './refusal';

export interface User {
  uid: number;
  gid: number;
}

/** Made when the machine has no `postgres` user. */
const OWN_USER = 'berth-postgres';

function lookUp(name: string): User | undefined {
  const ask = (flag: string) => spawnSync('id', [flag, name], { encoding: 'utf8' });
  const [uid, gid] = [ask('-u'), ask('-g')];
  return uid.status === 0 && gid.status === 0
    ? { uid: Number(uid.stdout), gid: Number(gid.stdout) }
    : undefined;
}

/** Who Postgres runs as when we are root, which it refuses to be; undefined when we are not. */
export function postgresUser(): User | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const known = lookUp('postgres') ?? lookUp(OWN_USER);
  if (known) return known;
  const flags = ['--system', '--user-group', '--no-create-home', '--shell', '/usr/sbin/nologin'];
  const made = spawnSync('useradd', [...flags, OWN_USER], { encoding: 'utf8' });
  const user = lookUp(OWN_USER);
  if (user) return user;
  throw new Refusal(
    'PostgreSQL does not run as root, and no user could be made for it ' +
      `(${made.error?.message ?? made.stderr.trim()}).\nMake one, for example: useradd --system postgres`,
  );
}

/** Whether `user` may pass through every folder on the way to `path`, and through `path` itself. */
export function canReach(path: string, user: User): boolean {
  for (let folder = realpathSync(path); ; folder = dirname(folder)) {
    const { mode, uid, gid } = statSync(folder);
    const passes = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & passes) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}
