import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Refusal } from './refusal';
import { openLog, tailOf } from './supervisor';

/** Something that is done once and ends, in a process of its own: the supervisor stays small. */
export interface StepSpec {
  name: string;
  args: string[];
  /** It shows that the platform works and makes nothing: once it has been up before, a failure is a warning. */
  proves?: boolean;
}

export interface RunningStep {
  child: ChildProcess;
  /** Resolves when it has exited with 0. Errors: `Refusal` with its last words. */
  finished: Promise<void>;
}

/** Runs a Node program once. Its standard output is for the user, line by line; its errors go to `log`. */
export function runStep(
  { name, args }: StepSpec,
  env: NodeJS.ProcessEnv,
  log: string,
  say: (line: string) => void,
): RunningStep {
  const errors = openLog(log);
  // A session of its own, as all that the supervisor starts: Ctrl-C is the supervisor's to pass on.
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', errors], detached: true });
  closeSync(errors);
  createInterface({ input: child.stdout! }).on('line', say);
  const finished = new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (code === 0) return resolve();
      const how = signal ? `was killed by ${signal}` : `failed with ${code}`;
      reject(new Refusal(`${name} ${how}. Its last words, all of them in ${log}:\n${tailOf(log)}`));
    });
  });
  return { child, finished };
}
