import { findCredentials, type Credentials } from './credentials';
import { argumentFields, putBlob, readBlob, resultOf } from './blobs';
import { FunctionFailed, type Arguments } from './failed';
import { BerthApiError, Http } from './http';
import { Images } from './images';
import { readItems, type ItemsOptions } from './items';
import { Secrets } from './secrets';
import { mapInputs, readOutputs, type Inputs, type MapOptions, type OutputsOptions } from './map';
import type {
  BerthApp,
  AppState,
  BerthFunction,
  Container,
  Deployment,
  FunctionCall,
  FunctionItem,
  FunctionDefinition,
  FunctionOutput,
  FunctionVersion,
  InvocationResult,
  LogLine,
  LogRange,
  Node,
  Tree,
  WhoAmI,
} from './types';
import { uploadFolder, type UploadProgress } from './upload';
import { Volumes } from './volumes';

export interface CallOptions {
  /** A repeat with the same key joins the call that the first one made. */
  idempotencyKey?: string;
  signal?: AbortSignal;
}

export interface DeployedFunction {
  function: BerthFunction;
  /** False: a new version of one that was there. */
  created: boolean;
}

/**
 * Berth's API.
 *
 * ```ts
 * const berth = new Berth();
 * const app = await berth.apps.ensure('weather');
 * const { function: summarize } = await berth.functions.deploy(app.app_id, 'summarize', definition);
 * const total = await berth.call<number>(summarize.function_id, { args: [2012] });
 * ```
 */
export class Berth {
  readonly http: Http;
  readonly secrets: Secrets;
  readonly volumes: Volumes;
  readonly images: Images;

  constructor(credentials: Credentials = findCredentials()) {
    this.http = new Http(credentials);
    this.secrets = new Secrets(this.http);
    this.volumes = new Volumes(this.http);
    this.images = new Images(this.http, (folder) => this.trees.upload(folder));
  }

  /** Calls a function and gives its result; throws FunctionFailed with the user's own traceback. */
  async call<R>(functionId: string, input: Arguments = {}, options: CallOptions = {}): Promise<R> {
    const invocation = await this.functions.invoke<R>(functionId, input, options);
    if (invocation.status !== 'success') throw new FunctionFailed(invocation);
    return resultOf(this.http, invocation) as Promise<R>;
  }

  /**
   * Calls a function with each of `inputs` and gives the results as they come, in the order of the inputs. Both sides
   * flow: inputs are taken as there is room for them, results are given as they are asked for, so neither is held as a
   * whole. Throws FunctionFailed at the first failure, and ends the rest; so does leaving the loop early.
   */
  map<R = unknown>(
    functionId: string,
    inputs: Inputs<unknown>,
    options: MapOptions & { returnExceptions: true },
  ): AsyncGenerator<R | FunctionFailed>;
  map<R = unknown>(functionId: string, inputs: Inputs<unknown>, options?: MapOptions): AsyncGenerator<R>;
  map<R>(functionId: string, inputs: Inputs<unknown>, options: MapOptions = {}) {
    return mapInputs<R, unknown>(this.http, functionId, inputs, (input) => ({ args: [input] }), options);
  }

  /** As `map`; each of `inputs` is a list of positional arguments. */
  starmap<R = unknown>(
    functionId: string,
    inputs: Inputs<readonly unknown[]>,
    options: MapOptions & { returnExceptions: true },
  ): AsyncGenerator<R | FunctionFailed>;
  starmap<R = unknown>(
    functionId: string,
    inputs: Inputs<readonly unknown[]>,
    options?: MapOptions,
  ): AsyncGenerator<R>;
  starmap<R>(functionId: string, inputs: Inputs<readonly unknown[]>, options: MapOptions = {}) {
    return mapInputs<R, readonly unknown[]>(this.http, functionId, inputs, (args) => ({ args }), options);
  }

  /** As `map`, for what the function does rather than gives; resolves when all have ended. */
  async forEach(
    functionId: string,
    inputs: Inputs<unknown>,
    options: Omit<MapOptions, 'orderOutputs'> = {},
  ): Promise<void> {
    for await (const _ of this.map(functionId, inputs, { ...options, orderOutputs: false }));
  }

  private async *stream<T>(functionId: string, input: Arguments, signal?: AbortSignal): AsyncGenerator<T> {
    const { call_id } = await this.functions.spawn(functionId, input);
    let ended: FunctionCall | undefined;
    try {
      const following = { follow: true, ...(signal ? { signal } : {}) };
      for await (const { value } of this.calls.items<T>(call_id, following)) yield value;
      ended = await this.calls.get(call_id);
    } finally {
      if (!ended) await this.calls.cancel(call_id);
    }
    if (ended.status !== 'success') throw new FunctionFailed(ended);
  }

  whoAmI(): Promise<WhoAmI> {
    return this.http.json('GET', '/v1/whoami');
  }

