import type { ListUsageRequest, ListUsageResponse } from '@berth/contracts/billing/v1/billing';
import { cutPage, isId, readPage } from '@berth/database';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { positionOf, readPosition } from '../domain/position';
import { readWindow } from '../domain/window';
import { listIntervals } from '../store/usage-store';
import { intervalToProto } from './to-proto';

const PAGES = { limit: 100, max: 1000 };

/** Lists the usage intervals of the caller's workspace that begin in [start, end), oldest first. */
export const listUsage =
  ({ db }: Pick<Context, 'db'>) =>
  async (request: ListUsageRequest, call: CallContext): Promise<ListUsageResponse> => {
    const filter = {
      workspaceId: workspaceOf(call),
      ...readWindow(request, new Date()),
      containerId: readId('ta', 'container_id', request.containerId),
      functionId: readId('fu', 'function_id', request.functionId),
    };
    const page = readPage(request, PAGES);
    const after = page.after === undefined ? undefined : readPosition(page.after);
    const rows = await listIntervals(db, filter, page.limit, after);
    const { data, nextCursor } = cutPage(rows, page, positionOf);
    return { data: data.map(intervalToProto), nextCursor };
  };

/** Undefined when it is not given. Errors: `invalid`. */
function readId(prefix: 'ta' | 'fu', field: string, id: string): string | undefined {
  if (!id || isId(prefix, id)) return id || undefined;
  throw new BerthError('invalid', `${field} is not an id of the form ${prefix}-…: leave it out to see all.`, {
    field,
  });
}
