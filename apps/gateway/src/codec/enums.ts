import type { DescEnum } from '@bufbuild/protobuf';

/** An enum as REST spells it: `APP_STATE_DEPLOYED` is `deployed`. */
export interface EnumWords {
  /** By number; a number that is not here came from a newer peer. */
  wordOf: ReadonlyMap<number, string>;
  /** By word in lower case; the full name is understood as well. */
  numberOf: ReadonlyMap<string, number>;
  /** What a caller may choose: without the zero value, which means that nothing was chosen. */
  choices: readonly string[];
}

export function enumWords(descriptor: DescEnum): EnumWords {
  const prefix = descriptor.sharedPrefix ?? '';
  const words = descriptor.values.map((value) => {
    const full = value.name.toLowerCase();
    return { number: value.number, full, word: full.startsWith(prefix) ? full.slice(prefix.length) : full };
  });
  return {
    wordOf: new Map(words.map(({ number, word }) => [number, word])),
    numberOf: new Map(
      words.flatMap(({ number, word, full }) => [[full, number] as const, [word, number] as const]),
    ),
    choices: words.filter(({ number }) => number !== 0).map(({ word }) => word),
  };
}
