import type { StopAppRequest, StopAppResponse } from '@berth/contracts/functions/v1/functions';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findApp, markAppStopped } from '../store/app-store';
import { listVersionsOfApp } from '../store/function-store';
import { terminateVersion } from '../store/input-store';
import { noSuchApp } from './not-found';

/**
 * Stops an app: it takes no more, its open calls are terminated, its containers end. A call that was accepted while
 * the app was being stopped is terminated when its pool is looked at next: within seconds.
 */
export const stopApp =
  ({ db, waiting, lines, autoscaler }: Pick<Context, 'db' | 'waiting' | 'lines' | 'autoscaler'>) =>
  async ({ appId }: StopAppRequest, call: CallContext): Promise<StopAppResponse> => {
    const app = await findApp(db, workspaceOf(call), appId);
    if (!app) throw noSuchApp();
    const versions = await listVersionsOfApp(db, app.id);
    const terminated = await db.transact(async (tx) => {
      await markAppStopped(tx, app.id);
      const ended = [];
      for (const { function_id, version } of versions) {
        ended.push(...(await terminateVersion(tx, function_id, version)));
      }
      return ended;
    });
    waiting.announce(terminated);
    lines.cancel(terminated.map(({ input_id }) => input_id));
    for (const { function_id, version } of versions) autoscaler.consider(function_id, version);
    return {};
  };
