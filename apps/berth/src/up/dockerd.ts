/**
 * A Docker Engine of our own, for a root without one. It is a good neighbour: its own bridge and addresses, its own
 * files, sockets and containerd, and no trace in the firewall when it has stopped.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { seedOf, type DataFolder } from './data-folder';
import { dockerAnswers } from './docker-answers';
import { findProgram } from './find-program';
import { identify } from './process-identity';
import { Refusal } from './refusal';
import type { ChildSpec } from './supervisor';
import { writeAtomically } from './write-atomically';

/** The addresses of one engine: `bridge` for its default network, `pool` for the networks that it makes. */
export interface Addresses {
  bridge: string;
  /** The bridge's own address, with its network's size. */
  bridgeAddress: string;
  pool: string;
}

const CANDIDATES = 32;

const toNumber = (address: string) => address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);

function overlap(one: string, other: string): boolean {
  const [[a, bitsA], [b, bitsB]] = [one, other].map((network) => network.split('/') as [string, string]) as [
    [string, string],
    [string, string],
  ];
  const size = 2 ** (32 - Math.min(Number(bitsA), Number(bitsB)));
  return Math.floor(toNumber(a) / size) === Math.floor(toNumber(b) / size);
}

/**
 * Chooses networks for the engine with this seed that nothing on the machine has a route to.
 * `routes` are networks such as `172.17.0.0/16`; the default route is not among them.
 */
export function chooseAddresses(seed: number, routes: readonly string[]): Addresses | undefined {
  for (let step = 0; step < CANDIDATES; step++) {
    const n = (seed + step) % CANDIDATES;
    const [bridgeNetwork, pool] = [`10.${160 + n}.0.0/16`, `10.${208 + n}.0.0/16`];
    if (routes.some((route) => overlap(route, bridgeNetwork) || overlap(route, pool))) continue;
    return { bridge: `berth${n}`, bridgeAddress: `10.${160 + n}.0.1/16`, pool };
  }
  return undefined;
}

function command(program: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(findProgram(program) ?? program, args, {
    encoding: 'utf8',
  });
  if (status !== 0)
    throw new Refusal(`${program} ${args.join(' ')} failed: ${error?.message ?? stderr.trim()}`);
  return stdout;
}

const routes = () =>
  command('ip', '-4', 'route', 'show')
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '')
    .filter((network) => network.includes('/'));

/** Takes rules that name one of these interfaces, or an address of these networks, out of the firewall. */
function removeRules(interfaces: readonly string[], networks: readonly string[]): void {
  for (const { table, text } of [...listRules('filter'), ...listRules('nat')]) {
    const words = text.split(' ').slice(1);
    const ours = words.some((word) => interfaces.includes(word) || networks.includes(word));
    if (ours) command('iptables', '-w', '-t', table, '-D', ...words);
  }
}

/** Removes the bridges that the engine left, its default one and those of its networks, with their rules. */
export function removeTraces({ bridge, bridgeAddress, pool }: Addresses): void {
  const prefix = pool.split('.').slice(0, 2).join('.');
  const lines = command('ip', '-o', '-4', 'addr', 'show').split('\n');
  const left = lines.flatMap((line) => {
    const [, name, address] = /^\d+:\s+(\S+)\s+inet (\S+)/.exec(line) ?? [];
    return name && address && (name === bridge || address.startsWith(`${prefix}.`))
      ? [{ name, address }]
      : [];
  });
  const networks = left.map(({ address }) => {
    const [ip = '', bits = '16'] = address.split('/');
    const size = 2 ** (32 - Number(bits));
    const base = Math.floor(toNumber(ip) / size) * size;
    return `${[24, 16, 8, 0].map((shift) => Math.floor(base / 2 ** shift) % 256).join('.')}/${bits}`;
  });
  const names = [...new Set([bridge, ...left.map(({ name }) => name)])];
  removeRules(names, [...networks, ...networksOf({ bridgeAddress, pool })]);
  for (const { name } of left) command('ip', 'link', 'del', name);
}

