import { join } from 'node:path';
import { readUpConfig } from '../src/up/config';
import { dataFolder } from '../src/up/data-folder';
import { chooseAddresses, lostRules } from '../src/up/dockerd';
import { postgresUrlFor, serviceEnvironment, SERVICES, type Platform } from '../src/up/environment';
import type { ChildRecord, PlatformState } from '../src/up/state';
import { report, sayDuration } from '../src/up/status';

describe('configuration', () => {
  test('has defaults', () => {
    expect(readUpConfig({})).toMatchObject({
      dataDir: '.berth',
      httpPort: 4600,
      grpcPort: 4601,
      engine: 'auto',
    });
  });

  test('names every problem at once, and no value', () => {
    const env = {
      BERTH_HTTP_PORT: 'http',
      BERTH_GRPC_PORT: '70000',
      BERTH_ENGINE: 'podman',
      BERTH_POSTGRES_URL: 'mysql://root:hunter2@db/berth',
    };
    const problems = expect(() => readUpConfig(env));
    for (const name of Object.keys(env)) problems.toThrow(name);
    problems.not.toThrow('hunter2');
  });

  test('refuses one port for two doors', () => {
    expect(() => readUpConfig({ BERTH_HTTP_PORT: '5000', BERTH_GRPC_PORT: '5000' })).toThrow('must differ');
    expect(readUpConfig({ BERTH_HTTP_PORT: '0', BERTH_GRPC_PORT: '0' }).httpPort).toBe(0);
  });
});

describe('data folder', () => {
  test('keeps sockets beside the state where their paths are short enough', () => {
    expect(dataFolder('/srv/berth', '/tmp').sockets).toBe('/srv/berth/run');
  });

  test('puts sockets into a short folder of its own otherwise', () => {
    const long = (name: string) => dataFolder(join('/home', 'x'.repeat(80), name), '/tmp');
    expect(long('one').sockets).toMatch(/^\/tmp\/berth-[0-9a-f]{10}$/);
    expect(long('one').sockets).not.toBe(long('two').sockets);
    expect(long('one').run).toContain('x'.repeat(80));
  });
});

describe('environment of a service', () => {
  const platform: Platform = {
    folder: dataFolder('/srv/berth', '/tmp'),
    host: '127.0.0.1',
    httpPort: 4600,
    grpcPort: 4601,
    natsUrl: 'nats://berth:n@127.0.0.1:4222',
    postgresUrls: Object.fromEntries(
      SERVICES.map((name) => [
        name,
        postgresUrlFor('postgres://a:b@h:1/postgres', `berth_${name}`, name, 'berth'),
      ]),
    ),
    engine: 'docker',
    dockerHost: 'unix:///d.sock',
  };
  const inherited = {
    PATH: '/bin',
    BERTH_POSTGRES_URL: 'postgres://root@h/',
    BERTH_BILLING_POSTGRES_URL: 'x',
    BERTH_LOG_LEVEL: 'debug',
    npm_config_cache: 'x',
  };

  test('holds its own Postgres role, everybody’s address, and not the superuser', () => {
    const env = serviceEnvironment(platform, ['billing'], 0, inherited);
    expect(env).toMatchObject({
      PATH: '/bin',
      BERTH_LOG_LEVEL: 'debug',
      BERTH_BILLING_POSTGRES_URL: 'postgres://berth_billing:billing@h:1/berth',
      BERTH_IDENTITY_ADDRESS: 'unix:/srv/berth/run/identity.sock',
      BERTH_OPS_LISTEN: '127.0.0.1:0',
      DOCKER_HOST: 'unix:///d.sock',
    });
    expect(Object.keys(env).filter((name) => name.endsWith('POSTGRES_URL'))).toEqual([
      'BERTH_BILLING_POSTGRES_URL',
    ]);
    expect(env).not.toHaveProperty('npm_config_cache');
  });

  test('of one process for all holds all roles', () => {
    const env = serviceEnvironment(platform, SERVICES, 9100, {});
    expect(Object.keys(env).filter((name) => name.endsWith('POSTGRES_URL'))).toHaveLength(SERVICES.length);
    expect(env.BERTH_OPS_LISTEN).toBe('127.0.0.1:9100');
  });
});

