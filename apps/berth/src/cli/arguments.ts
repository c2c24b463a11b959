import type { Arguments } from '@berth/sdk';

/** `--x=3` and `--x 3` name an argument; anything else is positional. Values are JSON where they parse as such. */
export function readArguments(words: string[]): Arguments {
  const args: unknown[] = [];
  const kwargs: Record<string, unknown> = {};
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    const named = /^--([A-Za-z_][\w-]*)(?:=(.*))?$/s.exec(word);
    if (!named) {
      args.push(readValue(word));
      continue;
    }
    const name = named[1]!.replaceAll('-', '_');
    const value = named[2] ?? words[++at];
    if (value === undefined) throw new Error(`${word} has no value: write ${word} VALUE.`);
    kwargs[name] = readValue(value);
  }
  return { args, kwargs };
}

function readValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // A bare word is a string: berth invoke app.greet Ada
  }
}
