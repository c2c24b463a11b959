// Puts the npm packages of package-lock.json into node_modules, when they are not there.
import { spawn } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { begin, Refusal } from './progress.mjs';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const logs = join(root, '.berth', 'logs');

/** The Node of package.json, whatever the host has. */
export const pinnedNode = join(root, 'node_modules', 'node', 'bin', 'node');

const NODE_MAJOR_MIN = 20;

export function checkNode(version = process.versions.node) {
  if (Number(version.split('.')[0]) >= NODE_MAJOR_MIN) return;
  throw new Refusal(
    `Berth needs Node ${NODE_MAJOR_MIN} or newer to install its own; this is ${version}.\n` +
      'Install one from https://nodejs.org (or: brew install node), then run npm start again.',
  );
}

/**
 * Decides whether what npm says it installed (its hidden lock) is what the lock file asks for. Packages that are
 * optional may be missing: they belong to other platforms.
 */
export function isInstalled(lock, installed) {
  return Object.entries(lock.packages).every(([path, wanted]) => {
    if (path === '') return true;
    const found = installed.packages[path];
    return found ? found.version === wanted.version : Boolean(wanted.optional || wanted.devOptional);
  });
}

function installed() {
  const hiddenLock = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(hiddenLock) || !existsSync(pinnedNode)) return false;
  const read = (path) => JSON.parse(readFileSync(path, 'utf8'));
  return isInstalled(read(join(root, 'package-lock.json')), read(hiddenLock));
}

/** Installs with `npm ci` where needed. npm's own words go to a log, and to the terminal when it fails. */
export async function ensureInstalled() {
  if (installed()) return;
  const folder = join(root, 'node_modules');
  if (lstatSync(folder, { throwIfNoEntry: false })?.isSymbolicLink())
    throw new Refusal(
      `${folder} is a link to packages that do not match package-lock.json: run npm ci where it leads.`,
    );
  mkdirSync(logs, { recursive: true });
  const log = join(logs, 'npm-ci.log');
  const out = openSync(log, 'w');
  const end = begin('npm packages', 'installing from package-lock.json');
  // Inside `npm start` npm's own settings are in the environment; a fresh npm finds them by itself.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^npm_(?!config_)/i.test(name)),
  );
  const child = spawn('npm', ['ci', '--no-audit', '--no-fund'], {
    cwd: root,
    stdio: ['ignore', out, out],
    env,
  });
  const code = await new Promise((resolve) => {
    child.once('error', () => resolve(127));
    child.once('close', (status) => resolve(status ?? 1));
  });
  if (code !== 0) {
    const tail = readFileSync(log, 'utf8').trimEnd().split('\n').slice(-20).join('\n');
    throw new Refusal(`npm ci failed with ${code}. Its last words, all of them in ${log}:\n${tail}`);
  }
  if (!existsSync(pinnedNode))
    throw new Refusal(
      `npm ci left no ${pinnedNode}: install scripts are probably off (npm config get ignore-scripts); ` +
        'allow them for the packages in "allowScripts" of package.json and try again.',
    );
  end('installed');
}
