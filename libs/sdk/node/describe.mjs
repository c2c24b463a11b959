/**
 * What the command line asks of a user's TypeScript or JavaScript file, in the Node that the platform brings: prints its app as JSON.
 * Run with the file's path; what the file prints goes to stderr.
 */
import { existsSync } from 'node:fs';
import * as modules from 'node:module';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const own = new URL('./sdk.mjs', import.meta.url).href;
const { registerHooks } = modules;
if (registerHooks === undefined) fail(`Node ${process.versions.node} is too old: take 22.18 or newer.`);
const file = resolve(process.argv[2]);
const folder = dirname(file);
// What lies above the folder is not uploaded: whether its TypeScript is a module, a package.json there does not say.
const isAlone = !existsSync(join(folder, 'package.json'));
registerHooks({
  resolve: (specifier, context, next) =>
    specifier === '@berth/sdk' ? { url: own, shortCircuit: true } : next(specifier, context),
  load(url, context, next) {
    const isOurs = isAlone && url.startsWith(pathToFileURL(folder).href) && !url.includes('/node_modules/');
    const asModule = isOurs && context.format === 'commonjs-typescript';
    return next(url, asModule ? { ...context, format: 'module-typescript' } : context);
  },
});

const answer = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr);

const { App } = await import(own);
let module;
try {
  module = await import(pathToFileURL(file).href);
} catch (error) {
  fail(error?.stack ?? String(error));
}
const apps = new Set(Object.values(module).flatMap((each) => (each?.app instanceof App ? [each.app] : [])));
for (const each of Object.values(module)) if (each instanceof App) apps.add(each);
const [app] = apps;
if (!app) fail(`${file} exports no function of an app: export const f = app.function({}, async () => …)`);
if (apps.size > 1)
  fail(`${file} has functions of several apps: ${[...apps].map(({ name }) => name).join(', ')}`);

const stem = basename(file, extname(file));
const functions = app.functions.map((made) => {
  const exported = Object.keys(module).find((each) => each !== 'default' && module[each] === made);
  if (!exported) fail(`A function of ${app.name} is not exported by ${file}: containers could not find it.`);
  const { name = exported, ...options } = made.options;
  return {
    name,
    definition: { runtime: 'node', handler: `${stem}:${exported}`, ...options },
    parameters: null,
  };
});
const { environment = null } = app.options;
answer(JSON.stringify({ app: app.name, environment, folder, functions, entrypoints: [] }), () =>
  process.exit(0),
);

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
