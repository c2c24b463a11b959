/**
 * Small services that speak the real contracts over real gRPC: who places containers, who records outcomes, who keeps
 * source. They record what reached them, and answer what a test wants.
 */
import { status, type ServerDuplexStream } from '@grpc/grpc-js';
import {
  FunctionsServiceService,
  Runtime,
  Verdict,
  type AttachRunnerRequest,
  type AttachRunnerResponse,
  type InputFinished,
  type InputItems,
  type InputStarted,
} from '@berth/contracts/functions/v1/functions';
import {
  Assignment,
  ContainerSpec,
  ContainerState,
  SchedulerServiceService,
  type RegisterNodeRequest,
  type ReportContainerRequest,
} from '@berth/contracts/scheduler/v1/scheduler';
import { SyncServiceService, TreeEntry, type FetchTreeResponse } from '@berth/contracts/sync/v1/sync';
import { SecretServiceService } from '@berth/contracts/workspace/v1/secret';
import { newId } from '@berth/database';
import { assignmentSubject, encodeInput, type InputMessage } from '@berth/events';
import {
  BerthError,
  defineService,
  implement,
  type HandlersOf,
  type ServiceModule,
  type ServiceShape,
} from '@berth/service-kit';
import { eventually, type TestBed } from '@berth/testing';

function handlersFor<S extends ServiceShape>(definition: S, some: Partial<HandlersOf<S>>): HandlersOf<S> {
  const refuse = () => Promise.reject(new BerthError('unimplemented', 'This stand-in does not do this.'));
  return Object.fromEntries(
    Object.keys(definition).map((name) => [name, some[name as keyof S] ?? refuse]),
  ) as HandlersOf<S>;
}

export class StandInScheduler {
  registered: RegisterNodeRequest[] = [];
  heartbeats = 0;
  /** What a heartbeat is refused with, once. */
  forgets = false;
  assignments: Assignment[] = [];
  reports: ReportContainerRequest[] = [];
  readonly nodeId = newId('no');

  constructor(private readonly bed: TestBed) {}

  readonly module: ServiceModule = defineService('scheduler', async () => ({
    services: [
      implement(
        SchedulerServiceService,
        handlersFor(SchedulerServiceService, {
          registerNode: async (request) => {
            this.registered.push(request);
            return { nodeId: this.nodeId, heartbeatIntervalMs: 200, silenceLimitMs: 5000 };
          },
          heartbeat: async () => {
            this.heartbeats++;
            if (!this.forgets) return {};
            this.forgets = false;
            throw new BerthError('precondition', 'Register again.');
          },
          listAssignments: async () => ({ assignments: this.assignments }),
          reportContainer: async (request) => {
            this.reports.push(request);
            return {};
          },
        }),
      ),
    ],
    async [Symbol.asyncDispose]() {},
  }));

  /** Says that the list has changed, as the scheduler does. */
  async hint(): Promise<void> {
    await this.bed.bus.jetstream.publish(assignmentSubject(this.nodeId), new Uint8Array());
  }

  async assign(spec: Partial<ContainerSpec>, rest: Partial<Assignment> = {}): Promise<Assignment> {
    const assignment = Assignment.fromPartial({
      containerId: newId('ta'),
      spec: ContainerSpec.fromPartial(spec),
      wishedAt: new Date(),
      placedAt: new Date(),
      ...rest,
    } as Assignment);
    this.assignments = [...this.assignments, assignment];
    await this.hint();
    return assignment;
  }

  async stop(containerId: string): Promise<void> {
    this.assignments = this.assignments.map((each) =>
      each.containerId === containerId ? { ...each, stop: true } : each,
    );
    await this.hint();
  }

  async forget(containerId: string): Promise<void> {
    this.assignments = this.assignments.filter((each) => each.containerId !== containerId);
    await this.hint();
  }

  /** The report of that state, when it has come. */
  reported(containerId: string, state: ContainerState, withinMs = 30_000): Promise<ReportContainerRequest> {
    return eventually(
      () => this.reports.find((each) => each.containerId === containerId && each.state === state),
      withinMs,
    );
  }
}

export class StandInFunctions {
  started: InputStarted[] = [];
  finished: InputFinished[] = [];
  items: InputItems[] = [];
  itemsVerdict = Verdict.VERDICT_ACCEPTED;
  payloads = new Map<string, Buffer>();
  lines = 0;
  /** What a redelivered start is answered; a verdict that is undefined does not come. */
  verdictOf: (started: InputStarted) => { verdict: Verdict; attempt: number } | undefined = ({
    attempt,
  }) => ({
    verdict: Verdict.VERDICT_ACCEPTED,
    attempt: attempt + 1,
  });
  /** Whether first starts are welcome. */
  wantsStarts = true;
  /** Whether outcomes are answered. */
  answers = true;
  #streams = new Set<ServerDuplexStream<AttachRunnerRequest, AttachRunnerResponse>>();

  readonly module: ServiceModule = defineService('functions', async () => ({
    services: [
      implement(
        FunctionsServiceService,
        handlersFor(FunctionsServiceService, {
          attachRunner: (stream) => this.#attach(stream),
          getInputPayload: async ({ inputId }) => {
            const payload = this.payloads.get(inputId);
            if (!payload) throw new BerthError('not_found', 'No such input.');
            return { payload, format: 'json' };
          },
        }),
      ),
    ],
    drain: async () => this.breakLines(),
    async [Symbol.asyncDispose]() {},
  }));

  /** Ends every line without a word. */
  breakLines(): void {
    for (const stream of this.#streams) {
      stream.emit('error', { code: status.UNAVAILABLE, details: 'The line broke.' });
    }
  }

