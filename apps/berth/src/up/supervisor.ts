import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { identify } from './process-identity';
import { Refusal } from './refusal';
import { restartAfter } from './restart-policy';
import type { ChildRecord, ChildState } from './state';

/** How to run one process, and how to know that it is ready. */
export interface ChildSpec {
  name: string;
  command: string;
  args: string[];
  env: NodeJS.ProcessEnv;
  cwd?: string;
  /** Whose process it is; ours by default. */
  user?: { uid: number; gid: number };
  /** What must be put right before each start, after an end that nobody could clean up after. */
  beforeStart?: () => void;
  /** Where its output goes; a file, appended to. */
  log: string;
  /**
   * `line`: it writes the line `ready …` to `BERTH_READY_FD` (3), and ends by itself when `BERTH_PARENT_FD` (4)
   * closes. A function: resolves when the process answers; asked anew after each start.
   */
  ready: 'line' | ((pid: number, signal: AbortSignal) => Promise<void>);
  readyWithinMs: number;
  stopSignal: NodeJS.Signals;
  /** Milliseconds from `stopSignal` to SIGKILL. */
  graceMs: number;
}

const LOG_BYTES_MAX = 16 * 1024 * 1024;

/** Opens a log to append to. One that has grown large becomes `<log>.1` first, in the place of an older one. */
export function openLog(path: string): number {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > LOG_BYTES_MAX) renameSync(path, `${path}.1`);
  return openSync(path, 'a', 0o600);
}

/** The last lines of a log, for an error message. */
export function tailOf(path: string, lines = 12): string {
  try {
    return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '';
  }
}

const sayExit = (code: number | null, signal: NodeJS.Signals | null): string =>
  signal ? `killed by ${signal}` : `exited with ${code}`;

/** One process that is kept running until it is told to stop. */
class Supervised {
  readonly record: ChildRecord;
  private child: ChildProcess | undefined;
  private failures = 0;
  private restartTimer: NodeJS.Timeout | undefined;
  private stopped: Promise<void> | undefined;

  constructor(
    readonly spec: ChildSpec,
    private readonly changed: () => void,
  ) {
    this.record = {
      name: spec.name,
      state: 'starting',
      process: undefined,
      since: new Date().toISOString(),
      restarts: 0,
      lastExit: undefined,
      log: spec.log,
      stopSignal: spec.stopSignal,
      graceMs: spec.graceMs,
    };
  }

  private enter(state: ChildState): void {
    this.record.state = state;
    this.record.since = new Date().toISOString();
    this.changed();
  }

