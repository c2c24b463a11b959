import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { parseEnv } from 'node:util';

/** Where values come from that are not in the words of the command. */
export interface ValueSources {
  /** All of standard input, once. */
  stdin(): string;
  /** Asks the person at the terminal, without showing what is typed. Throws where there is no terminal. */
  ask(variable: string): Promise<string>;
  file(path: string): string;
}

/**
 * The variables that the words and the dotenv file name. `NAME=value` is in the shell's history; `NAME=-` is read from
 * standard input, and a bare `NAME` is asked for. Throws, without a value in the message.
 */
export async function readValues(
  words: readonly string[],
  dotenv: string | undefined,
  sources: ValueSources,
): Promise<Record<string, string>> {
  const env: Record<string, string> = {};
  const fromStdin = words.filter((word) => /^[^=]*=-$/.test(word)).length + (dotenv === '-' ? 1 : 0);
  if (fromStdin > 1) throw new Error('Standard input is one value: name it (-) only once.');
  if (dotenv !== undefined) {
    Object.assign(env, parseEnv(dotenv === '-' ? sources.stdin() : sources.file(dotenv)));
  }
  for (const word of words) {
    const cut = word.indexOf('=');
    const name = cut < 0 ? word : word.slice(0, cut);
    if (cut < 0) env[name] = await sources.ask(name);
    // Most programs end their output with a line break that is no part of the value.
    else if (word.slice(cut + 1) === '-') env[name] = sources.stdin().replace(/\r?\n$/, '');
    else env[name] = word.slice(cut + 1);
  }
  if (Object.keys(env).length === 0) {
    throw new Error(
      'There is no variable: write NAME=value, NAME to be asked for it, or --from-dotenv FILE.',
    );
  }
  return env;
}

/** The process's own standard input and terminal. */
export const processSources: ValueSources = {
  stdin: () => readFileSync(0, 'utf8'),
  file: (path) => readFileSync(path, 'utf8'),
  async ask(variable) {
    if (!process.stdin.isTTY) {
      throw new Error(
        `There is no terminal to ask for ${variable}: write ${variable}=- to read it from standard input.`,
      );
    }
    const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
    const lines = createInterface({ input: process.stdin, output: silent, terminal: true });
    process.stderr.write(`${variable}: `);
    try {
      return await lines.question('');
    } finally {
      lines.close();
      process.stderr.write('\n');
    }
  },
};
