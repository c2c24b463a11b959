import { SchedulerServiceService } from '@berth/contracts/scheduler/v1/scheduler';
import { WorkspaceServiceService } from '@berth/contracts/workspace/v1/workspace';
import { openDatabase, type Database } from '@berth/database';
import { createRelay, openBus, type Relay } from '@berth/events';
import { connect, openSeal, type Base, type ClientOf, type Seal, type Tokens } from '@berth/service-kit';
import { readIdentityConfig } from './config';
import { schema } from './store/schema';

export interface Context extends AsyncDisposable {
  db: Database;
  relay: Relay;
  tokens: Tokens;
  seal: Seal;
  workspaces: ClientOf<typeof WorkspaceServiceService>;
  scheduler: ClientOf<typeof SchedulerServiceService>;
}

export async function createContext({ config, env, log, tokens }: Base): Promise<Context> {
  const { postgresUrl, natsUrl, workspaceAddress, schedulerAddress } = readIdentityConfig(env);
  const seal = openSeal(config.keysDir, 'identity', 'sealed answers');
  await using stack = new AsyncDisposableStack();
  const db = stack.use(
    await openDatabase({
      ...schema,
      url: postgresUrl,
      onError: (err) => log.warn({ err }, 'a database connection was lost'),
    }),
  );
  const bus = stack.use(await openBus(natsUrl, 'identity'));
  const workspaces = connect(WorkspaceServiceService, workspaceAddress, tokens);
  stack.defer(() => workspaces.close());
  const scheduler = connect(SchedulerServiceService, schedulerAddress, tokens);
  stack.defer(() => scheduler.close());
  const relay = createRelay(db, bus, schema.schema, log);
  stack.defer(() => relay.stop());
  const opened = stack.move();
  return {
    db,
    relay,
    tokens,
    seal,
    workspaces,
    scheduler,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
