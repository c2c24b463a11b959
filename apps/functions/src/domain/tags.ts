import { BerthError } from '@berth/service-kit';

const TAGS_MAX = 64;
const LENGTH_MAX = 255;

/** Errors: `invalid`. */
export function checkTags(tags: Readonly<Record<string, string>>): void {
  const refuse = (why: string) => new BerthError('invalid', `tags ${why}.`, { field: 'tags' });
  const entries = Object.entries(tags);
  if (entries.length > TAGS_MAX) throw refuse(`are more than ${TAGS_MAX}`);
  for (const [key, value] of entries) {
    if (key === '' || key.length > LENGTH_MAX || value.length > LENGTH_MAX) {
      throw refuse(`need a name, and names and values of at most ${LENGTH_MAX} characters`);
    }
    if (/\p{Cc}/u.test(key + value)) throw refuse('have a control character: leave it out');
  }
}
