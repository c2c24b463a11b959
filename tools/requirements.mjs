// What Berth needs from the machine beside npm packages: nats-server and a container engine. Finds them, and on
// Debian and Ubuntu installs what is missing when it may.
import { spawn, spawnSync } from 'node:child_process';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
} from 'node:fs';
import { request } from 'node:http';
import { delimiter, join } from 'node:path';
import { begin, done, Refusal } from './progress.mjs';
import { logs } from './install.mjs';

const isRoot = process.getuid?.() === 0;

/** Where programs of the system lie that a user's PATH often leaves out. */
const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/local/bin', '/opt/homebrew/bin'];

/** The full path of a program, or undefined. */
export function findProgram(name) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), ...SYSTEM_FOLDERS];
  return folders
    .filter(Boolean)
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return statSync(path).isFile();
      } catch {
        return false;
      }
    });
}

/** The Docker Engine that the environment names, or the usual socket. */
export function dockerHost(env = process.env) {
  if (env.DOCKER_HOST) return env.DOCKER_HOST;
  const sockets = ['/var/run/docker.sock', join(env.HOME ?? '/root', '.docker/run/docker.sock')];
  return `unix://${sockets.find((path) => existsSync(path)) ?? sockets[0]}`;
}

/** Whether a Docker Engine answers there, within two seconds. */
export function engineAnswers(host) {
  const target = host.startsWith('unix://')
    ? { socketPath: host.slice('unix://'.length) }
    : { hostname: new URL(host).hostname, port: new URL(host).port || 2375 };
  return new Promise((resolve) => {
    const ping = request({ ...target, path: '/_ping', timeout: 2000 }, (response) => {
      response.resume();
      // A port that speaks TLS, or wants a certificate, is an engine too: its client knows the certificates.
      resolve(response.statusCode < 500);
    });
    ping.once('timeout', () => ping.destroy());
    ping.once('error', () => resolve(false));
    ping.end();
  });
}

/** What is missing: programs by the Debian package that brings them. */
export async function missing(env = process.env) {
  const packages = [];
  if (!env.BERTH_NATS_URL && !findProgram('nats-server')) packages.push('nats-server');
  if ((env.BERTH_ENGINE || 'auto') === 'process') return packages;
  if (await engineAnswers(dockerHost(env))) return packages;
  if (!isRoot) return [...packages, 'docker.io'];
  if (!findProgram('dockerd')) packages.push('docker.io');
  if (!findProgram('iptables')) packages.push('iptables');
  if (!findProgram('ip')) packages.push('iproute2');
  return packages;
}

const HINTS = {
  'nats-server': {
    what: 'nats-server (the queue): the program itself, or BERTH_NATS_URL of one that runs',
    brew: 'brew install nats-server',
    dnf: 'sudo dnf install nats-server   (or a binary from https://github.com/nats-io/nats-server/releases)',
    apt: 'sudo apt-get install --no-install-recommends nats-server && sudo systemctl disable --now nats-server',
  },
  'docker.io': {
    what: 'a container engine that answers: Docker, running, and this user allowed to use it; or BERTH_ENGINE=process (no isolation)',
    brew: 'brew install --cask docker && open -a Docker   (or: brew install colima docker && colima start)',
    dnf: 'sudo dnf install moby-engine && sudo systemctl enable --now docker && sudo usermod -aG docker "$USER"',
    apt: 'sudo apt-get install --no-install-recommends docker.io && sudo usermod -aG docker "$USER"   (then log in again)',
  },
};

/** Says exactly what to install, for the package manager of this machine. */
export function adviceFor(packages, manager) {
  const lines = packages
    .filter((name) => HINTS[name])
    .map(
      (name) =>
        `  ${HINTS[name].what}\n    ${manager ? HINTS[name][manager] : Object.values(HINTS[name]).slice(1).join('\n    ')}`,
    );
  return `Berth needs what this machine does not have:\n${lines.join('\n')}\nThen run npm start again.`;
}

function packageManager() {
  if (process.platform === 'darwin') return 'brew';
  return ['apt-get', 'dnf'].find(findProgram)?.replace('-get', '');
}

const LISTS_STALE_MS = 24 * 60 * 60 * 1000;

/** Whether apt's lists are missing or more than a day old. */
function listsAreStale() {
  const folder = '/var/lib/apt/lists';
  const lists = existsSync(folder)
    ? readdirSync(folder).filter((name) => /_(Packages|InRelease)/.test(name))
    : [];
  if (lists.length === 0) return true;
  return Math.max(...lists.map((name) => statSync(join(folder, name)).mtimeMs)) < Date.now() - LISTS_STALE_MS;
}

async function apt(log, ...args) {
  const out = openSync(log, 'a');
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', NEEDRESTART_SUSPEND: '1' };
  const options = ['-q', '-y', '-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3'];
  const child = spawn('apt-get', [...options, ...args], { stdio: ['ignore', out, out], env });
  return new Promise((resolve) =>
    child.once('error', () => resolve(127)).once('close', (code) => resolve(code ?? 1)),
  );
}

async function installPackages(packages) {
  mkdirSync(logs, { recursive: true });
  const log = join(logs, 'apt.log');
  const end = begin('apt', `installing ${packages.join(', ')}`);
  const keepServices = denyServiceStarts();
  try {
    if (listsAreStale()) await apt(log, 'update');
    let code = await apt(log, 'install', '--no-install-recommends', ...packages);
    // Lists of yesterday may name versions that the archive no longer has.
    if (code !== 0 && (await apt(log, 'update')) === 0)
      code = await apt(log, 'install', '--no-install-recommends', ...packages);
    if (code === 0) return end(`installed ${packages.join(', ')}`);
    const tail = readFileSync(log, 'utf8').trimEnd().split('\n').slice(-15).join('\n');
    throw new Refusal(
      `apt-get could not install ${packages.join(', ')}. Its last words, all of them in ${log}:\n${tail}`,
    );
  } finally {
    keepServices();
  }
}

/**
 * Packages start their services when installed; Berth runs its own. apt asks policy-rc.d, which is put there for as
 * long as it takes, unless the machine has one of its own.
 */
function denyServiceStarts() {
  const path = '/usr/sbin/policy-rc.d';
  if (existsSync(path)) return () => {};
  const written =
    spawnSync('sh', ['-c', `printf '#!/bin/sh\\nexit 101\\n' > ${path} && chmod 755 ${path}`]).status === 0;
  return () => written && spawnSync('rm', ['-f', path]);
}

/** Makes sure that everything is there, or refuses with what to install. */
export async function ensureRequirements(env = process.env) {
  const packages = await missing(env);
  if (packages.length === 0) return;
  const manager = packageManager();
  if (!isRoot || manager !== 'apt') throw new Refusal(adviceFor(packages, manager));
  await installPackages(packages);
  const still = await missing(env);
  if (still.length > 0) throw new Refusal(adviceFor(still, manager));
  done('machine', 'has all it needs');
}
