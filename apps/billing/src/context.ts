import { openDatabase, type Database } from '@berth/database';
import { openBus, type Bus } from '@berth/events';
import type { Base, Logger } from '@berth/service-kit';
import { readBillingConfig } from './config';
import { schema } from './store/schema';

export interface Context extends AsyncDisposable {
  db: Database;
  bus: Bus;
  log: Logger;
}

export async function createContext({ env, log }: Base): Promise<Context> {
  const { postgresUrl, natsUrl } = readBillingConfig(env);
  await using stack = new AsyncDisposableStack();
  const db = stack.use(
    await openDatabase({
      ...schema,
      url: postgresUrl,
      onError: (err) => log.warn({ err }, 'a database connection was lost'),
    }),
  );
  const bus = stack.use(await openBus(natsUrl, 'billing'));
  const opened = stack.move();
  return { db, bus, log, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}
