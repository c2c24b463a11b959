import { InvalidArgumentError, type Command } from 'commander';
import { printTable } from './output';

export interface ListOptions {
  json?: boolean;
}

/** Gives a command that lists or shows something its `--json`. */
export const withJson = (command: Command): Command =>
  command.option('--json', 'print JSON, one document a line');

/** Prints a table, or with `--json` each item as the API gives it. */
export function printList<T>(
  items: readonly T[],
  { json }: ListOptions,
  head: string[],
  row: (item: T) => string[],
): void {
  if (json) for (const item of items) console.log(JSON.stringify(item));
  else printTable(head, items.map(row));
}

/** A whole number of at least 1 that an option takes. */
export function wholeNumber(text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1) return number;
  throw new InvalidArgumentError('It must be a whole number, at least 1.');
}
