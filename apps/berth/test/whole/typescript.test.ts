/** Functions as TypeScript users write them: typed from the call to its result. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Platform, root, run } from './platform';

jest.setTimeout(300_000);

let platform: Platform;
const folder = mkdtempSync(join(tmpdir(), 'berth-typescript-'));
beforeAll(async () => {
  platform = await new Platform().start();
});
afterAll(async () => {
  await platform?.close();
  rmSync(folder, { recursive: true, force: true });
});

test('a function runs for as long as the command, shows its log, and its failure the lines of the user', async () => {
  const file = 'examples/triangles/triangles.ts::hypotenuse';
  const ran = await platform.cli('run', file, '{"a": 3, "b": 4}');
  expect(ran).toMatchObject({ code: 0, stdout: 'a triangle 3 4\n5\n' });
  const failed = await platform.cli('run', file, '{"a": 0, "b": 4}');
  expect(failed).toMatchObject({ code: 1, stderr: expect.stringContaining('RangeError: sides are longer') });
  expect(failed.stderr).toMatch(/triangles\.ts:\d+/);
});

test('one that is deployed maps another from inside its container, and is called from outside by what describes it', async () => {
  expect((await platform.cli('deploy', 'examples/triangles/triangles.ts')).code).toBe(0);
  const summed = await platform.cli('invoke', 'triangles.total', '{"a":3,"b":4}', '{"a":6,"b":8}');
  expect(JSON.parse(summed.stdout)).toEqual({ sum: 15, count: 2 });

  writeFileSync(
    join(folder, 'caller.mts'),
    `import { hypotenuse } from ${JSON.stringify(join(root, 'examples/triangles/triangles.ts'))};
    const call = await hypotenuse.spawn({ a: 5, b: 12 });
    const sides = [];
    for await (const side of hypotenuse.map([{ a: 3, b: 4 }, { a: 8, b: 15 }])) sides.push(side);
    const failure = await hypotenuse.remote({ a: 0, b: 0 }).catch((error) => error.error.type);
    console.log(JSON.stringify([await hypotenuse.remote({ a: 3, b: 4 }), await call.get(), sides, await hypotenuse({ a: 9, b: 12 }), failure]));
    process.exit(0);`,
  );
  writeFileSync(
    join(folder, 'hooks.mjs'),
    `import { registerHooks } from 'node:module';
    const url = ${JSON.stringify(`file://${join(root, 'dist/worker/lib/sdk.mjs')}`)};
    registerHooks({
      resolve: (specifier, context, next) => specifier === '@berth/sdk' ? { url, shortCircuit: true } : next(specifier, context),
      load: (url, context, next) => next(url, context.format === 'commonjs-typescript' ? { ...context, format: 'module-typescript' } : context),
    });`,
  );
  const called = await run(
    process.execPath,
    ['--import', join(folder, 'hooks.mjs'), join(folder, 'caller.mts')],
    platform.env,
  );
  expect(called.stdout + called.stderr).toContain('[5,13,[5,17],15,"RangeError"]');
});

test.each([
  ['no app', 'export const x = 1;\n', /exports no function of an app/],
  [
    'what is not exported',
    APP('const f = app.function({}, async () => 1);\nexport { app };'),
    /is not exported by/,
  ],
  ['a mistake', APP('throw new Error("early");'), /Error: early[^]*broken\.ts:3/],
])('a file with %s is refused', async (_, source, message) => {
  writeFileSync(join(folder, 'broken.ts'), source);
  const { code, stderr } = await platform.cli('deploy', join(folder, 'broken.ts'));
  expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringMatching(message) });
});

function APP(text: string) {
  return `import { App } from '@berth/sdk';\nconst app = new App('x');\n${text}\n`;
}
