import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';

import { BASE_IMAGE, EngineError, openEngine, PROCESS_ENGINE_WARNING } from '../src';
import type { ContainerEngine, ContainerEvent, ContainerSpec, EngineKind, LogChunk } from '../src';

const MIB = 1024 * 1024;

/** The Docker Engine that tests use: the one that its other clients find. */
export const dockerHost = process.env.DOCKER_HOST || 'unix:///var/run/docker.sock';

/**
 * What every engine promises, tried on the real thing. Where isolation makes the difference a test says what each
 * side does, by `engine.isolated`; none is left out for an engine that cannot.
 */
export function describeEngine(kind: EngineKind): void {
  let engine: ContainerEngine;
  let stateDir: string;
  let owner: string;
  const made: string[] = [];

  beforeAll(async () => {
    // The container's user, who is nobody, must be able to walk through.
    stateDir = await mkdtemp(join(tmpdir(), 'berth-engine-'));
    await chmod(stateDir, 0o755);
    owner = `test-${randomBytes(6).toString('hex')}`;
    engine = await openEngine(kind, { dockerHost, stateDir, owner });
  });

  afterEach(async () => {
    await Promise.all(made.splice(0).map((id) => engine.remove(id)));
  });

  afterAll(async () => {
    await engine[Symbol.asyncDispose]();
    await rm(stateDir, { recursive: true, force: true });
  });

  const spec = (more: Partial<ContainerSpec> = {}): ContainerSpec => ({
    name: `berth-test-${randomBytes(8).toString('hex')}`,
    image: BASE_IMAGE,
    command: ['sh', '-c', 'exit 0'],
    network: 'none',
    ...more,
  });
  const create = async (more: Partial<ContainerSpec> = {}) => {
    const id = await engine.create(spec(more));
    made.push(id);
    return id;
  };
  const run = async (more: Partial<ContainerSpec> = {}) => {
    const id = await create(more);
    await engine.start(id);
    return id;
  };
  /** Runs a script to its end. */
  const outcome = async (script: string, more: Partial<ContainerSpec> = {}) => {
    const id = await run({ command: ['sh', '-c', script], ...more });
    const exit = await engine.wait(id);
    return { ...exit, ...(await output(engine, id)) };
  };
  const aFolder = async (name = 'folder') => {
    const folder = await mkdtemp(join(stateDir, `${name}-`));
    await chmod(folder, 0o777);
    return folder;
  };

  describe('start and end', () => {
    test.each([0, 1, 42, 255])('a command that exits with %i is reported so', async (code) => {
      const exit = await outcome(`exit ${code}`);
      expect(exit).toMatchObject({ exitCode: code, outOfMemory: false });
      expect(exit.signal).toBeUndefined();
      expect(Math.abs(Date.now() - exit.finishedAt.getTime())).toBeLessThan(30_000);
    });

    test('wait resolves for one that ended before, for one not started yet, and for many who wait', async () => {
      const ended = await run();
      await engine.wait(ended);
      expect(await engine.wait(ended)).toMatchObject({ exitCode: 0 });

      const later = await create({ command: ['sh', '-c', 'exit 3'] });
      const waits = [engine.wait(later), engine.wait(later)];
      await engine.start(later);
      expect(await Promise.all(waits)).toMatchObject([{ exitCode: 3 }, { exitCode: 3 }]);
    });

    test('a program that does not exist ends with 127', async () => {
      const id = await run({ command: ['no-such-program'] });
      expect(await engine.wait(id)).toMatchObject({ exitCode: 127 });
      expect((await output(engine, id)).stderr).toMatch(/no-such-program/);
    });

    test('the command gets its arguments as they are, without a shell', async () => {
      const args = ['$HOME', 'two words', '"quoted"', '', '*', 'ü'];
      const script = 'import json, sys; print(json.dumps(sys.argv[1:]))';
      const id = await run({ command: ['python3', '-c', script, ...args] });
      await engine.wait(id);
      expect(JSON.parse((await output(engine, id)).stdout)).toEqual(args);
    });

    test('starting what runs is fine', async () => {
      const id = await run({ command: ['sleep', '60'] });
      await engine.start(id);
      expect(await stateOf(engine, id)).toBe('running');
    });

    test('python3 and node are there', async () => {
      const { stdout, exitCode } = await outcome(
        'python3 -c "import asyncio, json, socket, ssl, sqlite3; print(1)" && node -p "1 + 1"',
      );
      expect({ stdout, exitCode }).toEqual({ stdout: '1\n2\n', exitCode: 0 });
    });
  });

  describe('environment', () => {
    test('holds what the spec says, and nothing of the engine’s own', async () => {
      process.env.BERTH_TEST_SECRET = 'of the platform';
      try {
        const { stdout } = await outcome('env', {
          env: { GREETING: 'grüß dich', EMPTY: '', QUOTED: 'a "b" $c' },
        });
        const lines = stdout.split('\n');
        expect(lines).toEqual(expect.arrayContaining(['GREETING=grüß dich', 'EMPTY=', 'QUOTED=a "b" $c']));
        expect(stdout).not.toContain('BERTH_TEST_SECRET');
      } finally {
        delete process.env.BERTH_TEST_SECRET;
      }
    });

    test('a simulated card is told and none is attached', async () => {
      const { stdout } = await outcome(
        'echo "[$BERTH_SIMULATED_GPU] [$CUDA_VISIBLE_DEVICES] [$NVIDIA_VISIBLE_DEVICES]"',
        {
          env: { NVIDIA_VISIBLE_DEVICES: 'all', CUDA_VISIBLE_DEVICES: '0' },
          devices: [
            { kind: 'gpu', index: 0, simulated: true },
            { kind: 'gpu', index: 2, simulated: true },
          ],
        },
      );
      expect(stdout).toBe('[0,2] [] [void]\n');
    });

    test('no card is seen by one that was given none', async () => {
      const { stdout } = await outcome('echo "[$CUDA_VISIBLE_DEVICES] [$NVIDIA_VISIBLE_DEVICES]"', {
        env: { NVIDIA_VISIBLE_DEVICES: 'all' },
      });
      expect(stdout).toBe('[] [void]\n');
    });

    test('a temporary file can be written where programs look for a place', async () => {
      const script =
        'import tempfile; f = tempfile.NamedTemporaryFile(); f.write(b"x"); f.flush(); print("ok")';
      const id = await run({ command: ['python3', '-c', script] });
      expect(await engine.wait(id)).toMatchObject({ exitCode: 0 });
      const { stdout } = await outcome('echo x > ~/here && cat ~/here');
      expect(stdout).toBe('x\n');
    });
  });

  describe('mounts', () => {
    test('are seen at their targets, by command, environment and working folder', async () => {
      const source = await aFolder();
      const data = await aFolder();
      await mkdir(join(source, 'sub'));
      await writeFile(join(source, 'hello.txt'), 'hello');
      await writeFile(join(source, 'sub', 'module.py'), 'value = 7');
      const { stdout, exitCode } = await outcome(
        'cat /berth/source/hello.txt hello.txt && python3 -c "import module; print(module.value)" && echo out > $OUT/x',
        {
          env: { PYTHONPATH: '/nowhere:/berth/source/sub', OUT: '/berth/data' },
          cwd: '/berth/source',
          mounts: [
            { source, target: '/berth/source', readOnly: true },
            { source: data, target: '/berth/data', readOnly: false },
          ],
        },
      );
      expect({ stdout, exitCode }).toEqual({ stdout: 'hellohello7\n', exitCode: 0 });
      expect(await readFile(join(data, 'x'), 'utf8')).toBe('out\n');
    });

    test('pathInside gives the path that the container’s processes can open', async () => {
      const source = await aFolder();
      await writeFile(join(source, 'a'), 'found');
      const mounts = [{ source, target: '/berth/source', readOnly: true }];
      const path = engine.pathInside(mounts, '/berth/source/a');
      const id = await run({ command: ['cat', path], mounts });
      await engine.wait(id);
      expect((await output(engine, id)).stdout).toBe('found');
    });

    test('a read-only one cannot be written where there is isolation, and can where there is none', async () => {
      const source = await aFolder();
      const { exitCode } = await outcome('touch /berth/source/x', {
        mounts: [{ source, target: '/berth/source', readOnly: true }],
      });
      expect(exitCode === 0).toBe(!engine.isolated);
    });

    test('a Unix socket is reached through one', async () => {
      const folder = await aFolder('run');
      const path = join(folder, 'runner.sock');
      const server = createServer((socket) => socket.end('from the runner'));
      await new Promise<void>((resolve) => server.listen(path, resolve));
      try {
        await chmod(path, 0o666);
        const script =
          'import os, socket; s = socket.socket(socket.AF_UNIX); s.connect(os.environ["SOCKET"]); print(s.recv(99).decode())';
        const id = await run({
          command: ['python3', '-c', script],
          env: { SOCKET: '/berth/run/runner.sock' },
          mounts: [{ source: folder, target: '/berth/run', readOnly: true }],
        });
        await engine.wait(id);
        expect(await output(engine, id)).toEqual({ stdout: 'from the runner\n', stderr: '' });
      } finally {
        await new Promise((resolve) => server.close(resolve));
      }
    });

    test('outside of them only scratch can be written, where there is isolation', async () => {
      // Without isolation the root folder is the host's, which a test leaves alone.
      const place = engine.isolated ? '/ /usr /etc /var/tmp /berth' : '';
      const { stdout } = await outcome(
        `for d in ${place}; do touch $d/berth-test 2>/dev/null && echo $d; done; echo x > /tmp/s && cat /tmp/s`,
        { user: { uid: 0, gid: 0 } },
      );
      expect(stdout).toBe('x\n');
    });

    test('scratch is private to each container and goes with it', async () => {
      const script = 'ls -A /tmp | wc -l; echo x > /tmp/left';
      expect((await outcome(script)).stdout.trim()).toBe('0');
      expect((await outcome(script)).stdout.trim()).toBe('0');
    });

    test('scratch has a size, where there is isolation', async () => {
      const { stdout } = await outcome(
        'head -c 3000000 /dev/zero > /tmp/big 2>/dev/null; stat -c %s /tmp/big',
        {
          scratchBytes: MIB,
        },
      );
      expect(Number(stdout)).toBe(engine.isolated ? MIB : 3_000_000);
    });
  });

  describe('logs', () => {
    test('keep both streams, their order and their times', async () => {
      const before = Date.now() - 1_000;
      const id = await run({ command: ['sh', '-c', 'echo one; echo two >&2; printf three'] });
      await engine.wait(id);
      const chunks = await collect(engine.logs(id));
      expect(await output(engine, id)).toEqual({ stdout: 'one\nthree', stderr: 'two\n' });
      for (const { time } of chunks) {
        expect(time.getTime()).toBeGreaterThan(before);
        expect(time.getTime()).toBeLessThan(Date.now() + 1_000);
      }
    });

    test('are followed as they come, until the container ends', async () => {
      const folder = await aFolder();
      const id = await run({
        command: ['sh', '-c', 'echo first; while ! test -e /gate/open; do sleep 0.02; done; echo last'],
        mounts: [{ source: folder, target: '/gate', readOnly: true }],
      });
      const seen: string[] = [];
      for await (const { data } of engine.logs(id, { follow: true })) {
        seen.push(data.toString());
        // The second line is written only after the first was seen here.
        if (seen.length === 1) await writeFile(join(folder, 'open'), '');
      }
      expect(seen.join('')).toBe('first\nlast\n');
    });

    test('are followed until the signal aborts', async () => {
      const id = await run({ command: ['sh', '-c', 'echo up; sleep 60'] });
      const stop = new AbortController();
      const seen: string[] = [];
      for await (const { data } of engine.logs(id, { follow: true, signal: stop.signal })) {
        seen.push(data.toString());
        stop.abort();
      }
      expect(seen).toEqual(['up\n']);
    });

    test('can begin at a time', async () => {
      const folder = await aFolder();
      const id = await run({
        command: ['sh', '-c', 'echo early; while ! test -e /gate/open; do sleep 0.02; done; echo late'],
        mounts: [{ source: folder, target: '/gate', readOnly: true }],
      });
      const early = await firstChunk(engine, id);
      // A file's time is as coarse as the kernel's tick.
      await until(() => Date.now() > early.time.getTime() + 20);
      const since = new Date();
      await until(() => Date.now() > since.getTime() + 20);
      await writeFile(join(folder, 'open'), '');
      await engine.wait(id);
      const late = await collect(engine.logs(id, { since }));
      expect(late.map(({ data }) => data.toString())).toEqual(['late\n']);
    });

    test('a long line and binary output arrive whole', async () => {
      const script = 'import sys; sys.stdout.buffer.write(bytes(range(256)) * 1000 + b"\\n")';
      const id = await run({ command: ['python3', '-c', script] });
      await engine.wait(id);
      const chunks = await collect(engine.logs(id));
      const expected = Buffer.concat([
        ...Array<Buffer>(1000).fill(Buffer.from([...Array(256).keys()])),
        Buffer.from('\n'),
      ]);
      expect(Buffer.concat(chunks.map(({ data }) => data)).equals(expected)).toBe(true);
    });
  });

  describe('exec', () => {
    test('gives both streams and the exit code', async () => {
      const id = await run({ command: ['sleep', '60'], env: { OF_CONTAINER: 'c' } });
      const session = await engine.exec(id, {
        command: ['sh', '-c', 'echo "out $OF_CONTAINER $OF_EXEC"; echo err >&2; pwd; exit 7'],
        env: { OF_EXEC: 'e' },
        cwd: '/',
      });
      expect(await Promise.all([text(session.stdout), text(session.stderr), session.exit])).toEqual([
        'out c e\n/\n',
        'err\n',
        { exitCode: 7 },
      ]);
    });

    test('twenty short ones each give their own code', async () => {
      const id = await run({ command: ['sleep', '60'] });
      const codes = await Promise.all(
        Array.from({ length: 20 }, async (_, code) => {
          const session = await engine.exec(id, { command: ['sh', '-c', `exit ${code}`] });
          session.stdout.resume();
          session.stderr.resume();
          return (await session.exit).exitCode;
        }),
      );
      expect(codes).toEqual([...Array(20).keys()]);
    });

    test('stdin is passed on, and its end is an end of file', async () => {
      const id = await run({ command: ['sleep', '60'] });
      const session = await engine.exec(id, { command: ['sh', '-c', 'cat; echo done'], stdin: true });
      const read = text(session.stdout);
      session.stderr.resume();
      const data = 'x'.repeat(200_000);
      session.stdin.write(data);
      session.stdin.end('end\n');
      expect(await read).toBe(`${data}end\ndone\n`);
      expect(await session.exit).toEqual({ exitCode: 0 });
    });

    test('without stdin the process reads an end of file', async () => {
      const id = await run({ command: ['sleep', '60'] });
      const session = await engine.exec(id, { command: ['cat'] });
      expect(await text(session.stdout)).toBe('');
    });

    test('has a terminal with a size that changes', async () => {
      const id = await run({ command: ['sleep', '60'] });
      const session = await engine.exec(id, {
        command: [
          'sh',
          '-c',
          'test -t 0 && stty size && read line && stty size && echo "got $line" && exit 5',
        ],
        tty: true,
        stdin: true,
        columns: 100,
        rows: 30,
      });
      const read = new Collected(session.stdout);
      await read.until(/\d+ \d+/);
      await session.resize(132, 43);
      session.stdin.write('hello\n');
      expect(await session.exit).toEqual({ exitCode: 5 });
      expect(read.text).toContain('43 132');
      expect(read.text).toContain('got hello');
      expect(await text(session.stderr)).toBe('');
    });

    test('a size is refused where there is no terminal', async () => {
      const id = await run({ command: ['sleep', '60'] });
      const session = await engine.exec(id, { command: ['true'] });
      session.stdout.resume();
      await expect(session.resize(80, 24)).rejects.toMatchObject({ kind: 'invalid' });
      await session.exit;
    });

    test('can be killed, with what it started', async () => {
      const id = await run({ command: ['sleep', '60'] });
      const session = await engine.exec(id, { command: ['sh', '-c', 'sleep 61 & echo up; sleep 62'] });
      const read = new Collected(session.stdout);
      session.stderr.resume();
      await read.until(/up/);
      await session.kill();
      await session.kill();
      expect(await session.exit).toEqual({ exitCode: 137 });
      expect(await stateOf(engine, id)).toBe('running');
    });

    test('a program that does not exist ends with 126 or 127, or cannot be started', async () => {
      const id = await run({ command: ['sleep', '60'] });
      const code = await engine
        .exec(id, { command: ['no-such-program'] })
        .then((session) => {
          session.stdout.resume();
          session.stderr.resume();
          return session.exit;
        })
        .then(({ exitCode }) => exitCode);
      expect([126, 127]).toContain(code);
    });

    test('is refused in a container that does not run', async () => {
      const id = await create();
      await expect(engine.exec(id, { command: ['true'] })).rejects.toMatchObject({ kind: 'conflict' });
    });
  });

  describe('stop and kill', () => {
    test('stop lets the command end by itself', async () => {
      const id = await run({
        command: [
          'python3',
          '-uc',
          'import signal, sys; signal.signal(15, lambda *_: sys.exit(9)); print("up"); signal.pause()',
        ],
      });
      await firstLine(engine, id);
      await engine.stop(id, 20);
      expect(await engine.wait(id)).toMatchObject({ exitCode: 9, outOfMemory: false });
    });

    test('stop kills what does not end within the grace', async () => {
      const id = await run({
        command: [
          'python3',
          '-uc',
          'import signal; signal.signal(15, signal.SIG_IGN); print("up")\nwhile True: signal.pause()',
        ],
      });
      await firstLine(engine, id);
      await engine.stop(id, 1);
      expect(await engine.wait(id)).toMatchObject({ exitCode: 137, signal: 'SIGKILL', outOfMemory: false });
    });

    test('stop ends at once a command that does not care for signals', async () => {
      const id = await run({ command: ['sleep', '60'] });
      await engine.stop(id, 20);
      expect(await engine.wait(id)).toMatchObject({ exitCode: 143, signal: 'SIGTERM' });
    });

    test('kill ends the whole tree, also what left its group', async () => {
      const folder = await aFolder();
      const script = [
        'import os, signal, subprocess, time',
        'beat = "import time\\nwhile True: open(\\"%s\\", \\"a\\").write(\\".\\"); time.sleep(0.02)"',
        'subprocess.Popen(["python3", "-c", beat % "/out/child"])',
        'subprocess.Popen(["python3", "-c", beat % "/out/session"], start_new_session=True)',
        'signal.pause()',
      ].join('\n');
      const source = folder;
      // As the scripts' paths stand within longer strings, they are given by what the engine says they are.
      const mounts = [{ source, target: '/out', readOnly: false }];
      const id = await run({ command: ['python3', '-c', script], mounts });
      const sizes = async () =>
        Promise.all(
          ['child', 'session'].map(
            async (name) => (await readFile(join(folder, name)).catch(() => '')).length,
          ),
        );
      await until(async () => (await sizes()).every((size) => size > 2));
      await engine.kill(id);
      expect(await engine.wait(id)).toMatchObject({ exitCode: 137, signal: 'SIGKILL', outOfMemory: false });

      const after = await sizes();
      const started = Date.now();
      await until(() => Date.now() > started + 300); // Fifteen beats.
      expect(await sizes()).toEqual(after);
    });

    test('what a command leaves behind ends with it', async () => {
      const folder = await aFolder();
      const { exitCode } = await outcome(
        '(while true; do echo . >> /out/left; sleep 0.02; done) & until test -s /out/left; do sleep 0.02; done; exit 4',
        {
          mounts: [{ source: folder, target: '/out', readOnly: false }],
        },
      );
      expect(exitCode).toBe(4);
      const size = (await readFile(join(folder, 'left'))).length;
      const started = Date.now();
      await until(() => Date.now() > started + 300);
      expect((await readFile(join(folder, 'left'))).length).toBe(size);
    });

    test('stop and kill of what ended, or never started, are fine', async () => {
      const ended = await run();
      await engine.wait(ended);
      const fresh = await create();
      for (const id of [ended, fresh]) {
        await engine.stop(id, 1);
        await engine.kill(id);
      }
      expect(await engine.wait(ended)).toMatchObject({ exitCode: 0 });
    });
  });

  describe('limits', () => {
    const hog = 'data = []\nwhile True: data.append(bytearray(8 * 1024 * 1024))';

    test('a container that takes more memory than it may is ended and says so', async () => {
      const id = await run({ command: ['python3', '-c', hog], memoryBytes: 64 * MIB });
      const exit = await engine.wait(id);
      expect(exit.outOfMemory).toBe(true);
      // Isolated: the kernel kills it. Otherwise its own allocation fails, and Python ends by its exception.
      expect(exit.exitCode).toBe(engine.isolated ? 137 : 1);
    });

    test('so does one of which only a child was killed', async () => {
      const script = `import subprocess, sys; subprocess.run(["python3", "-c", ${JSON.stringify(hog)}]); sys.exit(3)`;
      const id = await run({ command: ['python3', '-c', script], memoryBytes: 64 * MIB });
      expect(await engine.wait(id)).toMatchObject({ exitCode: 3, outOfMemory: true });
    });

    test('one that ends by itself within its memory does not', async () => {
      expect(await outcome('kill -9 $$', { memoryBytes: 64 * MIB })).toMatchObject({
        exitCode: 137,
        outOfMemory: false,
      });
    });

    test('node runs within a limit, and a limit is enforced for it', async () => {
      const fits = await run({
        command: ['node', '-p', 'Buffer.alloc(10e6, 1).length'],
        memoryBytes: 256 * MIB,
      });
      expect(await engine.wait(fits)).toMatchObject({ exitCode: 0, outOfMemory: false });
      expect((await output(engine, fits)).stdout).toBe('10000000\n');
      const script = 'const all = []; for (;;) all.push(Buffer.alloc(16e6, 1))';
      const id = await run({ command: ['node', '-e', script], memoryBytes: 256 * MIB });
      const exit = await engine.wait(id);
      expect(exit.outOfMemory).toBe(true);
      expect(exit.exitCode).not.toBe(0);
    });

    test('processes are limited, where there is isolation', async () => {
      const script = [
        'import os, signal, time',
        'started = 0',
        'try:',
        '  for _ in range(40):',
        '    if os.fork() == 0: signal.pause()',
        '    started += 1',
        'except OSError: pass',
        'print(started)',
      ].join('\n');
      const id = await run({ command: ['python3', '-c', script], pidsMax: 20 });
      await engine.wait(id);
      const started = Number((await output(engine, id)).stdout);
      if (engine.isolated) expect(started).toBeLessThan(20);
      else expect(started).toBe(40);
    });

    test('use is measured', async () => {
      const id = await run({
        command: ['python3', '-uc', 'x = bytearray(30 << 20)\nwhile True: sum(range(1000))'],
        memoryBytes: 128 * MIB,
      });
      await until(async () => (await engine.stats(id)).cpuNanos > 100_000_000n);
      const stats = await engine.stats(id);
      expect(stats.memoryBytes).toBeGreaterThan(30 * MIB);
      expect(stats.memoryBytes).toBeLessThan(128 * MIB);
      expect(stats.memoryLimitBytes).toBe(128 * MIB);
      expect(stats.pids).toBeGreaterThanOrEqual(1);
      await engine.kill(id);
      await expect(engine.stats(id)).rejects.toMatchObject({ kind: 'conflict' });
    });

    test('what is stopped is frozen; what waits or computes is not, nor what has ended', async () => {
      const waits = await run({ command: ['sleep', '600'] });
      const computes = await run({ command: ['python3', '-c', 'while True: pass'] });
      const stops = await run({ command: ['python3', '-c', 'import os; os.kill(os.getpid(), 19)'] });
      await until(() => engine.isFrozen(stops));
      expect(await Promise.all([waits, computes].map((id) => engine.isFrozen(id)))).toEqual([false, false]);
      await engine.kill(stops);
      expect(await engine.isFrozen(stops)).toBe(false);
    });
  });

  describe('isolation', () => {
    test('the command runs as nobody, or as the user of the spec; without isolation as this process’s', async () => {
      const own = `${process.getuid!()}:${process.getgid!()}\n`;
      const { stdout } = await outcome('echo "$(id -u):$(id -g)"');
      expect(stdout).toBe(engine.isolated ? '65534:65534\n' : own);
      const other = await outcome('echo "$(id -u):$(id -g)"', { user: { uid: 1234, gid: 2345 } });
      expect(other.stdout).toBe(engine.isolated ? '1234:2345\n' : own);
    });

    test('it has no capabilities and gains no privileges, where there is isolation', async () => {
      const { stdout } = await outcome('grep -E "^(CapEff|CapBnd|NoNewPrivs)" /proc/self/status');
      if (engine.isolated) {
        expect(stdout.replace(/\s+/g, ' ').trim()).toBe(
          'CapEff: 0000000000000000 CapBnd: 0000000000000000 NoNewPrivs: 1',
        );
      } else {
        expect(stdout).toContain('NoNewPrivs:\t0');
      }
    });

    test('it sees only its own processes, where there is isolation', async () => {
      const { stdout } = await outcome(
        `test -d /proc/${process.pid}/fd && grep -c jest /proc/${process.pid}/cmdline || echo none`,
      );
      if (engine.isolated) expect(stdout.trim()).not.toBe('1');
      else expect(stdout.trim()).toBe('1');
    });

    test('without a network there is only loopback, where there is isolation', async () => {
      const { stdout } = await outcome('ls /sys/class/net');
      if (engine.isolated) expect(stdout).toBe('lo\n');
      else expect(stdout).toContain('lo\n');
    });

    test('containers on the bridge do not reach each other, where there is isolation', async () => {
      const serve = [
        'import http.server, socket',
        's = http.server.HTTPServer(("", 0), http.server.SimpleHTTPRequestHandler)',
        'probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); probe.connect(("192.0.2.1", 9))',
        'print(probe.getsockname()[0], s.server_port, flush=True); s.serve_forever()',
      ].join('\n');
      const server = await run({ command: ['python3', '-c', serve], network: 'bridge' });
      const [host, port] = (await firstLine(engine, server)).trim().split(' ');
      const dial = `import socket; socket.create_connection(("${host}", ${port}), timeout=2); print("reached")`;
      const { stdout } = await outcome(`python3 -c '${dial}'`, { network: 'bridge' });
      expect(stdout).toBe(engine.isolated ? '' : 'reached\n');
    });

    test('is told by the engine itself', async () => {
      const { isolated, version, architecture, cpus, memoryBytes } = await engine.describe();
      expect(isolated).toBe(engine.isolated);
      expect(engine.isolated).toBe(kind !== 'process');
      expect(PROCESS_ENGINE_WARNING).toMatch(/no isolation/);
      expect(version).toMatch(/^\d+\.\d+/);
      expect(architecture).toMatch(/^[a-z0-9]+$/);
      expect(cpus).toBeGreaterThanOrEqual(1);
      expect(memoryBytes).toBeGreaterThan(256 * MIB);
    });
  });

  describe('list and events', () => {
    test('containers are found by their labels, with their states', async () => {
      const labels = { 'berth.test': randomBytes(8).toString('hex') };
      const created = await create({ labels: { ...labels, role: 'a' } });
      const running = await run({ labels: { ...labels, role: 'b' }, command: ['sleep', '60'] });
      const exited = await run({ labels });
      await engine.wait(exited);

      const found = await engine.list(labels);
      expect(Object.fromEntries(found.map(({ id, state }) => [id, state]))).toEqual({
        [created]: 'created',
        [running]: 'running',
        [exited]: 'exited',
      });
      expect(await engine.list({ ...labels, role: 'b' })).toMatchObject([
        { id: running, image: BASE_IMAGE, labels: { ...labels, role: 'b' }, state: 'running' },
      ]);
      expect(await engine.list({ ...labels, role: 'c' })).toEqual([]);
    });

    test('another engine of the same owner takes over; one of another owner sees nothing', async () => {
      const id = await run({ command: ['sh', '-c', 'echo before; sleep 60'], labels: { kept: 'yes' } });
      await firstLine(engine, id);
      await engine[Symbol.asyncDispose]();
      engine = await openEngine(kind, { dockerHost, stateDir, owner });
      expect(await engine.list({ kept: 'yes' })).toMatchObject([{ id, state: 'running' }]);
      expect((await output(engine, id)).stdout).toBe('before\n');

      await using stranger = await openEngine(kind, { dockerHost, stateDir, owner: `${owner}-other` });
      expect(await stranger.list()).toEqual([]);

      const waiting = engine.wait(id);
      await engine.kill(id);
      expect(await waiting).toMatchObject({ exitCode: 137 });
    });

    test('one that ended while no engine looked is known to have, with its code', async () => {
      const folder = await aFolder();
      const id = await run({
        command: [
          'sh',
          '-c',
          'while ! test -e /gate/open; do sleep 0.02; done; echo after; touch /gate/done; exit 6',
        ],
        mounts: [{ source: folder, target: '/gate', readOnly: false }],
      });
      await engine[Symbol.asyncDispose]();
      await writeFile(join(folder, 'open'), '');
      await until(() =>
        readFile(join(folder, 'done')).then(
          () => true,
          () => false,
        ),
      );
      engine = await openEngine(kind, { dockerHost, stateDir, owner });
      expect(await engine.wait(id)).toMatchObject({ exitCode: 6, outOfMemory: false });
      expect((await output(engine, id)).stdout).toBe('after\n');
    });

    test('a wait ends clearly when its engine is closed', async () => {
      const second = await openEngine(kind, {
        dockerHost,
        stateDir: await aFolder('closing'),
        owner: `${owner}-closing`,
      });
      const id = await second.create(spec({ command: ['sleep', '60'] }));
      try {
        await second.start(id);
        const waiting = second.wait(id);
        await second[Symbol.asyncDispose]();
        await expect(waiting).rejects.toMatchObject({ kind: 'unavailable' });
      } finally {
        await engine.remove(id); // Docker's; the process engine's is another folder's.
        await using again = await openEngine(kind, { dockerHost, stateDir, owner: `${owner}-closing` });
        await again.remove(id);
      }
    });

    test('start, death and a kill by memory are told, to the owner only', async () => {
      const stop = new AbortController();
      const events = engine.events(stop.signal);
      await using stranger = await openEngine(kind, { dockerHost, stateDir, owner: `${owner}-stranger` });
      const others = collect(stranger.events(stop.signal));
      const label = randomBytes(8).toString('hex');
      const heard: ContainerEvent[] = [];
      const listening = (async () => {
        for await (const event of events) if (event.labels.mine === label) heard.push(event);
      })();

      const id = await run({ command: ['sh', '-c', 'exit 5'], labels: { mine: label } });
      await until(() => heard.length === 2);
      expect(heard).toMatchObject([
        { kind: 'start', id },
        { kind: 'die', id, exitCode: 5 },
      ]);
      await run({
        command: ['python3', '-c', 'x = bytearray(200 << 20)'],
        memoryBytes: 64 * MIB,
        labels: { mine: label },
      });
      await until(() => heard.some(({ kind: what }) => what === 'oom'));
      stop.abort();
      await listening;
      expect(await others).toEqual([]);
    });
  });

  describe('remove', () => {
    test('takes a running container away; twice is fine', async () => {
      const id = await run({ command: ['sleep', '60'] });
      const waiting = engine.wait(id).catch((error: unknown) => error);
      await engine.remove(id);
      await engine.remove(id);
      await waiting; // Either how it ended, or that it is gone.
      expect((await engine.list()).map((found) => found.id)).not.toContain(id);
      await expect(engine.start(id)).rejects.toMatchObject({ kind: 'not_found' });
    });

    test('of many at once', async () => {
      const ids = await Promise.all(Array.from({ length: 4 }, () => run({ command: ['sleep', '60'] })));
      await Promise.all([...ids, ...ids].map((id) => engine.remove(id)));
      const left = (await engine.list()).map(({ id }) => id);
      expect(left.filter((id) => ids.includes(id))).toEqual([]);
    });

    test('ends the wait for one that never started', async () => {
      const id = await create();
      const waiting = engine.wait(id);
      const expected = expect(waiting).rejects.toMatchObject({ kind: 'not_found' });
      await engine.remove(id);
      await expected;
    });
  });

  describe('bad input', () => {
    test.each(['0'.repeat(64), 'pc-00', '', '../../etc', 'a'.repeat(12)])(
      'the unknown id %j is a clear error',
      async (id) => {
        const notFound = { name: 'EngineError', kind: 'not_found' };
        await expect(engine.start(id)).rejects.toMatchObject(notFound);
        await expect(engine.wait(id)).rejects.toMatchObject(notFound);
        await expect(engine.stop(id, 1)).rejects.toMatchObject(notFound);
        await expect(engine.kill(id)).rejects.toMatchObject(notFound);
        await expect(engine.stats(id)).rejects.toMatchObject(notFound);
        await expect(engine.isFrozen(id)).rejects.toMatchObject(notFound);
        await expect(engine.exec(id, { command: ['true'] })).rejects.toMatchObject(notFound);
        await expect(collect(engine.logs(id))).rejects.toMatchObject(notFound);
        await engine.remove(id);
      },
    );

    test.each<[string, Partial<ContainerSpec>]>([
      ['name', { name: '../x' }],
      ['name', { name: '' }],
      ['image', { image: '' }],
      ['image', { image: '--privileged' }],
      ['command', { command: [] }],
      ['command', { command: ['a\0b'] }],
      ['env', { env: { 'A=B': 'x' } }],
      ['env.A', { env: { A: 'x\0y' } }],
      ['cwd', { cwd: 'relative' }],
      ['memoryBytes', { memoryBytes: 1024 }],
      ['memoryBytes', { memoryBytes: Number.NaN }],
      ['cpus', { cpus: 0 }],
      ['pidsMax', { pidsMax: 0.5 }],
      ['scratchBytes', { scratchBytes: -1 }],
      ['user.uid', { user: { uid: -1, gid: 0 } }],
      ['mounts[0].source', { mounts: [{ source: 'x', target: '/x', readOnly: true }] }],
      ['mounts[0].target', { mounts: [{ source: '/tmp', target: '/a/../b', readOnly: true }] }],
      ['mounts[0].target', { mounts: [{ source: '/tmp', target: '/', readOnly: true }] }],
      [
        'devices',
        {
          devices: [
            { kind: 'gpu', index: 0, simulated: true },
            { kind: 'gpu', index: 1, simulated: false },
          ],
        },
      ],
      ['network', { network: 'host' as 'none' }],
    ])('a bad %s is named before any effect', async (field, bad) => {
      const before = (await engine.list()).length;
      const error = await engine.create(spec(bad)).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(EngineError);
      expect(error).toMatchObject({ kind: 'invalid', field });
      expect((await engine.list()).length).toBe(before);
    });

    test('a mount whose source does not exist is refused', async () => {
      const mounts = [{ source: join(stateDir, 'nowhere'), target: '/x', readOnly: true }];
      await expect(engine.create(spec({ mounts }))).rejects.toMatchObject({
        kind: 'invalid',
        field: expect.stringMatching(/^mounts/) as string,
      });
      expect(await engine.list()).toEqual([]);
    });

    test('an image that is not here is refused, and says what to do', async () => {
      expect(await engine.hasImage('berth/no-such-image:1')).toBe(false);
      await expect(engine.create(spec({ image: 'berth/no-such-image:1' }))).rejects.toMatchObject({
        kind: 'not_found',
        field: 'image',
      });
      await expect(engine.pull('berth/no-such-image:1')).rejects.toMatchObject({ kind: 'not_found' });
    });

    test('the base image is here, and pulling it costs nothing', async () => {
      expect(await engine.hasImage(BASE_IMAGE)).toBe(true);
      await engine.pull(BASE_IMAGE);
    });

    test('of two that ask for one name, one gets it', async () => {
      const twin = spec();
      const results = await Promise.allSettled([engine.create(twin), engine.create(twin)]);
      for (const result of results) if (result.status === 'fulfilled') made.push(result.value);
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      expect(results.find(({ status }) => status === 'rejected')).toMatchObject({
        reason: { kind: 'conflict' },
      });
    });

    test('a secret in the environment is not in the error', async () => {
      const error = (await engine
        .create(spec({ env: { TOKEN: 'top-secret\0' } }))
        .catch((thrown: unknown) => thrown)) as Error;
      expect(JSON.stringify([error.message, error.stack, error])).not.toContain('top-secret');
    });
  });
}

