/** functions with its peers as stand-ins, a client and a runner's line: what tests of calls begin with. */
import {
  CreateAppRequest,
  CreateFunctionRequest,
  FunctionsServiceService,
  InvokeFunctionRequest,
  Runtime,
  SpawnFunctionRequest,
} from '@berth/contracts/functions/v1/functions';
import type { Database } from '@berth/database';
import type { CallContext, ClientOf, RunningService } from '@berth/service-kit';
import { testBed, type TestBed } from '@berth/testing';
import { functions } from '../src/service';
import { RunnerLine } from './runner-line';
import { SchedulerStandIn, syncStandIn, workspaceStandIn } from './stand-ins';

export class World {
  private names = 0;

  private constructor(
    readonly bed: TestBed,
    readonly scheduler: SchedulerStandIn,
    readonly service: RunningService,
    readonly db: Database,
    readonly client: ClientOf<typeof FunctionsServiceService>,
    readonly owner: CallContext,
    readonly runner: RunnerLine,
    private readonly env: NodeJS.ProcessEnv,
  ) {}

  static async open(env: NodeJS.ProcessEnv = {}): Promise<World> {
    const bed = await testBed();
    const scheduler = new SchedulerStandIn(() => bed);
    for (const module of [workspaceStandIn, syncStandIn(), scheduler.module]) await bed.start(module);
    const service = await bed.start(functions, env);
    return new World(
      bed,
      scheduler,
      service,
      await bed.database(functions),
      bed.connect(FunctionsServiceService, 'functions', 'gateway'),
      await bed.caller(),
      await RunnerLine.attach(bed),
      env,
    );
  }

  /** One more functions on the same database and address: what comes after a restart. */
  restart = (env: NodeJS.ProcessEnv = {}): Promise<RunningService> =>
    this.bed.start(functions, { ...this.env, ...env });

  async close(): Promise<void> {
    await this.runner.end();
    await this.bed.close();
  }

  aName = (): string => `thing-${++this.names}`;

  anApp = async (change: Partial<CreateAppRequest> = {}, caller = this.owner) =>
    (
      await this.client.createApp(CreateAppRequest.fromPartial({ name: this.aName(), ...change }), {
        for: caller,
      })
    ).app!;

  aFunction = async (change: Partial<CreateFunctionRequest> = {}, caller = this.owner) => {
    const appId = change.appId ?? (await this.anApp({}, caller)).appId;
    const request = CreateFunctionRequest.fromPartial({
      name: this.aName(),
      runtime: Runtime.RUNTIME_PYTHON,
      handler: 'main:run',
      files: { 'main.py': '' },
      ...change,
      appId,
    });
    return (await this.client.createFunction(request, { for: caller })).function!;
  };

  /** Gives a function of `aFunction` a version of its own. */
  anUpdate = async (functionId: string, change: Partial<CreateFunctionRequest> = {}) =>
    (
      await this.client.updateFunction(
        {
          functionId,
          definition: CreateFunctionRequest.fromPartial({
            runtime: Runtime.RUNTIME_PYTHON,
            handler: 'main:run',
            files: { 'main.py': '' },
            ...change,
          }),
        },
        { for: this.owner },
      )
    ).function!;

  spawn = async (functionId: string, change: Partial<SpawnFunctionRequest> = {}) =>
    (
      await this.client.spawnFunction(SpawnFunctionRequest.fromPartial({ functionId, ...change }), {
        for: this.owner,
      })
    ).functionCall!;

  invoke = async (functionId: string) =>
    (
      await this.client.invokeFunction(InvokeFunctionRequest.fromPartial({ functionId }), {
        for: this.owner,
        timeoutMs: 30_000,
      })
    ).invocation!;

  call = async (callId: string) =>
    (await this.client.getFunctionCall({ callId }, { for: this.owner })).functionCall!;
}
