// npm start, npm stop, npm run status, npm run bench: from a bare clone to the program that does the work, under
// the Node of package.json. Plain JavaScript without dependencies: it runs before anything is installed.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { buildIfChanged } from './build-stamp.mjs';
import { checkNode, ensureInstalled, pinnedNode, root } from './install.mjs';
import { Refusal, runTool } from './progress.mjs';
import { ensureRequirements } from './requirements.mjs';

const USAGE = `usage: npm start [-- --detach] [-- --separate]   bring the platform up
       npm stop                                 stop it
       npm run status [-- --json]               what runs, and what happened to it
       npm run bench [-- …]                     measure it`;

/**
 * Becomes `node <args>`: in place where this Node can (nothing stays between the terminal and the program, and no
 * memory is held), else as a child that shares the terminal and gets every signal that reaches only this process.
 */
async function become(...args) {
  process.env.PATH = `${join(root, 'node_modules', '.bin')}:${process.env.PATH}`;
  if (typeof process.execve === 'function') process.execve(pinnedNode, [pinnedNode, ...args], process.env);
  const child = spawn(pinnedNode, args, { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? 128 + constants.signals[signal]));
  });
}

const up = join(root, 'dist/berth/up.js');

const commands = {
  async start(args) {
    console.log('Berth: starting');
    await ensureInstalled();
    await ensureRequirements();
    await buildIfChanged();
    return become(up, 'up', ...args);
  },
  async stop(args) {
    if (existsSync(up)) return become(up, 'stop', ...args);
    console.log('Berth is not running: it was never built.');
    return 0;
  },
  async status(args) {
    if (existsSync(up)) return become(up, 'status', ...args);
    console.log('Berth is not running: it was never built.');
    return 3;
  },
  async bench(args) {
    await ensureInstalled();
    await ensureRequirements();
    await buildIfChanged();
    const bench = join(root, 'tools/bench.mjs');
    if (!existsSync(bench)) throw new Refusal(`There is no ${bench}.`);
    return become(bench, ...args);
  },
};

await runTool(() => {
  const [name = 'start', ...args] = process.argv.slice(2);
  const command = commands[name];
  if (!command) throw new Refusal(USAGE);
  checkNode();
  return command(args);
});