async function output(engine: ContainerEngine, id: string): Promise<{ stdout: string; stderr: string }> {
  const parts: Record<LogChunk['stream'], Buffer[]> = { stdout: [], stderr: [] };
  for await (const { stream, data } of engine.logs(id)) parts[stream].push(data);
  return { stdout: Buffer.concat(parts.stdout).toString(), stderr: Buffer.concat(parts.stderr).toString() };
}

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of source) all.push(one);
  return all;
}

async function firstLine(engine: ContainerEngine, id: string): Promise<string> {
  return (await firstChunk(engine, id)).data.toString();
}

async function firstChunk(engine: ContainerEngine, id: string): Promise<LogChunk> {
  for await (const chunk of engine.logs(id, { follow: true })) return chunk;
  throw new Error('The container ended without a word.');
}

async function stateOf(engine: ContainerEngine, id: string) {
  return (await engine.list()).find((found) => found.id === id)?.state;
}

/** Waits for a condition of the world outside, for at most ten seconds. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Waited ten seconds for ${condition}.`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A stream's text so far. */
class Collected {
  text = '';
  #wake = () => undefined as void;

  constructor(stream: Readable) {
    stream.setEncoding('utf8').on('data', (part: string) => {
      this.text += part;
      this.#wake();
    });
  }

  async until(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.text)) await new Promise<void>((resolve) => (this.#wake = resolve));
  }
}
