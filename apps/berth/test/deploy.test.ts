/** What deploy/ says is what the services read. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { addressOf, readServiceConfig } from '@berth/service-kit';
import { modules } from '../src/modules';

interface Compose {
  services: Record<string, { command?: string[]; environment?: Record<string, string>; volumes?: string[] }>;
}

const folder = join(__dirname, '../../../deploy/compose');
const text = readFileSync(join(folder, 'compose.yaml'), 'utf8');
const compose = parse(text, { merge: true }) as Compose;
const names = modules.map(({ name }) => name);

test.each(names)('the environment of %s is one that it starts with', (name) => {
  const { environment = {}, command } = compose.services[name]!;
  expect(command).toEqual([`dist/${name}/main.js`]);
  expect(readServiceConfig(name, environment)).toMatchObject({ listen: '0.0.0.0:50051', keysDir: '/keys' });
  for (const peer of names) expect(addressOf(peer, environment)).toBe(`${peer}:50051`);
});

test.each(names)('%s sees its own key and its own database role, and no other', (name) => {
  const { environment = {}, volumes = [] } = compose.services[name]!;
  expect(volumes.filter((volume) => volume.includes('/keys'))).toEqual([`./keys/${name}:/keys:ro`]);
  const roles = Object.keys(environment).filter((variable) => variable.endsWith('_POSTGRES_URL'));
  const hasStore = modules.find((module) => module.name === name)!.database !== undefined;
  expect(roles).toEqual(hasStore ? [`BERTH_${name.toUpperCase()}_POSTGRES_URL`] : []);
});

test('what the runner mounts into containers has one path for it and for the engine', () => {
  const { environment = {}, volumes = [] } = compose.services.runner!;
  const folder = environment.BERTH_DATA_DIR!;
  expect(volumes).toContain(`${folder}:${folder}`);
  expect(volumes).toContain('/var/run/docker.sock:/var/run/docker.sock');
});

test('every variable that compose asks for is in example.env', () => {
  const asked = [...text.matchAll(/\$\{([A-Z_]+)/g)].map(([, variable]) => variable!);
  const given = readFileSync(join(folder, 'example.env'), 'utf8').match(/^[A-Z_]+(?==)/gm) ?? [];
  expect([...new Set(asked)].sort()).toEqual([...given].sort());
});
