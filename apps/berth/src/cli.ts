#!/usr/bin/env node
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { platformNode } from './cli/platform-node';
import { createProgram, runProgram } from './cli/program';

/** The program that supervises: it is smaller than this one, and this one becomes it where Node can. */
const supervisor = join(__dirname, 'up.js');

async function become(words: string[]): Promise<void> {
  const node = platformNode();
  if (typeof process.execve === 'function') process.execve(node, [node, supervisor, ...words], process.env);
  const child = spawn(node, [supervisor, ...words], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? 128 + constants.signals[signal!]));
  });
}

/** What starts and stops the platform itself. */
function addPlatform(program: Command): void {
  program
    .command('up')
    .description('bring the platform up on this machine, and keep it up until Ctrl-C or berth stop')
    .option('--detach', 'return when it is ready; it stays up')
    .option('--separate', 'each service in a process of its own')
    .addHelpText('after', '\nExample:\n  BERTH_HTTP_PORT=4700 BERTH_DATA_DIR=~/berth berth up --detach')
    .action(({ detach, separate }: { detach?: true; separate?: true }) =>
      become(['up', ...(detach ? ['--detach'] : []), ...(separate ? ['--separate'] : [])]),
    );
  program
    .command('stop')
    .description('stop the platform of this data folder (BERTH_DATA_DIR), in order')
    .action(() => become(['stop']));
  program
    .command('status')
    .description(
      'what runs, since when, and why it was started again; exits with 0, 1 (not all up) or 3 (not running)',
    )
    .option('--json', 'all of it, for programs')
    .action(({ json }: { json?: true }) => become(['status', ...(json ? ['--json'] : [])]));
}

// Whoever reads the output may have read enough (`| head`).
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

void runProgram(createProgram(addPlatform), process.argv);
