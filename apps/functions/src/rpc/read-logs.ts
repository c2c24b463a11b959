import type { StreamLogsResponse } from '@berth/contracts/functions/v1/functions';
import { decodeLog, logSubject } from '@berth/events';
import { BerthError, userOf, type CallContext } from '@berth/service-kit';
import { DeliverPolicy } from '@nats-io/jetstream';
import type { Context } from '../context';

export interface LogFilter {
  workspaceId: string;
  appId: string;
  functionId: string | undefined;
  containerId: string | undefined;
  callId: string | undefined;
}

export interface LogRange {
  follow: boolean;
  since?: Date | undefined;
  until?: Date | undefined;
  tail: number;
}

const TAIL_MAX = 10_000;
/** The stream may have had a line as long before the time that its runner gave it. Milliseconds. */
const CLOCKS_MS = 60_000;

/** Errors: `invalid`. */
export function checkRange({ since, until, tail }: LogRange): void {
  if (tail < 0 || tail > TAIL_MAX) {
    throw new BerthError('invalid', `tail must be from 1 to ${TAIL_MAX}.`, { field: 'tail' });
  }
  if (since && until && since >= until) {
    throw new BerthError('invalid', 'until must be after since.', { field: 'until' });
  }
}

/** The container that is asked for; the caller's own where the caller is one. Errors: `not_found` for another. */
function containerAllowed(containerId: string | undefined, call: CallContext): string | undefined {
  const { credentialKind, credentialId } = userOf(call);
  if (credentialKind !== 'container') return containerId;
  if (!containerId || containerId === credentialId) return credentialId;
  throw new BerthError('not_found', 'A container sees its own log only: leave container_id out.', {
    field: 'container_id',
  });
}

/** Log lines, oldest first, and with `follow` those to come, until the caller goes away or `until` has come. */
export async function* readLogs(
  { bus, stopping }: Pick<Context, 'bus' | 'stopping'>,
  { callId, containerId, ...subject }: LogFilter,
  range: LogRange,
  call: CallContext,
): AsyncGenerator<StreamLogsResponse> {
  const { signal } = call;
  const { follow, since, until, tail } = range;
  const consumer = await bus.jetstream.consumers.get('BERTH_LOGS', {
    filter_subjects: logSubject({ ...subject, containerId: containerAllowed(containerId, call) }),
    ...(since
      ? {
          deliver_policy: DeliverPolicy.StartTime,
          opt_start_time: new Date(since.getTime() - CLOCKS_MS).toISOString(),
        }
      : {}),
  });
  const { num_pending: history } = await consumer.info();
  if (history === 0 && !follow) return;

  const messages = await consumer.consume();
  const stop = () => messages.stop();
  signal.addEventListener('abort', stop, { once: true });
  stopping.signal.addEventListener('abort', stop, { once: true });
  /** The last lines of those that are there; undefined once they are given, or where all are wanted. */
  let kept: StreamLogsResponse[] | undefined = tail > 0 && history > 0 ? [] : undefined;
  try {
    for await (const message of messages) {
      const log = decodeLog(message);
      // A line's own time is the runner's; the stream's, by which it is found, comes a little later.
      const late = log && until && log.time >= until;
      if (log && !late && (!callId || log.callId === callId) && !(since && log.time < since)) {
        const { time, stream, text, functionId, callId: of } = log;
        const line = { time, stream, text, functionId, containerId: log.containerId, callId: of };
        if (!kept) yield line;
        else if (kept.push(line) > tail) kept.shift();
      }
      if (message.info.pending > 0) continue;
      yield* kept ?? [];
      kept = undefined;
      if (!follow || late) return;
    }
  } finally {
    signal.removeEventListener('abort', stop);
    stopping.signal.removeEventListener('abort', stop);
    messages.stop();
  }
}
