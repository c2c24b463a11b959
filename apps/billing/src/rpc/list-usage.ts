import type { ListUsageRequest, ListUsageResponse } from '@berth/contracts/billing/v1/billing';
import { cutPage, readPage } from '@berth/database';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { listIntervals, type StoredInterval, type UsageKey } from '../store/usage-store';
import { intervalToProto } from './to-proto';

const DAY_MS = 24 * 3_600_000;
const PAGES = { limit: 100, max: 1000 };

/** Lists the usage intervals of the caller's workspace that begin in [start, end), oldest first. */
export const listUsage =
  ({ db }: Pick<Context, 'db'>) =>
  async (request: ListUsageRequest, call: CallContext): Promise<ListUsageResponse> => {
    const workspaceId = workspaceOf(call);
    const end = request.end ?? new Date();
    const start = request.start ?? new Date(end.getTime() - DAY_MS);
    if (end <= start) {
      throw new BerthError('invalid', 'end must be after start.', { field: 'end' });
    }
    const page = readPage(request, PAGES);
    const filter = {
      workspaceId,
      start,
      end,
      containerId: request.containerId || undefined,
      functionId: request.functionId || undefined,
    };
    const after = page.after === undefined ? undefined : readKey(page.after);
    const rows = await listIntervals(db, filter, page.limit, after);
    const { data, nextCursor } = cutPage(rows, page, keyOf);
    return { data: data.map(intervalToProto), nextCursor };
  };

/** Intervals begin on a millisecond: so fine are the times of runners. */
const keyOf = ({ started_at, container_id, sequence }: StoredInterval): string =>
  `${started_at.getTime()}/${container_id}/${sequence}`;

function readKey(key: string): UsageKey {
  const [, startedAt, containerId, sequence] = /^(\d{1,15})\/([\w-]{1,64})\/(\d{1,10})$/.exec(key) ?? [];
  if (startedAt === undefined) {
    throw new BerthError('invalid', 'cursor is not one that this list gave: start again without it.', {
      field: 'cursor',
    });
  }
  return { startedAt: new Date(Number(startedAt)), containerId: containerId!, sequence: Number(sequence) };
}
