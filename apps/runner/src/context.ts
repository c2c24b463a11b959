import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { FunctionsServiceService } from '@berth/contracts/functions/v1/functions';
import { IdentityServiceService } from '@berth/contracts/identity/v1/identity';
import { ImagesServiceService } from '@berth/contracts/functions/v1/images';
import { SchedulerServiceService, type RegisterNodeRequest } from '@berth/contracts/scheduler/v1/scheduler';
import { SyncServiceService } from '@berth/contracts/sync/v1/sync';
import { VolumeServiceService } from '@berth/contracts/sync/v1/volume';
import { SecretServiceService } from '@berth/contracts/workspace/v1/secret';
import { openEngine, PROCESS_ENGINE_WARNING, type ContainerEngine } from '@berth/container-engine';
import { openBus } from '@berth/events';
import { connect, type Base } from '@berth/service-kit';
import { openGatewayDoor } from './api/gateway-door';
import { RuntimeRoutes } from './api/runtime-routes';
import { readRunnerConfig } from './config';
import { Containers } from './containers/containers';
import { endLeftovers } from './containers/leftovers';
import { Reporter } from './containers/reporter';
import { openRunFolders } from './containers/run-folders';
import { openSecrets } from './containers/secrets';
import { openSources } from './containers/sources';
import { placeWorkerFiles } from './containers/worker-files';
import { simulatedCards } from './domain/gpu';
import { Builder } from './images/builder';
import { buildSettings, openNodeImages } from './images/open';
import { Line } from './line/line';
import { Reconciler } from './loops/reconcile';
import { Registration } from './loops/registration';
import { findCards } from './node/find-cards';
import { openNodeFile, type NodeFile } from './node/node-file';
import { openInputQueue } from './queue/input-queue';
import { UsageBook } from './usage/usage-book';
import { volumeClient } from './volumes/volume-client';
import { addVolumeRoutes } from './volumes/volume-routes';
import { openVolumes } from './volumes/volumes';
import { openGateways } from './web/gateways';

export interface Context extends AsyncDisposable {
  node: NodeFile;
  /** New with each start of this process. */
  incarnation: string;
  engine: ContainerEngine;
  containers: Containers;
  /** Makes the node known, and begins to run what it should run. */
  begin(): Promise<void>;
  /** Takes no more, lets inputs finish for a moment, and ends every container. Safe to repeat. */
  end(): Promise<void>;
}

/** A scheduler that is there answers in this time; one that is not is not waited for. */
const REGISTER_WAIT_MS = 1000;
/** What inputs that run get when the runner stops. Milliseconds. */
const STOP_GRACE_MS = 2500;
const SETTLE_MS = 1500;
const MIB = 1024 * 1024;
/** Who containers are: nobody. */
const CONTAINER_USER = { uid: 65534, gid: 65534 };

