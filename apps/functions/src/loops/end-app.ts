import type { Sql } from '@berth/database';
import type { Context } from '../context';
import { listVersionsOfApp } from '../store/function-store';
import { settleSchedule } from '../store/schedule-store';
import { terminateVersion } from '../store/input-store';

type Parts = Pick<Context, 'db' | 'waiting' | 'lines' | 'autoscaler'>;
interface Version {
  function_id: string;
  version: number;
}

/**
 * Ends versions for good, once `mark` has written why: what is open is terminated, their containers end. What is accepted
 * meanwhile, or left open by a process that dies here, is terminated when its pool is looked at next: within seconds.
 * `mark` gives false when there is nothing to end.
 */
export async function endVersions(
  { db, waiting, lines, autoscaler }: Parts,
  versions: readonly Version[],
  reason: string,
  mark: (tx: Sql) => Promise<boolean>,
): Promise<boolean> {
  const marked = await db.transact(async (tx) => {
    if (!(await mark(tx))) return false;
    for (const functionId of new Set(versions.map(({ function_id }) => function_id))) {
      await settleSchedule(tx, functionId);
    }
    return true;
  });
  if (!marked) return false;
  for (const { function_id, version } of versions) {
    for await (const terminated of terminateVersion(db, function_id, version, reason)) {
      waiting.announce(terminated);
      lines.cancel(terminated.map(({ input_id }) => input_id));
    }
  }
  for (const { function_id, version } of versions) autoscaler.consider(function_id, version);
  return true;
}

/** As endVersions, for all of an app. */
export const endApp = async (
  parts: Parts,
  appId: string,
  mark: (tx: Sql) => Promise<boolean>,
): Promise<boolean> => endVersions(parts, await listVersionsOfApp(parts.db, appId), APP_STOPPED, mark);

export const APP_STOPPED = 'The app was stopped.';
export const FUNCTION_DELETED = 'The function was deleted.';