  readonly apps = {
    create: (
      name: string,
      options: { environment?: string; tags?: Record<string, string>; ephemeral?: boolean } = {},
    ): Promise<BerthApp> => this.http.json('POST', '/v1/apps', { body: { name, ...options } }),

    list: (
      filter: { environment?: string; state?: AppState; name?: string } = {},
    ): AsyncGenerator<BerthApp> => this.http.pages('/v1/apps', { query: filter }),

    get: (appId: string): Promise<BerthApp> => this.http.json('GET', `/v1/apps/${encodeURIComponent(appId)}`),

    /** Ends its containers and its open calls. */
    stop: (appId: string): Promise<void> => this.http.json('DELETE', `/v1/apps/${encodeURIComponent(appId)}`),

    /** Keeps an ephemeral app alive: one that hears nothing for a minute is stopped. */
    heartbeat: (appId: string): Promise<BerthApp> =>
      this.http.json('POST', `/v1/apps/${encodeURIComponent(appId)}/heartbeat`),

    /** Notes what its functions are now as a deployment that a rollback can go back to: call it when all are there. */
    noteDeployment: (appId: string): Promise<Deployment> =>
      this.http.json('POST', `/v1/apps/${encodeURIComponent(appId)}/deployments`),

    /** Its deployments, newest first. */
    history: (appId: string): AsyncGenerator<Deployment> =>
      this.http.pages(`/v1/apps/${encodeURIComponent(appId)}/deployments`),

    /** Takes all its functions back to a deployment together; default: the one before the last. */
    rollback: (appId: string, number?: number): Promise<Deployment> =>
      this.http.json('POST', `/v1/apps/${encodeURIComponent(appId)}/rollback`, {
        body: number === undefined ? {} : { number },
      }),

    /** The deployed app of this name; undefined when there is none. */
    find: async (name: string, environment?: string): Promise<BerthApp | undefined> => {
      const query = { name, state: 'deployed' as const, ...(environment ? { environment } : {}) };
      for await (const app of this.apps.list(query)) return app;
      return undefined;
    },

    /** The deployed app of this name, made if there is none; of two at once both get the same. */
    ensure: async (name: string, environment?: string): Promise<BerthApp> => {
      const existing = await this.apps.find(name, environment);
      if (existing) return existing;
      try {
        return await this.apps.create(name, environment ? { environment } : {});
      } catch (error) {
        const raced = error instanceof BerthApiError && error.code === 'already_exists';
        const other = raced ? await this.apps.find(name, environment) : undefined;
        if (!other) throw error;
        return other;
      }
    },

    /** Log lines, oldest first; with `follow` also those to come, until the signal aborts. */
    logs: (
      appId: string,
      filter: { function_id?: string; call_id?: string; container_id?: string } & LogRange = {},
      signal?: AbortSignal,
    ): AsyncGenerator<LogLine> =>
      this.http.lines(`/v1/apps/${encodeURIComponent(appId)}/logs`, {
        query: { ...filter },
        ...(signal ? { signal } : {}),
      }),
  };

