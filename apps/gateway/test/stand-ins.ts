/**
 * Small services that speak the real contracts over real gRPC, for what this app is not about: who a credential is,
 * and what becomes of a call. They record what reached them.
 */
import { FunctionsServiceService, StreamLogsResponse } from '@berth/contracts/functions/v1/functions';
import { InvocationStatus, type App, type InvocationResult } from '@berth/contracts/functions/v1/functions';
import { CredentialKind, IdentityServiceService } from '@berth/contracts/identity/v1/identity';
import { SyncServiceService } from '@berth/contracts/sync/v1/sync';
import {
  BerthError,
  defineService,
  implement,
  openTokens,
  type CallContext,
  type HandlersOf,
  type ServiceModule,
  type ServiceShape,
  type UserPrincipal,
} from '@berth/service-kit';
import type { TestBed } from '@berth/testing';

/** Handlers for the methods that a test is about; the others refuse. */
function handlersFor<S extends ServiceShape>(definition: S, some: Partial<HandlersOf<S>>): HandlersOf<S> {
  const refuse = () => Promise.reject(new BerthError('unimplemented', 'This stand-in does not do this.'));
  return Object.fromEntries(
    Object.keys(definition).map((name) => [name, some[name as keyof S] ?? refuse]),
  ) as HandlersOf<S>;
}

const plain = (name: string, services: Parameters<typeof implement>[0], some: object): ServiceModule =>
  defineService(name, async () => ({
    services: [implement(services, handlersFor(services, some))],
    async [Symbol.asyncDispose]() {},
  }));

export const WORKSPACE = 'wo-0000000000000000000001';
export const TOKEN = 'ak-0000000000000000000001.as-secret';

export interface StandInIdentity {
  module: ServiceModule;
  /** Credentials that are good, and whom they speak for. */
  known: Map<string, UserPrincipal>;
  /** How often each credential was asked for. */
  asked: string[];
  /** Seconds that its answers say they hold. */
  holdsSeconds: number;
}

export function standInIdentity(bed: TestBed): StandInIdentity {
  const tokens = openTokens('identity', bed.env.BERTH_KEYS_DIR!);
  const state: StandInIdentity = {
    asked: [],
    holdsSeconds: 60,
    known: new Map([
      [
        TOKEN,
        {
          kind: 'user',
          credentialKind: 'api_token',
          credentialId: 'ak-0000000000000000000001',
          organizationId: 'or-1',
          workspaceId: WORKSPACE,
          userId: 'us-1',
          role: 'member',
          scope: 'workspace',
        },
      ],
    ]),
    module: plain('identity', IdentityServiceService, {
      authenticate: async ({ credential }: { credential?: { value: string } }) => {
        const shown = credential?.value ?? '';
        state.asked.push(shown);
        const user = state.known.get(shown);
        if (!user) throw new BerthError('unauthenticated', 'The credential is not valid.');
        return {
          principal: {
            credentialKind: CredentialKind.CREDENTIAL_KIND_API_TOKEN,
            credentialId: user.credentialId,
            organizationId: user.organizationId,
            workspaceId: user.workspaceId,
            userId: user.userId,
            appId: '',
            functionId: '',
            role: 1,
            scope: 1,
          },
          internalToken: await tokens.sign(user),
          expiresAt: new Date(Date.now() + state.holdsSeconds * 1000),
        };
      },
      createApiToken: async () => ({ tokenId: 'ak-x', tokenSecret: 'as-x', token: undefined }),
    }),
  };
  return state;
}

export interface StandInFunctions {
  module: ServiceModule;
  /** What reached it, in order. */
  seen: { method: string; request: Record<string, unknown>; call: CallContext }[];
  /** Calls by idempotency key: a repeat joins. */
  calls: Map<string, Promise<InvocationResult>>;
  /** What an invocation waits for before it ends. */
  gate: Promise<unknown>;
  logLines: (call: CallContext) => AsyncIterable<Partial<StreamLogsResponse>>;
}

const AT = new Date('2026-01-31T09:30:00.250Z');

export const anApp = (some: Partial<App> = {}): App => ({
  appId: 'ap-1',
  name: 'weather',
  state: 2,
  environment: 'main',
  tags: {},
  createdAt: AT,
  ...some,
});

export function standInFunctions(): StandInFunctions {
  const note = (method: string, request: object, call: CallContext) =>
    state.seen.push({ method, request: request as Record<string, unknown>, call });
  const invocation = (result: Buffer | undefined): InvocationResult => ({
    callId: 'fc-1',
    status: InvocationStatus.INVOCATION_STATUS_SUCCESS,
    result,
    error: undefined,
    startedAt: AT,
    finishedAt: undefined,
    functionId: 'fu-1',
    createdAt: AT,
    attempts: 1,
    containerId: 'ta-1',
    phases: [{ name: 'queued', startedAt: AT, durationMs: 1.5 }],
    waiting: undefined,
    numInputs: 1,
    numSucceeded: 1,
    numFailed: 0,
    numTerminated: 0,
    resultFormat: 'json',
    resultBytes: undefined,
    resultBlob: '',
  });
  const { definition, some } = {
    definition: FunctionsServiceService,
    some: {
      createApp: async (request, call) => {
        note('createApp', request, call);
        if (request.name === 'taken')
          throw new BerthError('conflict', 'There is an app taken.', { field: 'name' });
        return { app: anApp({ name: request.name, tags: request.tags }) };
      },
      listApps: async (request, call) => {
        note('listApps', request, call);
        return { data: [anApp()], nextCursor: '' };
      },
      getApp: async (request, call) => {
        note('getApp', request, call);
        if (request.appId === 'ap-bug') throw new TypeError('secret detail');
        if (request.appId !== 'ap-1') throw new BerthError('not_found', 'No such app.', { field: 'app_id' });
        return { app: anApp() };
      },
      stopApp: async () => ({}),
      createFunction: async (request, call) => {
        note('createFunction', request, call);
        return { function: undefined };
      },
      updateFunction: async (request, call) => {
        note('updateFunction', request, call);
        return { function: undefined };
      },
      invokeFunction: async (request, call) => {
        note('invokeFunction', request, call);
        const key = call.idempotencyKey!;
        const earlier = state.calls.get(key);
        const made = earlier ?? state.gate.then(() => invocation(request.args));
        state.calls.set(key, made);
        return {
          invocation: await Promise.race([
            made,
            new Promise<never>((_, reject) =>
              call.signal.addEventListener('abort', () => reject(call.signal.reason as Error)),
            ),
          ]),
        };
      },
      streamLogs: (request, call) => {
        note('streamLogs', request, call);
        return lines(call);
      },
    } satisfies Partial<HandlersOf<typeof FunctionsServiceService>>,
  };
  async function* lines(call: CallContext) {
    for await (const line of state.logLines(call)) yield StreamLogsResponse.fromPartial(line);
  }
  const state: StandInFunctions = {
    seen: [],
    calls: new Map(),
    gate: Promise.resolve(),
    logLines: async function* () {
      yield { text: 'one', stream: 'stdout', time: AT };
      yield { text: 'two', stream: 'stderr', time: AT };
    },
    module: plain('functions', definition, some),
  };
  return state;
}

export function standInSync(): { module: ServiceModule; chunks: Map<string, Buffer> } {
  const chunks = new Map<string, Buffer>();
  return {
    chunks,
    module: plain('sync', SyncServiceService, {
      putChunk: async ({ hash, content }: { hash: string; content: Buffer }) => {
        chunks.set(hash, content);
        return {};
      },
    }),
  };
}