  /**
   * Starts the process once. `ready` settles when it answers, or with the reason why it will not: it ended, or
   * took too long (and was killed). `exited` gives how it ended.
   */
  private launch(): { ready: Promise<void>; exited: Promise<string> } {
    const { spec } = this;
    spec.beforeStart?.();
    const log = openLog(spec.log);
    writeSync(log, `--- ${new Date().toISOString()} starting ${spec.name}\n`);
    const pipes = spec.ready === 'line';
    const child = spawn(spec.command, spec.args, {
      cwd: spec.cwd,
      env: pipes ? { ...spec.env, BERTH_READY_FD: '3', BERTH_PARENT_FD: '4' } : spec.env,
      stdio: pipes ? ['ignore', log, log, 'pipe', 'pipe'] : ['ignore', log, log],
      // A session of its own: Ctrl-C in the terminal is for the supervisor, who stops the others in order.
      detached: true,
      ...spec.user,
    });
    closeSync(log);
    this.child = child;
    this.record.process = child.pid === undefined ? undefined : identify(child.pid);
    this.enter('starting');

    const exited = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(`could not be started: ${error.message}`));
      child.once('exit', (code, signal) => resolve(sayExit(code, signal)));
    });
    const giveUp = new AbortController();
    const late = setTimeout(() => {
      giveUp.abort();
      child.kill('SIGKILL');
    }, spec.readyWithinMs);
    const answers =
      typeof spec.ready === 'function' ? spec.ready(child.pid ?? 0, giveUp.signal) : readyLine(child);
    const ready = Promise.race([
      answers,
      exited.then((reason) => {
        const why = giveUp.signal.aborted ? `was not ready within ${spec.readyWithinMs / 1000} s` : reason;
        throw new Refusal(`${spec.name} ${why}`);
      }),
    ]).finally(() => {
      clearTimeout(late);
      giveUp.abort();
    });
    return { ready, exited };
  }

  /** Starts it for the first time. Errors: `Refusal` with the reason when it does not become ready. */
  async start(): Promise<void> {
    const { ready, exited } = this.launch();
    try {
      await ready;
    } catch (error) {
      this.child?.kill('SIGKILL');
      await exited;
      this.record.process = undefined;
      this.enter('stopped');
      throw error;
    }
    this.enter('up');
    void this.watch(exited, Date.now());
  }

  /** Waits for an end that nobody asked for, and starts the process again after a pause. */
  private async watch(exited: Promise<string>, startedAt: number): Promise<void> {
    const reason = await exited;
    this.record.process = undefined;
    if (!this.stopped) this.pause(reason, Date.now() - startedAt);
  }

  /** It ended, or could not even be started: a full disk or a lost folder must not take the supervisor with it. */
  private pause(reason: string, aliveMs: number): void {
    this.record.lastExit = { reason, at: new Date().toISOString(), aliveMs };
    const { failures, delayMs } = restartAfter(this.failures, aliveMs);
    this.failures = failures;
    this.enter('waiting');
    this.restartTimer = setTimeout(() => this.startAgain(), delayMs);
  }

  private startAgain(): void {
    this.record.restarts++;
    const begun = Date.now();
    try {
      const { ready, exited } = this.launch();
      // Not ready is either an end, which `watch` sees, or a kill after too long, which becomes one.
      ready.then(
        () => this.stopped ?? this.enter('up'),
        () => undefined,
      );
      void this.watch(exited, begun);
    } catch (error) {
      this.pause(`could not be started: ${(error as Error).message}`, 0);
    }
  }

  /** Asks it to stop, and makes it when its grace is over. Safe to repeat. `force`: at once. */
  stop(force: boolean): Promise<void> {
    if (force) this.child?.kill('SIGKILL');
    return (this.stopped ??= this.end());
  }

  private async end(): Promise<void> {
    clearTimeout(this.restartTimer);
    const { child, spec } = this;
    if (child && child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      this.enter('stopping');
      const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
      child.kill(spec.stopSignal);
      const impatient = setTimeout(() => child.kill('SIGKILL'), spec.graceMs);
      await gone;
      clearTimeout(impatient);
    }
    this.record.process = undefined;
    this.enter('stopped');
  }
}

/** Resolves with the first line on the child's `BERTH_READY_FD`. */
function readyLine(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    const pipe = child.stdio[3] as NodeJS.ReadableStream;
    let said = '';
    pipe.on('error', () => undefined);
    child.stdio[4]?.on('error', () => undefined);
    pipe.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (/^ready\b.*\n/.test(said)) resolve();
    });
  });
}

/** Keeps processes running. `changed` is called after every change of a record. */
export class Supervisor {
  private readonly running = new Map<string, Supervised>();
  private closed = false;

  constructor(private readonly changed: () => void) {}

  get records(): ChildRecord[] {
    return [...this.running.values()].map(({ record }) => record);
  }

  /** From now on nothing is started. */
  close(): void {
    this.closed = true;
  }

  /** Starts a process and waits until it is ready. Errors: `Refusal` with the reason and its log's last lines. */
  async start(spec: ChildSpec): Promise<void> {
    if (this.closed) throw new Refusal(`${spec.name} is not started: the platform stops`);
    const child = new Supervised(spec, this.changed);
    this.running.set(spec.name, child);
    try {
      await child.start();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Refusal(`${reason}. Its last words, all of them in ${spec.log}:\n${tailOf(spec.log)}`);
    }
  }

  /** Stops processes one after the other; those that are not there are skipped. `force` ends each at once. */
  async stop(names: readonly string[], force = false): Promise<void> {
    for (const name of names) await this.running.get(name)?.stop(force);
  }

  /** Ends all at once, without grace. */
  killAll(): Promise<void[]> {
    return Promise.all([...this.running.values()].map((child) => child.stop(true)));
  }
}
