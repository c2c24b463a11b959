/**
 * Calls functions when their schedule says so. A moment becomes a call in the transaction that moves its schedule on, under
 * a lock of the schedule: of two replicas one makes it, and one that dies in between has done neither.
 */
import { hash } from 'node:crypto';
import type { Sql } from '@berth/database';
import type { Context } from '../context';
import { composePayload } from '../domain/payload';
import { dueMoments } from '../domain/schedule';
import { acceptCall, type AcceptedCall } from '../store/call-store';
import { lockDueSchedules, moveSchedule, nextScheduled, type DueSchedule } from '../store/schedule-store';
import { DueLoop } from './due-loop';

/** Schedules that are moved on in one transaction. */
const BATCH = 50;

export const createSchedules = ({
  db,
  relay,
  autoscaler,
  log,
}: Pick<Context, 'db' | 'relay' | 'autoscaler' | 'log'>): DueLoop =>
  new DueLoop(
    'schedules',
    async () => {
      const { made, more } = await db.transact(async (tx) => {
        const due = await lockDueSchedules(tx, new Date(), BATCH);
        const made = [];
        for (const each of due) made.push(...(await callDue(tx, each)));
        return { made, more: due.length === BATCH };
      });
      relay
        .publish(made.map(({ call }) => call.outbox))
        .catch((error: unknown) => log.warn({ err: error }, 'scheduled calls wait in the outbox'));
      for (const { functionId, call } of made) autoscaler.accepted(functionId, call.version);
      if (more) return 0;
      const next = await nextScheduled(db);
      return next && next.getTime() - Date.now();
    },
    log,
  );

/** A function's schedule may have changed: its next run must not wait for a scan. */
export const wakeForRun = (schedules: DueLoop, nextRunAt: Date | undefined): void => {
  if (nextRunAt) schedules.wake(nextRunAt.getTime() - Date.now());
};

async function callDue(
  tx: Sql,
  { function_id: functionId, workspace_id: workspaceId, schedule, next_at }: DueSchedule,
): Promise<{ functionId: string; call: AcceptedCall }[]> {
  const input = composePayload({});
  const { moments, next } = dueMoments(schedule, next_at.getTime(), Date.now());
  const made = [];
  for (const moment of moments) {
    const call = await acceptCall(tx, {
      workspaceId,
      functionId,
      idempotencyKey: keyOf(moment),
      requestHash: hash('sha256', input.payload, 'buffer'),
      ...input,
      traceparent: '',
      acceptedAt: new Date(),
      durable: true,
    });
    // None: its app was stopped or it was deleted a moment ago.
    if (call) made.push({ functionId, call });
  }
  await moveSchedule(tx, functionId, next === undefined ? undefined : new Date(next));
  return made;
}

/** One key for each moment of a function. No caller can give it: theirs are ASCII, as metadata of gRPC is. */
const keyOf = (moment: number): string => `§schedule ${new Date(moment).toISOString()}`;
