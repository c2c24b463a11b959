/** A whole platform for tests: started, used and stopped as a user does, in a fresh folder on free ports. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Berth, type BerthFunction, type FunctionDefinition } from '@berth/sdk';
import type { ChildRecord, PlatformState } from '../../src/up/state';

export const root = join(__dirname, '../../../..');

export interface Finished {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end. */
export function run(command: string, args: string[], env: NodeJS.ProcessEnv, cwd = root): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
    child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}

export interface Credentials {
  api_url: string;
  grpc_url: string;
  organization_id: string;
  workspace_id: string;
  token_id: string;
  token_secret: string;
  admin_api_key: string;
}

export class Platform {
  readonly dataDir = mkdtempSync(join(tmpdir(), 'berth-whole-'));
  readonly env: NodeJS.ProcessEnv;
  /** What the start printed. */
  said = '';
  private readonly clients: Berth[] = [];

  constructor(env: NodeJS.ProcessEnv = {}) {
    this.env = {
      ...process.env,
      BERTH_DATA_DIR: this.dataDir,
      BERTH_HTTP_PORT: '0',
      BERTH_GRPC_PORT: '0',
      NO_COLOR: '1',
      ...env,
    };
  }

  /** `npm start -- --detach …`, without npm. */
  async start(...flags: string[]): Promise<this> {
    const { code, stdout, stderr } = await run(
      process.execPath,
      [join(root, 'dist/berth/up.js'), 'up', '--detach', ...flags],
      this.env,
    );
    this.said = stdout;
    if (code !== 0) throw new Error(`the platform did not start (${code}):\n${stdout}\n${stderr}`);
    return this;
  }

  async close(): Promise<void> {
    for (const client of this.clients) await client.close();
    const { code, stdout, stderr } = await run(
      process.execPath,
      [join(root, 'dist/berth/up.js'), 'stop'],
      this.env,
    );
    if (code !== 0) throw new Error(`the platform did not stop (${code}):\n${stdout}\n${stderr}`);
    rmSync(this.dataDir, { recursive: true, force: true });
  }

  /** The command line, with this platform's credentials. */
  cli(...args: string[]): Promise<Finished> {
    return run(process.execPath, [join(root, 'dist/berth/cli.js'), ...args], this.env);
  }

  credentials(): Credentials {
    return JSON.parse(readFileSync(join(this.dataDir, 'credentials.json'), 'utf8')) as Credentials;
  }

  state(): PlatformState {
    return JSON.parse(readFileSync(join(this.dataDir, 'run/state.json'), 'utf8')) as PlatformState;
  }

  child(name: string): ChildRecord {
    const child = this.state().children.find((each) => each.name === name);
    if (!child)
      throw new Error(
        `no process ${name}: ${this.state()
          .children.map((each) => each.name)
          .join(', ')}`,
      );
    return child;
  }

  /** A client with the first token. */
  berth(): Berth {
    const { api_url, token_id, token_secret } = this.credentials();
    return this.client({ apiUrl: api_url, tokenId: token_id, tokenSecret: token_secret });
  }

  client(credentials: ConstructorParameters<typeof Berth>[0]): Berth {
    const client = new Berth(credentials);
    this.clients.push(client);
    return client;
  }

  /** A raw request: what the SDK would never send. */
  async request(
    method: string,
    path: string,
    init: { body?: string | Uint8Array; headers?: Record<string, string>; auth?: boolean } = {},
  ): Promise<{ status: number; body: unknown; headers: Headers }> {
    const { api_url, token_id, token_secret } = this.credentials();
    const response = await fetch(new URL(path, api_url), {
      method,
      headers: {
        ...(init.auth === false ? {} : { authorization: `Bearer ${token_id}.${token_secret}` }),
        ...(init.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...init.headers,
      },
      ...(init.body === undefined ? {} : { body: init.body as string }),
    });
    const text = await response.text();
    return { status: response.status, body: text ? JSON.parse(text) : undefined, headers: response.headers };
  }
}

/** A Python function of one file; `main.py` defines `run`. */
export const python = (source: string, options: Partial<FunctionDefinition> = {}): FunctionDefinition => ({
  runtime: 'python',
  handler: 'main:run',
  files: { 'main.py': source },
  cpu: 0.2,
  memory: 128,
  scaledown_window: 5,
  ...options,
});

let made = 0;
/** A function of its own in `appId`. */
export const makeFunction = (
  berth: Berth,
  appId: string,
  definition: FunctionDefinition,
): Promise<BerthFunction> => berth.functions.create(appId, `function-${++made}`, definition);