/** All that containers of this engine can have as an address. */
const networksOf = ({ bridgeAddress, pool }: Pick<Addresses, 'bridgeAddress' | 'pool'>): string[] => [
  bridgeAddress.replace(/\.0\.1\//, '.0.0/'),
  pool,
];

/**
 * What user code may not reach: this machine itself, and the link-local addresses at which clouds hand out a machine's
 * credentials. Names may be asked of both.
 */
export const guardRules = (addresses: Addresses): string[][] =>
  networksOf(addresses).flatMap((network) =>
    ['tcp', 'udp'].flatMap((protocol) => [
      ['INPUT', '-s', network, '-p', protocol, '-m', protocol, '!', '--dport', '53', '-j', 'DROP'],
      ['DOCKER-USER', '-s', network, '-d', '169.254.0.0/16', '-p', protocol, '-m', protocol].concat([
        '!',
        '--dport',
        '53',
        '-j',
        'DROP',
      ]),
    ]),
  );

/** Safe to repeat. */
function guard(addresses: Addresses): void {
  for (const [chain = '', ...rule] of guardRules(addresses)) {
    const there = spawnSync(findProgram('iptables') ?? 'iptables', ['-w', '-C', chain, ...rule]).status === 0;
    if (!there) command('iptables', '-w', '-I', chain, '1', ...rule);
  }
}

/** One rule of the firewall, as `iptables -S` prints it: `-A CHAIN …`. */
export interface Rule {
  table: string;
  text: string;
}

/** An engine's own chains: each engine that starts empties them, also of what another one has put there. */
const SHARED_CHAIN = /^-A DOCKER(-ISOLATION-STAGE-[12])? /;

const listRules = (table: string): Rule[] =>
  command('iptables', '-w', '-t', table, '-S')
    .split('\n')
    .filter((text) => text.startsWith('-A '))
    .map((text) => ({ table, text }));

/**
 * The rules of `before` that other engines need and that are not among `now`, in the order in which to insert them
 * at the top of their chains: last first. The chains' own final RETURN is every engine's.
 */
export function lostRules(before: readonly Rule[], now: readonly Rule[]): Rule[] {
  const present = new Set(now.map(({ table, text }) => `${table} ${text}`));
  return before
    .filter(({ table, text }) => SHARED_CHAIN.test(text) && !present.has(`${table} ${text}`))
    .toReversed();
}

/** Puts back what the start of our engine took from other engines' isolation. */
function restoreRules(before: readonly Rule[]): void {
  const now = [...listRules('filter'), ...listRules('nat')];
  for (const { table, text } of lostRules(before, now)) {
    const [, chain = '', ...rule] = text.split(' ');
    command('iptables', '-w', '-t', table, '-I', chain, '1', ...rule);
  }
}

/** Mount points below the engine's folders, the deepest first. */
const mountsBelow = (folders: readonly string[]): string[] =>
  readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => (line.split(' ')[1] ?? '').replace(/\\040/g, ' '))
    .filter((path) => folders.some((folder) => path === folder || path.startsWith(`${folder}/`)))
    .sort((a, b) => b.length - a.length);

/** What the engine must leave as it was, noted before it starts: a kill must not make us forget. */
interface Noted {
  addresses: Addresses;
  /** Mounts that are the user's: a disk of its own for the engine. */
  mounts: string[];
}

const notePath = (folder: DataFolder) => join(folder.run, 'dockerd.note.json');
const execFolder = (folder: DataFolder) => join(folder.sockets, 'docker');

/** Undoes what our engine did to the machine, when it has stopped or was killed. Safe to repeat. */
export function cleanUpAfterDockerd(folder: DataFolder): void {
  if (!existsSync(notePath(folder))) return;
  const { addresses, mounts } = JSON.parse(readFileSync(notePath(folder), 'utf8')) as Noted;
  for (const path of mountsBelow([folder.docker, execFolder(folder)]))
    if (!mounts.includes(path)) command('umount', '-l', path);
  removeTraces(addresses);
  rmSync(notePath(folder), { force: true });
}

