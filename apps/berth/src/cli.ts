#!/usr/bin/env node
import { join } from 'node:path';
import type { Command } from 'commander';
import { createProgram, runProgram } from './cli/program';
import { builtParts } from './up/parts';
import { runProgram as supervise } from './up/program';

/** The program that supervises: it is smaller than this one, and this one becomes it where Node can. */
const supervisor = join(__dirname, 'up.js');

function become(words: string[]): Promise<never> {
  if (typeof process.execve === 'function')
    process.execve(process.execPath, [process.execPath, supervisor, ...words], process.env);
  return supervise({ file: supervisor, partsFor: builtParts }, words);
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

void runProgram(createProgram(addPlatform), process.argv);