export async function createContext({ config: service, env, log, tokens }: Base): Promise<Context> {
  const config = readRunnerConfig(env, service.dataDir);
  const folder = resolve(config.folder);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const node = openNodeFile(folder);
  const incarnation = randomUUID();
  const itself = () => ({ nodeId: node.nodeId, incarnation });
  const closing: (() => unknown)[] = [];
  const opened = <T>(what: T, close: (it: T) => unknown): T => {
    closing.push(() => close(what));
    return what;
  };
  const dispose = (it: AsyncDisposable) => it[Symbol.asyncDispose]();
  const closeAll = async () => {
    for (const close of closing.splice(0).reverse()) {
      await Promise.resolve(close()).catch((error: unknown) => log.warn({ err: error }, 'while stopping'));
    }
  };

  try {
    const engine = opened(
      await openEngine(config.engine, {
        stateDir: join(folder, 'engine'),
        owner: node.owner,
        ...(config.dockerHost ? { dockerHost: config.dockerHost } : {}),
        hostPath: config.path,
      }),
      dispose,
    );
    if (!engine.isolated) log.warn(PROCESS_ENGINE_WARNING);
    const [description, realCards] = await Promise.all([engine.describe(), findCards(config.path, log)]);
    const firstFree = Math.max(-1, ...realCards.map(({ index }) => index)) + 1;
    const cards = [...realCards, ...simulatedCards(config.simulatedGpus, firstFree, node.owner)];

    const bus = opened(await openBus(config.natsUrl, 'runner'), dispose);
    const usage = opened(new UsageBook(join(folder, 'usage'), bus, log), dispose);
    await endLeftovers(engine, usage, log);

    const functions = opened(connect(FunctionsServiceService, config.functionsAddress, tokens), (it) =>
      it.close(),
    );
    const scheduler = opened(connect(SchedulerServiceService, config.schedulerAddress, tokens), (it) =>
      it.close(),
    );
    const sync = opened(connect(SyncServiceService, config.syncAddress, tokens), (it) => it.close());
    const volumeService = opened(connect(VolumeServiceService, config.syncAddress, tokens), (it) =>
      it.close(),
    );
    const volumes = opened(
      await openVolumes({
        folder: join(folder, 'volumes'),
        client: volumeClient({ sync, volumes: volumeService }),
        owner: engine.isolated && process.getuid?.() === 0 ? CONTAINER_USER : undefined,
        log,
        reserveBytes: config.diskReserveGib * 1024 ** 3,
      }),
      (it) => it.close(),
    );
    const secrets = opened(connect(SecretServiceService, config.workspaceAddress, tokens), (it) =>
      it.close(),
    );
    const identity = opened(connect(IdentityServiceService, config.identityAddress, tokens), (it) =>
      it.close(),
    );
    const gateway = opened(openGatewayDoor(config.gatewayUrl), (it) => it.close());
    const gateways = opened(openGateways(tokens), (it) => it.close());
    const queue = opened(openInputQueue(bus, log), dispose);
    const line = opened(
      new Line(functions, log, { onUnwanted: (inputId, attempt) => containers.cancel(inputId, attempt) }),
      dispose,
    );
    const reporter = opened(new Reporter(scheduler, itself, log), (it) => it.close(SETTLE_MS));
    const images = opened(connect(ImagesServiceService, config.functionsAddress, tokens), (it) => it.close());
    const sources = await openSources(join(folder, 'sources'), sync, log);
    const nodeImages = opened(
      await openNodeImages(
        { engine, sources, images, secrets, log },
        join(folder, 'images'),
        buildSettings(config.builds, description),
      ),
      (it) => it.close(),
    );
    const builder = opened(new Builder(images, nodeImages, bus, log), (it) => it.stop());
    const routes = new RuntimeRoutes();
    addVolumeRoutes(routes, volumes);
    const containers: Containers = new Containers(
      {
        engine,
        sources,
        images: nodeImages,
        secrets: openSecrets(secrets),
        volumes,
        runFolders: await openRunFolders(folder, node.owner),
        workerFiles: await placeWorkerFiles(folder),
        queue,
        line,
        reporter,
        usage,
        bus,
        api: { identity, gateway, routes },
        gateways,
        functions,
        nodeId: () => node.nodeId,
        frozenSeconds: config.frozenSeconds,
        log,
      },
      node,
      () => registration.register(),
    );

    const describe = (): RegisterNodeRequest => ({
      ...itself(),
      name: config.nodeName,
      organizationId: node.organizationId,
      engine: engine.kind,
      cpu: config.cpus ?? description.cpus,
      memory: config.memoryMib ?? Math.floor(description.memoryBytes / MIB),
      devices: cards.map(({ index, model, memoryMib, uuid, simulated }) => ({
        deviceId: '',
        index,
        model,
        memory: memoryMib,
        uuid,
        simulated,
        containerId: '',
      })),
    });
    const onRegistered = (nodeId: string) => {
      if (node.nodeId !== nodeId) {
        node.nodeId = nodeId;
        node.save();
      }
      log.info({ nodeId, engine: engine.kind, cards: cards.length }, 'this node is registered');
      line.attach(nodeId, incarnation);
      reconciler.start(nodeId);
      if (engine.kind !== 'process') builder.start(nodeId);
    };
    const registration = new Registration(scheduler, describe, onRegistered, log);
    const reconciler = new Reconciler(scheduler, bus, containers, itself, () => registration.register(), log);

    let ending: Promise<void> | undefined;
    const end = async () => {
      await Promise.all([registration.stop(), reconciler.stop(), builder.stop()]);
      await containers.endAll(STOP_GRACE_MS);
      await line.settled(SETTLE_MS);
    };
    return {
      node,
      incarnation,
      engine,
      containers,
      async begin() {
        volumes.begin();
        registration.start();
        await registration.settled(REGISTER_WAIT_MS);
      },
      end: () => (ending ??= end()),
      async [Symbol.asyncDispose]() {
        await (ending ??= end());
        await closeAll();
      },
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}