describe('addresses of an own engine', () => {
  test('keep clear of what the machine has routes to', () => {
    const free = chooseAddresses(3, ['172.17.0.0/16', '192.168.0.0/24']);
    expect(free).toEqual({ bridge: 'berth3', bridgeAddress: '10.163.0.1/16', pool: '10.211.0.0/16' });
    expect(chooseAddresses(3, ['10.163.4.0/24'])?.bridge).toBe('berth4');
    expect(chooseAddresses(3, ['10.211.0.0/20'])?.bridge).toBe('berth4');
    expect(chooseAddresses(31, ['10.191.0.0/16'])?.bridge).toBe('berth0');
    expect(chooseAddresses(3, ['10.0.0.0/8'])).toBeUndefined();
  });
});

describe('status', () => {
  const now = Date.parse('2026-01-02T00:00:00Z');
  const child = (more: Partial<ChildRecord>): ChildRecord => ({
    name: 'postgres',
    state: 'up',
    process: { pid: 12, started: 'b' },
    since: '2026-01-01T20:40:00Z',
    restarts: 0,
    lastExit: undefined,
    log: '/l',
    stopSignal: 'SIGINT',
    graceMs: 1,
    ...more,
  });
  const state = (children: ChildRecord[], phase: PlatformState['phase'] = 'up'): PlatformState => ({
    supervisor: { pid: 11, started: 'a' },
    phase,
    since: '2026-01-01T00:00:00Z',
    places: { API: 'http://127.0.0.1:4600' },
    warnings: [],
    failure: undefined,
    children,
  });
  const alive = () => true;

  test('is 0 when all is up', () => {
    const { code, text } = report(state([child({})]), '/d', now, alive, new Map([[12, 20 * 1024 * 1024]]));
    expect(code).toBe(0);
    expect(text).toMatch(/postgres\s+up\s+12\s+3 h 20 min\s+0\s+20 MB/);
  });

  test('is 1 with the reason when something is down', () => {
    const lastExit = { reason: 'killed by SIGKILL', at: '2026-01-01T23:59:56Z', aliveMs: 7_260_000 };
    const down = child({ state: 'waiting', process: undefined, restarts: 3, lastExit });
    const { code, text } = report(state([down]), '/d', now, alive, new Map());
    expect(code).toBe(1);
    expect(text).toContain('killed by SIGKILL, 4 s ago, after 2 h 1 min');
  });

  test.each(['starting', 'stopping'] as const)('is 1 while %s', (phase) => {
    expect(report(state([child({})], phase), '/d', now, alive, new Map()).code).toBe(1);
  });

  test('is 3 when the supervisor is gone, and names what it left', () => {
    const { code, text } = report(state([child({})]), '/d', now, ({ pid }) => pid === 12, new Map());
    expect(code).toBe(3);
    expect(text).toContain('postgres (pid 12)');
  });

  test('is 3 when nothing was ever started', () => {
    expect(report(undefined, '/d', now, alive, new Map()).code).toBe(3);
  });

  test.each([
    [-5, '0 s'],
    [59_999, '59 s'],
    [60_000, '1 min'],
    [3_599_999, '59 min'],
    [3_600_000, '1 h 0 min'],
    [90_000_000, '1 d 1 h'],
  ])('%i ms are %s', (ms, text) => expect(sayDuration(ms)).toBe(text));
});

describe('the firewall of other engines', () => {
  const rules = (...texts: string[]) => texts.map((text) => ({ table: 'filter', text }));
  const isolation = '-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2';
  const second = '-A DOCKER-ISOLATION-STAGE-1 -i br-1 ! -o br-1 -j DOCKER-ISOLATION-STAGE-2';
  const final = '-A DOCKER-ISOLATION-STAGE-1 -j RETURN';

  test('is put back as it was, last rule first, for each goes to the top', () => {
    expect(lostRules(rules(isolation, second, final), rules(final))).toEqual(rules(second, isolation));
  });

  test('is left alone where nothing was lost, or where a rule is not of an engine’s own chains', () => {
    expect(lostRules(rules(isolation, final), rules(final, isolation))).toEqual([]);
    expect(lostRules(rules('-A FORWARD -j DOCKER-USER', '-A DOCKER-USER -j RETURN'), [])).toEqual([]);
  });
});