export interface OwnDockerd {
  spec: ChildSpec;
  host: string;
}

/**
 * Engine and containerd wait for whoever a pid file names, also for a zombie that nobody collects, and for a stranger
 * who was given the number.
 */
function removeStalePidFiles(folder: DataFolder): void {
  for (const path of [
    join(folder.sockets, 'docker.pid'),
    join(execFolder(folder), 'containerd/containerd.pid'),
  ]) {
    const pid = existsSync(path) ? Number(readFileSync(path, 'utf8')) : undefined;
    if (pid !== undefined && !isOurEngine(pid, folder)) rmSync(path, { force: true });
  }
}

/** Whether that process was started with our folders. */
function isOurEngine(pid: number, folder: DataFolder): boolean {
  if (!identify(pid)) return false;
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(execFolder(folder));
  } catch {
    return false;
  }
}

/** Whether we could run one: root, on Linux, with the program and what it needs. */
export const canRunDockerd = (): boolean =>
  process.platform === 'linux' &&
  process.getuid?.() === 0 &&
  ['dockerd', 'iptables', 'ip'].every((name) => findProgram(name) !== undefined);

/** Sets up the bridge and says how to run the engine. Errors: `Refusal` when the machine does not let us. */
export function ownDockerd(folder: DataFolder): OwnDockerd {
  const exec = execFolder(folder);
  const socket = join(folder.sockets, 'docker.sock');
  for (const path of [folder.docker, exec]) mkdirSync(path, { recursive: true, mode: 0o711 });
  cleanUpAfterDockerd(folder); // One that was killed could not.
  const addresses = chooseAddresses(seedOf(folder), routes());
  if (!addresses)
    throw new Refusal('There is no network left from 10.160 to 10.239 for an engine of our own.');
  const neighbours = [...listRules('filter'), ...listRules('nat')];
  const mounts = mountsBelow([folder.docker, exec]);
  writeAtomically(notePath(folder), JSON.stringify({ addresses, mounts } satisfies Noted));
  command('ip', 'link', 'add', 'name', addresses.bridge, 'type', 'bridge');
  command('ip', 'addr', 'add', addresses.bridgeAddress, 'dev', addresses.bridge);
  command('ip', 'link', 'set', addresses.bridge, 'up');

  // The machine's own daemon.json is not for this engine.
  const configuration = join(folder.run, 'dockerd.json');
  writeAtomically(configuration, '{}\n');
  const host = `unix://${socket}`;
  return {
    host,
    spec: {
      name: 'dockerd',
      command: findProgram('dockerd') ?? 'dockerd',
      args: [
        `--config-file=${configuration}`,
        `--host=${host}`,
        `--data-root=${folder.docker}`,
        `--exec-root=${exec}`,
        `--pidfile=${join(folder.sockets, 'docker.pid')}`,
        `--bridge=${addresses.bridge}`,
        `--default-address-pool=base=${addresses.pool},size=24`,
        '--group=root',
        '--log-level=warn',
      ],
      // The network's own proxy settings are for pulls; nothing else of ours is the engine's business.
      env: Object.fromEntries(
        Object.entries(process.env).filter(([name]) =>
          /^(PATH|HOME|SSL_CERT_|(HTTPS?|NO)_PROXY)/i.test(name),
        ),
      ),
      cwd: '/',
      beforeStart: () => removeStalePidFiles(folder),
      log: join(folder.logs, 'dockerd.log'),
      ready: async (_pid, signal) => {
        while (!(await dockerAnswers(host))) await pause(100, undefined, { signal });
        restoreRules(neighbours);
        guard(addresses);
      },
      readyWithinMs: 90_000,
      stopSignal: 'SIGTERM',
      graceMs: 40_000,
    },
  };
}