  readonly functions = {
    create: (appId: string, name: string, definition: FunctionDefinition): Promise<BerthFunction> =>
      this.http.json('POST', `/v1/apps/${encodeURIComponent(appId)}/functions`, {
        body: { name, ...definition },
      }),

    /** A new version; open calls finish on the one that they began with. */
    update: (functionId: string, definition: FunctionDefinition): Promise<BerthFunction> =>
      this.http.json('PUT', `/v1/functions/${encodeURIComponent(functionId)}`, { body: definition }),

    get: (functionId: string): Promise<BerthFunction> =>
      this.http.json('GET', `/v1/functions/${encodeURIComponent(functionId)}`),

    list: (appId: string, filter: { name?: string } = {}): AsyncGenerator<BerthFunction> =>
      this.http.pages(`/v1/apps/${encodeURIComponent(appId)}/functions`, { query: filter }),

    find: async (appId: string, name: string): Promise<BerthFunction | undefined> => {
      for await (const found of this.functions.list(appId, { name })) return found;
      return undefined;
    },

    /** The function of a deployed app, by both names; undefined when there is none. */
    lookup: async (app: string, name: string, environment?: string): Promise<BerthFunction | undefined> => {
      const query = { app, name, ...(environment ? { environment } : {}) };
      for await (const found of this.http.pages<BerthFunction>('/v1/functions', { query })) return found;
      return undefined;
    },

    /** A class with parameters: a function of its own, the same for the same parameters. */
    bind: (functionId: string, parameters: Record<string, unknown> = {}): Promise<BerthFunction> =>
      this.http.json('POST', `/v1/functions/${encodeURIComponent(functionId)}/bind`, {
        body: { parameters },
      }),

    /** Ends its containers and its open calls; its name is free again, and its calls stay readable. */
    delete: (functionId: string): Promise<void> =>
      this.http.json('DELETE', `/v1/functions/${encodeURIComponent(functionId)}`),

    /** Its versions, newest first. */
    versions: (functionId: string): AsyncGenerator<FunctionVersion> =>
      this.http.pages(`/v1/functions/${encodeURIComponent(functionId)}/versions`),

    /** Makes another version the one that new calls run; default: the one before the current. */
    rollback: (functionId: string, version?: number): Promise<BerthFunction> =>
      this.http.json('POST', `/v1/functions/${encodeURIComponent(functionId)}/rollback`, {
        body: version === undefined ? {} : { version },
      }),

    /** As apps.logs, of one function. */
    logs: (functionId: string, range: LogRange = {}, signal?: AbortSignal): AsyncGenerator<LogLine> =>
      this.http.lines(`/v1/functions/${encodeURIComponent(functionId)}/logs`, {
        query: { ...range },
        ...(signal ? { signal } : {}),
      }),

    /** Creates the function, or gives it a new version. */
    deploy: async (
      appId: string,
      name: string,
      definition: FunctionDefinition,
    ): Promise<DeployedFunction> => {
      const existing = await this.functions.find(appId, name);
      return existing
        ? { function: await this.functions.update(existing.function_id, definition), created: false }
        : { function: await this.functions.create(appId, name, definition), created: true };
    },

    /** Calls and waits; a failure of user code is an answer too: look at `status`. */
    invoke: async <R = unknown>(
      functionId: string,
      input: Arguments = {},
      options: CallOptions = {},
    ): Promise<InvocationResult<R>> =>
      this.http.json('POST', `/v1/functions/${encodeURIComponent(functionId)}/invocations`, {
        text: `{${await argumentFields(this.http, input)}}`,
        ...options,
      }),

    /** Calls and does not wait. */
    spawn: async <R = unknown>(
      functionId: string,
      input: Arguments = {},
      options: CallOptions = {},
    ): Promise<FunctionCall<R>> =>
      this.http.json('POST', `/v1/functions/${encodeURIComponent(functionId)}/spawn`, {
        text: `{${await argumentFields(this.http, input)}}`,
        ...options,
      }),

    /**
     * Calls a generator function and gives what it yields, as it comes; throws FunctionFailed when it fails. Who leaves
     * early cancels the call.
     */
    stream: <T = unknown>(
      functionId: string,
      input: Arguments = {},
      signal?: AbortSignal,
    ): AsyncGenerator<T> => this.stream<T>(functionId, input, signal),

    invocations: (functionId: string): AsyncGenerator<InvocationResult> =>
      this.http.pages(`/v1/functions/${encodeURIComponent(functionId)}/invocations`),
  };

  readonly calls = {
    get: <R = unknown>(callId: string): Promise<FunctionCall<R>> =>
      this.http.json('GET', `/v1/function-calls/${encodeURIComponent(callId)}`),

    /** Outcomes after a cursor; with `follow` until the call has ended, over restarts of the platform. */
    outputs: <R = unknown>(callId: string, options: OutputsOptions = {}): AsyncGenerator<FunctionOutput<R>> =>
      readOutputs<R>(this.http, callId, options),

    /** What a generator function yields, after an index; with `follow` until the input has ended, however it ends. */
    items: <T = unknown>(callId: string, options: ItemsOptions = {}): AsyncGenerator<FunctionItem<T>> =>
      readItems<T>(this.http, callId, options),

    /** As apps.logs, of one call. */
    logs: (callId: string, range: LogRange = {}, signal?: AbortSignal): AsyncGenerator<LogLine> =>
      this.http.lines(`/v1/function-calls/${encodeURIComponent(callId)}/logs`, {
        query: { ...range },
        ...(signal ? { signal } : {}),
      }),

    cancel: (callId: string): Promise<FunctionCall> =>
      this.http.json('POST', `/v1/function-calls/${encodeURIComponent(callId)}/cancel`),
  };

  readonly nodes = {
    list: async (): Promise<Node[]> => (await this.http.json<{ data: Node[] }>('GET', '/v1/nodes')).data,
  };

  readonly containers = {
    list: (
      filter: { app_id?: string; function_id?: string; all?: boolean } = {},
    ): AsyncGenerator<Container> => this.http.pages('/v1/containers', { query: filter }),
  };

  /** Values that are too large for a request or an answer. */
  readonly blobs = {
    /** Gives the id that `blob` of a call takes. */
    put: (bytes: Uint8Array): Promise<string> => putBlob(this.http, bytes),

    /** A chunk at a time. */
    read: (blob: string): AsyncGenerator<Buffer> => readBlob(this.http, blob),
  };

  readonly trees = {
    upload: (folder: string, onProgress?: (progress: UploadProgress) => void): Promise<Tree> =>
      uploadFolder(this.http, folder, onProgress),
  };

  close(): Promise<void> {
    return this.http.close();
  }
}
