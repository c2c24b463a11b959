/** An engine of our own, beside whatever runs on this machine. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { createDataFolder, dataFolder } from '../src/up/data-folder';
import { canRunDockerd, cleanUpAfterDockerd, ownDockerd } from '../src/up/dockerd';
import { eventually } from '@berth/testing';
import { Supervisor } from '../src/up/supervisor';

const output = (command: string, ...args: string[]) => spawnSync(command, args, { encoding: 'utf8' }).stdout;
const bridges = () =>
  output('ip', '-o', 'link', 'show', 'type', 'bridge')
    .replace(/^\d+: /gm, '')
    .split('\n')
    .map((line) => line.split(':')[0])
    .sort();
const firewall = () =>
  [output('iptables', '-w', '-S'), output('iptables', '-w', '-t', 'nat', '-S')].join('').split('\n');

async function post(socketPath: string, path: string, body: unknown): Promise<number | undefined> {
  const call = request({ socketPath, path, method: 'POST', headers: { 'content-type': 'application/json' } });
  call.end(JSON.stringify(body));
  const [response] = (await once(call, 'response')) as [{ statusCode?: number; resume(): void }];
  response.resume();
  return response.statusCode;
}

// Only root on Linux may run one; elsewhere `berth up` says what to install instead.
const whereAllowed = canRunDockerd() ? test : test.skip;

whereAllowed(
  'takes nothing from an engine that runs already, and leaves nothing behind',
  async () => {
    const root = mkdtempSync(`${tmpdir()}/berth-dockerd-`);
    const folder = dataFolder(root, tmpdir());
    createDataFolder(folder);
    const before = { bridges: bridges(), firewall: firewall() };
    const dockerd = ownDockerd(folder);
    const supervisor = new Supervisor(() => undefined);
    try {
      await supervisor.start(dockerd.spec);
      const socket = dockerd.host.replace('unix://', '');
      expect(await post(socket, '/networks/create', { Name: 'probe' })).toBe(201);
      expect(bridges().length).toBe(before.bridges.length + 2);
      // From a container's addresses neither this machine nor a cloud's credentials are reached.
      const guards = () =>
        firewall().filter((rule) => /-A (INPUT|DOCKER-USER) -s 10\..* --dport 53 -j DROP/.test(rule));
      expect(guards().length).toBe(
        before.firewall.filter((rule) => / --dport 53 -j DROP/.test(rule)).length + 8,
      );
      // One that is killed is started again, and what it did meanwhile is undone all the same.
      process.kill(supervisor.records[0]!.process!.pid, 'SIGKILL');
      await eventually(
        () => supervisor.records[0]!.restarts === 1 && supervisor.records[0]!.state === 'up',
        60_000,
      );
      expect(guards().length).toBe(
        before.firewall.filter((rule) => / --dport 53 -j DROP/.test(rule)).length + 8,
      );
      // What was there is there, in the same order among itself; ours came beside it.
      expect(firewall().filter((rule) => before.firewall.includes(rule))).toEqual(
        expect.arrayContaining(before.firewall),
      );
    } finally {
      await supervisor.stop(['dockerd']);
      cleanUpAfterDockerd(folder);
      rmSync(root, { recursive: true, force: true });
    }
    expect(readFileSync('/proc/self/mounts', 'utf8')).not.toContain(root);
    expect(bridges()).toEqual(before.bridges);
    expect(firewall().filter((rule) => before.firewall.includes(rule))).toEqual(before.firewall);
    expect(firewall().filter((rule) => /berth\d+/.test(rule) && !before.firewall.includes(rule))).toEqual([]);
  },
  120_000,
);
