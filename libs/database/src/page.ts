import { BerthError } from '@berth/service-kit';

/** A page of a list that is ordered by one sortable key, usually the id. */
export interface Page {
  limit: number;
  /** Begin after this key; undefined on the first page. */
  after: string | undefined;
}

/** Reads `limit` and `cursor` of a request. Errors: `invalid` with the field at fault. */
export function readPage(
  request: { limit: number; cursor: string },
  defaults = { limit: 50, max: 100 },
): Page {
  const limit = request.limit || defaults.limit;
  if (limit < 1 || limit > defaults.max) {
    throw new BerthError('invalid', `limit must be from 1 to ${defaults.max}.`, { field: 'limit' });
  }
  if (!request.cursor) return { limit, after: undefined };
  const after = Buffer.from(request.cursor, 'base64url').toString('utf8');
  if (!/^[\x21-\x7e]{1,200}$/.test(after) || Buffer.from(after).toString('base64url') !== request.cursor) {
    throw new BerthError('invalid', 'cursor is not one that this list gave: start again without it.', {
      field: 'cursor',
    });
  }
  return { limit, after };
}

/** The cursor of the page that begins after this key. */
export const cursorAfter = (key: string): string => Buffer.from(key).toString('base64url');

/** Cuts `limit + 1` rows into a page, and says where the next one begins: empty on the last page. */
export function cutPage<T>(
  rows: T[],
  { limit }: Page,
  key: (row: T) => string,
): { data: T[]; nextCursor: string } {
  const data = rows.slice(0, limit);
  const last = data.at(-1);
  const nextCursor = rows.length > limit && last ? cursorAfter(key(last)) : '';
  return { data, nextCursor };
}
