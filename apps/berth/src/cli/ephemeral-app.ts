import { setInterval as every } from 'node:timers/promises';
import { BerthApiError, type BerthApp, type Berth } from '@berth/sdk';
import colors from 'picocolors';
import { deployApp, showUpload, type Deployed } from './deploy-app';
import type { DescribedApp } from './user-file';

/** Well below the minute after which an app is stopped whose client is silent. Milliseconds. */
const HEARTBEAT_MS = 10_000;
/** Lines are on their way for a moment after the call that printed them has ended: so long since the last one. */
const QUIET_MS = 250;

export interface EphemeralApp extends Deployed {
  /** Aborted when the app has ended, or the user wants an end. */
  signal: AbortSignal;
  /** Resolves when nothing more seems to be printed by what has ended. */
  quiet(): Promise<void>;
}

/**
 * Makes an app that lives as long as `work` does, with its functions, and prints what they print. However it ends, the
 * app is stopped; should this process be killed, the platform stops it for want of a heartbeat.
 */
export async function withEphemeralApp<T>(
  berth: Berth,
  described: DescribedApp,
  work: (app: EphemeralApp) => Promise<T>,
): Promise<T> {
  const ending = new AbortController();
  const interrupted = () => ending.abort(new Interrupted());
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  const { app: name, environment } = described;
  let app: BerthApp | undefined;
  let lastLineAt = Date.now();
  try {
    const create = async () =>
      (app = await berth.apps.create(name, { ephemeral: true, ...(environment ? { environment } : {}) }));
    const deployed = await deployApp(berth, described, create, showUpload);
    ending.signal.throwIfAborted();
    void sendHeartbeats(berth, deployed.app.app_id, ending);
    void printLogs(berth, deployed.app.app_id, ending.signal, () => (lastLineAt = Date.now()));
    const quiet = async () => {
      lastLineAt = Date.now();
      for await (const _ of every(QUIET_MS / 5)) if (Date.now() - lastLineAt >= QUIET_MS) return;
    };
    return await work({ ...deployed, signal: ending.signal, quiet });
  } finally {
    ending.abort(ending.signal.reason ?? new Interrupted());
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted);
    if (app) await berth.apps.stop(app.app_id);
  }
}

/** The user pressed Ctrl-C. */
export class Interrupted extends Error {
  constructor() {
    super('Interrupted: the app is stopped.');
  }
}

async function sendHeartbeats(berth: Berth, appId: string, ending: AbortController): Promise<void> {
  try {
    for await (const _ of every(HEARTBEAT_MS, undefined, { signal: ending.signal })) {
      await berth.apps.heartbeat(appId);
    }
  } catch (error) {
    if (ending.signal.aborted) return;
    const why = error instanceof BerthApiError ? error.message : 'Berth does not answer any more.';
    ending.abort(new Error(`The app has ended: ${why}`));
  }
}

async function printLogs(
  berth: Berth,
  appId: string,
  signal: AbortSignal,
  onLine: () => void,
): Promise<void> {
  try {
    for await (const { stream, text } of berth.apps.logs(appId, { follow: true }, signal)) {
      onLine();
      if (stream === 'stderr') process.stderr.write(`${colors.yellow(text)}\n`);
      else process.stdout.write(`${text}\n`);
    }
  } catch (error) {
    if (!signal.aborted) console.error(`The log could not be followed: ${(error as Error).message}`);
  }
}
