/** Words of the command line as the arguments of a function, read as its signature says. */
import type { Parameter } from './user-file';

export interface TypedArguments {
  args: unknown[];
  kwargs: Record<string, unknown>;
}

/**
 * `--name value`, `--name=value`, and for a bool also `--name` and `--no-name`; other words fill the parameters in their
 * order. A `-` in a name stands for `_`. Throws, naming the parameter at fault.
 */
export function readTypedArguments(
  words: readonly string[],
  parameters: readonly Parameter[],
): TypedArguments {
  const byName = new Map(parameters.map((each) => [each.name, each]));
  const rest = parameters.find(({ kind }) => kind === 'var_keyword');
  const variadic = parameters.find(({ kind }) => kind === 'var_positional');
  const byPlace = parameters.filter(
    ({ kind }) => kind === 'positional_only' || kind === 'positional_or_keyword',
  );
  const args: unknown[] = [];
  const kwargs: Record<string, unknown> = {};

  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    const named = /^--([A-Za-z_][\w-]*)(?:=(.*))?$/s.exec(word);
    if (!named) {
      const parameter = byPlace[args.length] ?? variadic;
      if (!parameter) throw new Error(`There is no parameter for ${word}. ${listOf(parameters)}`);
      args.push(readWord(word, parameter));
      continue;
    }
    const name = named[1]!.replaceAll('-', '_');
    const parameter =
      byName.get(name) ?? (name.startsWith('no_') ? byName.get(name.slice(3)) : undefined) ?? rest;
    if (!parameter || parameter.kind === 'positional_only' || parameter === variadic) {
      throw new Error(`There is no parameter --${named[1]}. ${listOf(parameters)}`);
    }
    if (parameter.type === 'bool' && named[2] === undefined && !/^(true|false)$/i.test(words[at + 1] ?? '')) {
      kwargs[parameter.name] = parameter.name === name;
      continue;
    }
    const value = named[2] ?? words[++at];
    if (value === undefined) throw new Error(`${word} has no value: write ${word} VALUE.`);
    kwargs[parameter === rest ? name : parameter.name] = readWord(value, parameter);
  }

  byPlace.slice(0, args.length).forEach(({ name }) => {
    if (name in kwargs) throw new Error(`${name} is given twice: once by its place, once by its name.`);
  });
  const missing = parameters.filter(
    (each) => each.required && !(each.name in kwargs) && !byPlace.slice(0, args.length).includes(each),
  );
  if (missing.length > 0) {
    throw new Error(
      `Missing: ${missing.map(({ name }) => optionOf(name)).join(', ')}. ${listOf(parameters)}`,
    );
  }
  return { args, kwargs };
}

const optionOf = (name: string) => `--${name.replaceAll('_', '-')}`;

function listOf(parameters: readonly Parameter[]): string {
  const shown = parameters
    .filter(({ kind }) => kind !== 'var_positional' && kind !== 'var_keyword')
    .map(({ name, type, required }) => {
      const text = type && type !== 'bool' ? `${optionOf(name)} ${type.toUpperCase()}` : optionOf(name);
      return required ? text : `[${text}]`;
    });
  return shown.length > 0 ? `It takes: ${shown.join(' ')}` : 'It takes no arguments.';
}

function readWord(word: string, { name, type }: Parameter): unknown {
  const wrong = (what: string) => new Error(`${optionOf(name)} must be ${what}, and ${word} is not.`);
  switch (type) {
    case 'str':
      return word;
    case 'int':
      if (!/^[+-]?\d+$/.test(word) || !Number.isSafeInteger(Number(word))) throw wrong('a whole number');
      return Number(word);
    case 'float':
      if (word.trim() === '' || !Number.isFinite(Number(word))) throw wrong('a number');
      return Number(word);
    case 'bool':
      if (!/^(true|false)$/i.test(word)) throw wrong('true or false');
      return word.toLowerCase() === 'true';
    case 'json':
      try {
        return JSON.parse(word);
      } catch {
        throw wrong('JSON');
      }
    case '':
      try {
        return JSON.parse(word);
      } catch {
        return word; // Nothing says what it is: a bare word is a string.
      }
  }
}
