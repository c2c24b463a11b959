import { BerthError } from './errors';

/** Characters (code points) of the longest name. */
export const NAME_LENGTH_MAX = 255;

/** Controls, line and paragraph separators, and the marks that turn text around so that a name reads as another. */
const UNSEEN = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/u;

/**
 * A name that people gave and read, as it is stored: NFC, so that two spellings of one name are one name. Any script
 * and emoji are fine. Errors: `invalid` with `field`.
 */
export function checkName(name: string, field: string): string {
  const stored = name.normalize('NFC');
  const refuse = (why: string) => new BerthError('invalid', `${field} ${why}.`, { field });
  if (stored === '') throw refuse('is missing: give it a value');
  // Code units bound the work; code points are what people count.
  if (stored.length > 2 * NAME_LENGTH_MAX || [...stored].length > NAME_LENGTH_MAX) {
    throw refuse(`is longer than ${NAME_LENGTH_MAX} characters: shorten it`);
  }
  if (UNSEEN.test(stored)) throw refuse('has a control character or a line break: leave it out');
  if (stored !== stored.trim()) throw refuse('begins or ends with a space: leave it out');
  return stored;
}
