import { openDatabase, type Database } from '@berth/database';
import { createRelay, encodeShortRoom, openBus, SHORT_ROOM, type Relay } from '@berth/events';
import type { Base } from '@berth/service-kit';
import { createChanges, type Changes } from './change';
import { readSchedulerConfig } from './config';
import { createDeadlines } from './loops/deadlines';
import { createNodeReaper } from './loops/node-reaper';
import { createPlacement } from './loops/placement';
import type { Loop } from './loops/repeat';
import { createRetention } from './loops/retention';
import { schema } from './store/schema';

export interface Context extends AsyncDisposable {
  db: Database;
  relay: Relay;
  clock: () => Date;
  change: Changes['change'];
  placement: Loop;
  loops: Loop[];
}

/** What a test may put in place of the real thing. */
export interface Overrides {
  clock?: () => Date;
  /** Milliseconds between the runs of each loop. */
  everyMs?: number;
}

export async function createContext({ env, log }: Base, overrides: Overrides = {}): Promise<Context> {
  const { postgresUrl, natsUrl } = readSchedulerConfig(env);
  const { clock = () => new Date(), everyMs } = overrides;
  await using stack = new AsyncDisposableStack();
  const db = stack.use(
    await openDatabase({
      ...schema,
      url: postgresUrl,
      onError: (err) => log.warn({ err }, 'a database connection was lost'),
    }),
  );
  const bus = stack.use(await openBus(natsUrl, 'scheduler'));
  const relay = createRelay(db, bus, schema.schema, log);
  stack.defer(() => relay.stop());
  const { change, settle } = createChanges({
    db,
    relay,
    clock,
    log,
    onRoom: () => placement.wake(),
    sayShort: (short) => {
      if (!bus.nats.isClosed()) bus.nats.publish(SHORT_ROOM, encodeShortRoom(short));
    },
  });
  stack.defer(settle);

  const parts = { db, change, clock, log, ...(everyMs === undefined ? {} : { everyMs }) };
  const placement = createPlacement(parts);
  const loops = [placement, createNodeReaper(parts), createDeadlines(parts), createRetention(parts)];
  stack.defer(async () => {
    await Promise.all(loops.map((loop) => loop.stop()));
  });
  const opened = stack.move();
  return {
    db,
    relay,
    clock,
    change,
    placement,
    loops,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
