import { SchedulerServiceService } from '@berth/contracts/scheduler/v1/scheduler';
import { SyncServiceService } from '@berth/contracts/sync/v1/sync';
import { VolumeServiceService } from '@berth/contracts/sync/v1/volume';
import { SecretServiceService } from '@berth/contracts/workspace/v1/secret';
import { WorkspaceServiceService } from '@berth/contracts/workspace/v1/workspace';
import { openDatabase, type Database } from '@berth/database';
import { createRelay, openBus, type Bus, type Relay } from '@berth/events';
import { connect, openSeal, type Base, type ClientOf, type Logger, type Seal } from '@berth/service-kit';
import { readFunctionsConfig, type Config } from './config';
import type { WebAddress } from './domain/web';
import { RunnerLines } from './line/runner-lines';
import { Autoscaler } from './loops/autoscaler';
import type { DueLoop } from './loops/due-loop';
import { createRetries } from './loops/retries';
import { createSchedules } from './loops/schedules';
import { Webhooks } from './loops/webhooks';
import { schema } from './store/schema';
import { WaitingCallers } from './waiting/waiting-callers';

export type Scheduler = ClientOf<typeof SchedulerServiceService>;

export interface Context extends AsyncDisposable {
  db: Database;
  bus: Bus;
  relay: Relay;
  log: Logger;
  config: Config;
  workspaces: ClientOf<typeof WorkspaceServiceService>;
  secrets: ClientOf<typeof SecretServiceService>;
  sync: ClientOf<typeof SyncServiceService>;
  volumes: ClientOf<typeof VolumeServiceService>;
  scheduler: Scheduler;
  waiting: WaitingCallers;
  lines: RunnerLines;
  autoscaler: Autoscaler;
  /** Sends inputs that failed on their way again. */
  retries: DueLoop;
  /** Where web endpoints are reached. */
  web: WebAddress;
  /** Calls functions when their schedule says so. */
  schedules: DueLoop;
  /** Opens where webhooks lead and what signs them. */
  webhookSeal: Seal;
  webhooks: Webhooks;
  /** Aborted when the service stops: what waits or streams ends. */
  stopping: AbortController;
}

export async function createContext({ config: service, env, log, tokens }: Base): Promise<Context> {
  const config = readFunctionsConfig(env);
  await using stack = new AsyncDisposableStack();
  const db = stack.use(
    await openDatabase({
      ...schema,
      url: config.postgresUrl,
      onError: (err) => log.warn({ err }, 'a database connection was lost'),
    }),
  );
  const bus = stack.use(await openBus(config.natsUrl, 'functions'));
  const workspaces = connect(WorkspaceServiceService, config.workspaceAddress, tokens);
  const secrets = connect(SecretServiceService, config.workspaceAddress, tokens);
  const sync = connect(SyncServiceService, config.syncAddress, tokens);
  const volumes = connect(VolumeServiceService, config.syncAddress, tokens);
  const scheduler = connect(SchedulerServiceService, config.schedulerAddress, tokens);
  for (const client of [workspaces, secrets, sync, volumes, scheduler]) stack.defer(() => client.close());
  const relay = createRelay(db, bus, schema.schema, log);
  stack.defer(() => relay.stop());
  const waiting = new WaitingCallers(db, bus, log);
  const lines = new RunnerLines(bus, log);
  const autoscaler = new Autoscaler({ db, scheduler, waiting, lines, log });
  const webhookSeal = openSeal(service.keysDir, 'functions', 'webhooks');
  const opened = stack.move();
  return {
    db,
    bus,
    relay,
    log,
    workspaces,
    secrets,
    sync,
    volumes,
    scheduler,
    waiting,
    lines,
    autoscaler,
    retries: createRetries({ db, relay, autoscaler, log }),
    schedules: createSchedules({ db, relay, autoscaler, log }),
    webhookSeal,
    webhooks: new Webhooks({ db, waiting, log, config, webhookSeal }),
    config,
    web: config.web,
    stopping: new AbortController(),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
