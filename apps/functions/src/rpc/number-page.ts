import { readPage, type Page } from '@berth/database';
import { BerthError } from '@berth/service-kit';

/** As readPage, for a list whose key is a number. Errors: `invalid`. */
export function readNumberPage(request: { limit: number; cursor: string }): {
  page: Page;
  before: number | undefined;
} {
  const page = readPage(request);
  if (page.after === undefined) return { page, before: undefined };
  if (/^\d{1,9}$/.test(page.after)) return { page, before: Number(page.after) };
  throw new BerthError('invalid', 'cursor is not one that this list gave: start again without it.', {
    field: 'cursor',
  });
}
