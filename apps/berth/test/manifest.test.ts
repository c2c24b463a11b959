import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { FunctionDefinition } from '@berth/contracts/functions/v1/functions';
import { functionSchema, readManifest } from '../src/cli/manifest';

const examples = join(__dirname, '../../../examples');
const folders = readdirSync(examples).filter((name) => existsSync(join(examples, name, 'berth.json')));

test.each(folders)('the manifest of the example %s is read', (name) => {
  expect(readManifest(join(examples, name)).functions.length).toBeGreaterThan(0);
});

test('a manifest takes every option of a definition but what the command line itself fills in', () => {
  const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const options = Object.keys(FunctionDefinition.fromPartial({ runtime: 1 })).map(snake);
  const taken = new Set(Object.keys(functionSchema.shape));
  expect(options.filter((option) => !taken.has(option)).sort()).toEqual(['files', 'source']);
});