  cancel(inputId: string): void {
    for (const stream of this.#streams) stream.write({ message: { $case: 'cancelled', value: { inputId } } });
  }

  /** The outcome of an input, when it has come. */
  outcomeOf(inputId: string, withinMs = 30_000): Promise<InputFinished> {
    return eventually(() => this.finished.find((each) => each.inputId === inputId), withinMs);
  }

  #attach(stream: ServerDuplexStream<AttachRunnerRequest, AttachRunnerResponse>): Promise<void> {
    this.#streams.add(stream);
    this.lines++;
    return new Promise((resolve) => {
      const over = () => {
        this.#streams.delete(stream);
        resolve();
      };
      stream.on('data', ({ sequence, message }: AttachRunnerRequest) => {
        const answer = (verdict: Verdict, attempt: number) =>
          stream.write({ message: { $case: 'verdict', value: { sequence, verdict, attempt } } });
        if (message?.$case === 'started') {
          this.started.push(message.value);
          const wanted = message.value.redelivered
            ? this.verdictOf(message.value)
            : {
                verdict: this.wantsStarts ? Verdict.VERDICT_ACCEPTED : Verdict.VERDICT_STALE,
                attempt: message.value.attempt,
              };
          if (wanted) answer(wanted.verdict, wanted.attempt);
        } else if (message?.$case === 'items') {
          this.items.push(message.value);
          if (this.answers) answer(this.itemsVerdict, message.value.attempt);
        } else if (message?.$case === 'finished') {
          this.finished.push(message.value);
          if (this.answers) answer(Verdict.VERDICT_ACCEPTED, message.value.attempt);
        }
      });
      stream.on('error', over).on('close', over).on('end', over);
    });
  }
}

export class StandInSync {
  fetches = 0;
  readonly #trees = new Map<string, Record<string, string>>();

  readonly module: ServiceModule = defineService('sync', async () => ({
    services: [
      implement(
        SyncServiceService,
        handlersFor(SyncServiceService, { fetchTree: (request) => this.#fetch(request.treeId) }),
      ),
    ],
    async [Symbol.asyncDispose]() {},
  }));

  put(files: Record<string, string>): string {
    const treeId = newId('tr');
    this.#trees.set(treeId, files);
    return treeId;
  }

  async *#fetch(treeId: string): AsyncGenerator<FetchTreeResponse> {
    this.fetches++;
    const files = this.#trees.get(treeId);
    if (!files) throw new BerthError('not_found', 'No such tree.');
    for (const [path, text] of Object.entries(files)) {
      const content = Buffer.from(text);
      yield {
        part: { $case: 'entry', value: TreeEntry.fromPartial({ path, size: BigInt(content.length) }) },
      };
      if (content.length > 0) yield { part: { $case: 'content', value: content } };
    }
  }
}

/** The secrets of every workspace, by `environment/name`. */
export class StandInSecrets {
  readonly secrets = new Map<string, Record<string, string>>();

  readonly module: ServiceModule = defineService('workspace', async () => ({
    services: [
      implement(
        SecretServiceService,
        handlersFor(SecretServiceService, {
          openSecrets: async ({ environment, names }) => {
            const missing = names.filter((name) => !this.secrets.has(`${environment}/${name}`));
            if (missing.length > 0)
              throw new BerthError('not_found', `There is no secret ${missing.join(', ')}.`);
            return {
              env: Object.assign({}, ...names.map((name) => this.secrets.get(`${environment}/${name}`))),
            };
          },
        }),
      ),
    ],
    async [Symbol.asyncDispose]() {},
  }));
}

/** A function version in words of its own: its ids, its source, and how to call it. */
export class TestFunction {
  readonly functionId = newId('fu');
  readonly spec: ContainerSpec;

  constructor(
    private readonly bed: TestBed,
    sync: StandInSync,
    source: string | Record<string, string>,
    spec: Partial<ContainerSpec> = {},
  ) {
    const isNode = spec.runtime === Runtime.RUNTIME_NODE;
    this.spec = ContainerSpec.fromPartial({
      organizationId: 'or-1',
      workspaceId: 'wo-1',
      appId: 'ap-1',
      functionId: this.functionId,
      version: 1,
      runtime: Runtime.RUNTIME_PYTHON,
      handler: 'main:handler',
      source: sync.put(typeof source === 'string' ? { [isNode ? 'main.mjs' : 'main.py']: source } : source),
      cpu: 1,
      memory: 256,
      timeout: 30,
      slots: 1,
      ...spec,
    });
  }

  /** Publishes an input as `functions` does; gives its id. */
  async call(args: unknown[] = [], some: Partial<InputMessage> = {}): Promise<InputMessage> {
    const input: InputMessage = {
      inputId: newId('in'),
      callId: newId('fc'),
      functionId: this.functionId,
      version: 1,
      attempt: 1,
      format: 'json',
      acceptedAt: Date.now(),
      traceparent: '',
      payload: Buffer.from(JSON.stringify({ args })),
      ...some,
    };
    const { subject, headers, data } = encodeInput(input);
    await this.bed.bus.jetstream.publish(subject, data, { headers });
    return input;
  }

  /** Messages in the queue that nobody has acknowledged. */
  async queued(): Promise<number> {
    const { state } = await this.bed.bus.manager.streams.info('BERTH_INPUTS', {
      subjects_filter: `berth.inputs.${this.functionId}.>`,
    });
    return Object.keys(state.subjects ?? {}).length;
  }
}

/** What a handler gave back. */
export const resultOf = ({ outcome }: InputFinished): unknown => {
  if (outcome?.$case !== 'success') throw new Error(`it failed: ${JSON.stringify(outcome)}`);
  return JSON.parse(outcome.value.payload.toString());
};

export const errorOf = ({ outcome }: InputFinished) => {
  if (outcome?.$case !== 'failure') throw new Error('it succeeded');
  return outcome.value;
};
