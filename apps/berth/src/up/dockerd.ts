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
export function removeTraces({ bridge, pool }: Addresses): void {
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
  removeRules(names, networks);
  for (const { name } of left) command('ip', 'link', 'del', name);
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

export interface OwnDockerd {
  spec: ChildSpec;
  host: string;
  /** Undoes what it did to the machine's network; for when it has stopped. */
  cleanUp: () => void;
}

/** Whether we could run one: root, on Linux, with the program and what it needs. */
export const canRunDockerd = (): boolean =>
  process.platform === 'linux' &&
  process.getuid?.() === 0 &&
  ['dockerd', 'iptables', 'ip'].every((name) => findProgram(name) !== undefined);

/** Sets up the bridge and says how to run the engine. Errors: `Refusal` when the machine does not let us. */
export function ownDockerd(folder: DataFolder): OwnDockerd {
  const exec = join(folder.sockets, 'docker');
  const socket = join(folder.sockets, 'docker.sock');
  for (const path of [folder.docker, exec]) mkdirSync(path, { recursive: true, mode: 0o711 });
  // A file of that name from an engine that was killed: its number may be somebody else's by now.
  rmSync(join(folder.sockets, 'docker.pid'), { force: true });

  // What one that was killed left on the machine.
  const noted = join(folder.run, 'dockerd-network.json');
  if (existsSync(noted)) removeTraces(JSON.parse(readFileSync(noted, 'utf8')) as Addresses);
  const addresses = chooseAddresses(seedOf(folder), routes());
  if (!addresses)
    throw new Refusal('There is no network left from 10.160 to 10.239 for an engine of our own.');
  const neighbours = [...listRules('filter'), ...listRules('nat')];
  writeAtomically(noted, JSON.stringify(addresses));
  command('ip', 'link', 'add', 'name', addresses.bridge, 'type', 'bridge');
  command('ip', 'addr', 'add', addresses.bridgeAddress, 'dev', addresses.bridge);
  command('ip', 'link', 'set', addresses.bridge, 'up');

  // The machine's own daemon.json is not for this engine.
  const configuration = join(folder.run, 'dockerd.json');
  writeAtomically(configuration, '{}\n');
  const host = `unix://${socket}`;
  return {
    host,
    cleanUp: () => {
      removeTraces(addresses);
      rmSync(noted, { force: true });
    },
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
      log: join(folder.logs, 'dockerd.log'),
      ready: async (_pid, signal) => {
        while (!(await dockerAnswers(host))) await pause(100, undefined, { signal });
        restoreRules(neighbours);
      },
      readyWithinMs: 90_000,
      stopSignal: 'SIGTERM',
      graceMs: 40_000,
    },
  };
}
