import type {
  ListFunctionVersionsRequest,
  ListFunctionVersionsResponse,
} from '@berth/contracts/functions/v1/functions';
import { cutPage } from '@berth/database';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { changedParts } from '../domain/version-changes';
import { findFunction } from '../store/function-store';
import { listVersionRows } from '../store/version-store';
import { noSuchFunction } from './not-found';
import { readNumberPage } from './number-page';

/** Lists the versions of a function, newest first, with what each changed. */
export const listFunctionVersions =
  ({ db }: Pick<Context, 'db'>) =>
  async (request: ListFunctionVersionsRequest, call: CallContext): Promise<ListFunctionVersionsResponse> => {
    const { page, before } = readNumberPage(request);
    const found = await findFunction(db, workspaceOf(call), request.functionId);
    if (!found) throw noSuchFunction();
    const rows = await listVersionRows(db, found.function_id, before, page);
    const { data, nextCursor } = cutPage(rows, page, ({ version }) => String(version));
    return {
      data: data.map((row, index) => {
        const earlier = rows[index + 1];
        return {
          version: row.version,
          createdAt: row.created_at,
          source: row.source,
          current: row.version === found.version,
          changed: earlier ? changedParts(earlier, row) : [],
        };
      }),
      nextCursor,
    };
  };
