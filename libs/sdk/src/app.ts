/**
 * Functions as a TypeScript file writes them, typed from the call to its result:
 *
 * ```ts
 * import { App } from '@berth/sdk';
 *
 * const app = new App('squares');
 * export const square = app.function({ cpu: 1 }, async (x: number) => x * x);
 * // Elsewhere in that file, or in what imports it:
 * const nine = await square.remote(3);
 * ```
 *
 * `berth deploy squares.ts` makes them; `square(3)` runs here.
 */
import { pathToFileURL } from 'node:url';
import { Berth, type CallOptions } from './berth';
import { FunctionFailed } from './failed';
import type { Inputs, MapOptions } from './map';
import type { BerthApp, FunctionDefinition } from './types';

/** What a function asks for. Numbers that are left out take the platform's defaults. */
export type FunctionOptions = Omit<FunctionDefinition, 'runtime' | 'handler' | 'files' | 'source'> & {
  /** Default: the name of the variable that a file exports it as. */
  name?: string;
};

/** A call that goes on by itself. */
export interface SpawnedCall<R> {
  readonly callId: string;
  /** Waits for its result. Throws FunctionFailed. */
  get(signal?: AbortSignal): Promise<R>;
  cancel(): Promise<void>;
}

/** A function of an app. Called like any other it runs here. What goes there and comes back is JSON. */
export interface AppFunction<A extends unknown[], R> {
  (...args: A): R | Promise<R>;
  readonly app: App;
  readonly options: FunctionOptions;
  /** Calls it in a container. Throws FunctionFailed, with the user's own traceback. */
  remote(...args: A): Promise<R>;
  /** Calls it in a container and does not wait. */
  spawn(...args: A): Promise<SpawnedCall<R>>;
  /** Calls it once for each input, as one call; inputs are taken as there is room for them. */
  map(
    inputs: Inputs<A[0]>,
    options: MapOptions & { returnExceptions: true },
  ): AsyncGenerator<R | FunctionFailed>;
  map(inputs: Inputs<A[0]>, options?: MapOptions): AsyncGenerator<R>;
  /** As `map`, for lists of arguments. */
  starmap(inputs: Inputs<A>, options?: MapOptions): AsyncGenerator<R>;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- Any function of an app, whatever it takes and gives.
export type AnyAppFunction = AppFunction<any, any>;

export class App {
  readonly functions: AnyAppFunction[] = [];

  constructor(
    readonly name: string,
    readonly options: { environment?: string } = {},
  ) {}

  /** Makes a function of the app. Export it: containers find it by the name of that variable. */
  function<A extends unknown[], R>(
    options: FunctionOptions,
    work: (...args: A) => R | Promise<R>,
  ): AppFunction<A, R> {
    const idOf = lookUp(this, options.name, fileOfCaller(), () => made);
    const made: AppFunction<A, R> = Object.assign((...args: A) => work(...args), {
      app: this,
      options,
      remote: async (...args: A) => shared().call<R>(await idOf(), { args }),
      spawn: async (...args: A) =>
        spawned<R>((await shared().functions.spawn(await idOf(), { args })).call_id),
      map: async function* (inputs: Inputs<A[0]>, mapOptions: MapOptions = {}) {
        yield* shared().map<R>(await idOf(), inputs, mapOptions);
      } as AppFunction<A, R>['map'],
      async *starmap(inputs: Inputs<A>, mapOptions: MapOptions = {}) {
        yield* shared().starmap<R>(await idOf(), inputs, mapOptions);
      },
    });
    this.functions.push(made);
    return made;
  }
}

let client: Berth | undefined;
/** The platform that this process's credentials open; looked for when something is first called. */
const shared = (): Berth => (client ??= new Berth());

const spawned = <R>(callId: string): SpawnedCall<R> => ({
  callId,
  async get(signal) {
    const options: CallOptions = signal ? { signal } : {};
    for await (const output of shared().calls.outputs<R>(callId, { follow: true, ...options })) {
      if (output.status === 'success') return output.result as R;
      throw new FunctionFailed(output);
    }
    throw new FunctionFailed(await shared().calls.get<R>(callId));
  },
  cancel: async () => void (await shared().calls.cancel(callId)),
});

/** The id of a function of `app` on the platform, looked for once. */
function lookUp(app: App, name: string | undefined, file: string | undefined, itself: () => unknown) {
  let found: Promise<string> | undefined;
  const look = async () => {
    const named = name ?? (await exportedName(file, itself()));
    const { app_id } = await appOnPlatform(app);
    const made = await shared().functions.find(app_id, named);
    if (made) return made.function_id;
    throw new Error(`The app ${app.name} has no function ${named}: berth deploy makes it.`);
  };
  return () =>
    (found ??= look().catch((error: unknown) => {
      found = undefined; // It may be deployed later.
      throw error;
    }));
}

/** The app that this process belongs to (in a container its own), where that has the name; else the deployed one. */
async function appOnPlatform(app: App): Promise<BerthApp> {
  const { BERTH_APP_ID } = process.env;
  const own = BERTH_APP_ID ? await shared().apps.get(BERTH_APP_ID) : undefined;
  if (own?.name === app.name) return own;
  const deployed = await shared().apps.find(app.name, app.options.environment ?? own?.environment);
  if (deployed) return deployed;
  throw new Error(`There is no deployed app named ${app.name}: berth deploy makes it.`);
}

/** What a module, which is loaded already, calls one of its own values. */
async function exportedName(file: string | undefined, value: unknown): Promise<string> {
  const exports = file ? ((await import(file)) as Record<string, unknown>) : {};
  const name = Object.keys(exports).find((each) => each !== 'default' && exports[each] === value);
  if (name) return name;
  throw new Error('A function of an app has no name: export it, or give it one in its options.');
}

/** The module that calls into this one, as a URL; undefined where the stack does not tell. */
function fileOfCaller(): string | undefined {
  const files = (new Error().stack ?? '').split('\n').flatMap((line) => {
    const place = /(?:^|\s|\()((?:file:\/\/)?\/.*?):\d+:\d+\)?$/.exec(line)?.[1];
    return place ? [place] : [];
  });
  const caller = files.find((file) => file !== files[0]);
  return caller?.startsWith('/') ? pathToFileURL(caller).href : caller;
}
