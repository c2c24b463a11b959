/** Functions as Python users write them: a file with decorators, deployed and called from everywhere. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Platform, root, run } from './platform';

jest.setTimeout(300_000);

let platform: Platform;
const folder = mkdtempSync(join(tmpdir(), 'berth-python-'));
beforeAll(async () => {
  platform = await new Platform().start();
  const deployed = await platform.cli('deploy', 'examples/squares/squares.py');
  expect(deployed).toMatchObject({ code: 0, stdout: expect.stringContaining('sum_of_squares') });
});
afterAll(async () => {
  await platform?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs Python here, with the module and the platform's credentials. */
const local = (source: string) =>
  run('python3', ['-c', source], {
    ...platform.env,
    PYTHONPATH: [join(root, 'libs/python'), join(root, 'examples/squares')].join(':'),
  });

test('a function calls others of its app from inside its container, async code too', async () => {
  const summed = await platform.cli('invoke', 'squares.sum_of_squares', '4');
  expect(summed).toMatchObject({ code: 0, stdout: '14\n' });
  const described = await platform.cli('invoke', 'squares.describe', 'hello', '--loud', 'true');
  expect(JSON.parse(described.stdout)).toEqual({ word: 'HELLO', four: 4, local: false });
});

test('what was deployed is called by its name, and by what describes it; it runs here without a step', async () => {
  const { code, stdout, stderr } = await local(`
import asyncio, berth, squares
named = berth.Function.from_name("squares", "square")
print(named.remote(5), squares.square.remote(6), squares.square.local(7), squares.square(8))
call = named.spawn(9)
print(berth.FunctionCall.from_id(call.object_id).get(timeout=60), call.status())
print(asyncio.run(squares.sum_of_squares.remote.aio(3)), berth.gather(named.spawn(2), named.spawn(3)))
`);
  expect({ code, stdout, stderr }).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('25 36 49 64\n81 success\n5 [4, 9]\n'),
  });
});

test("a remote exception is raised as the user's own class, with the lines where it was raised", async () => {
  const { stdout } = await local(`
import berth, squares, traceback
for work in (lambda: squares.square.remote(13), lambda: squares.sum_of_squares.remote(14, start=13)):
    try:
        work()
    except squares.NoSquare as error:
        print("caught", error)
        traceback.print_exc(file=__import__("sys").stdout)
try:
    berth.Function.from_name("squares", "square").remote(13)
except berth.exceptions.RemoteError as error:
    print(error.type, error.message, error.call_id[:3])
try:
    squares.square.remote("x", 1, 2)
except TypeError as error:
    print("builtin", error)
try:
    berth.Function.from_name("squares", "square").remote({1, 2})
except berth.exceptions.InvalidError as error:
    print("here", error)
`);
  expect(stdout.match(/caught 13 brings bad luck/g)).toHaveLength(2);
  expect(stdout).toMatch(/File "squares\.py", line \d+, in square/);
  expect(stdout).toMatch(/File "squares\.py", line \d+, in sum_of_squares/);
  expect(stdout).toContain('NoSquare 13 brings bad luck fc-');
  expect(stdout).toMatch(/builtin square\(\) takes 1 positional argument/);
  expect(stdout).toMatch(/here the arguments cannot be sent as JSON: .*set/);
});

test('what JSON cannot hold is pickled for functions of its own code, and of others only where they are trusted', async () => {
  writeFileSync(
    join(folder, 'shapes.py'),
    `
import berth, dataclasses, datetime
app = berth.App("shapes")

@dataclasses.dataclass
class Box:
    sides: tuple
    made: datetime.date

@app.function(cpu=0.2, memory=128)
def grow(box: Box, by=1):
    return Box(tuple(side + by for side in box.sides), box.made)

@app.function(cpu=0.2, memory=128)
def unsendable():
    return lambda: 1

@app.function(cpu=0.2, memory=128)
def nested(box):
    return grow.remote(box, by=10), set(each.sides for each in grow.map([box, box]))
`,
  );
  expect((await platform.cli('deploy', join(folder, 'shapes.py'))).code).toBe(0);
  const { stdout, stderr } = await local(`
import sys
sys.path.insert(0, ${JSON.stringify(folder)})
import berth, datetime, shapes
box = shapes.Box((1, 2), datetime.date(2026, 1, 31))
print(shapes.grow.remote(box), [each.sides for each in shapes.grow.map([box, box])])
print(shapes.nested.remote(box))
call = shapes.grow.spawn(box)
print(call.get().sides, berth.FunctionCall.from_id(call.object_id, pickle=True).get().sides)
try:
    berth.FunctionCall.from_id(call.object_id).get()
except berth.exceptions.InvalidError as error:
    print("pickle=True" in str(error))
print(berth.Function.from_name("shapes", "grow", pickle=True).remote(box).sides)
print(len(shapes.grow.remote(shapes.Box((1,) * 1000000, None)).sides))
print(shapes.grow.remote(shapes.Box((1 << 160_000_000,), None)).sides[0].bit_length())
for work in (lambda: shapes.grow.remote(lambda: 1), lambda: shapes.unsendable.remote()):
    try:
        work()
    except berth.exceptions.Error as error:
        print(type(error).__name__, getattr(error, "type", ""))
`);
  expect(stdout + stderr).toBe(
    [
      'Box(sides=(2, 3), made=datetime.date(2026, 1, 31)) [(2, 3), (2, 3)]',
      '(Box(sides=(11, 12), made=datetime.date(2026, 1, 31)), {(2, 3)})',
      '(2, 3) (2, 3)',
      'True',
      '(2, 3)',
      '1000000',
      '160000001', // Larger than a request: a pickle of 20 MB.
      'InvalidError ',
      'RemoteError result_invalid',
      '',
    ].join('\n'),
  );
});

test('a map gives results in order or as they come, in a container as well as here; inputs may never end', async () => {
  const { stdout, stderr } = await local(`
import berth, itertools, squares
square = berth.Function.from_name("squares", "square")
print(list(square.map(range(5))))
print(sorted(square.map(range(5), order_outputs=False)))
print(list(square.starmap([(3,), (4,)])), list(square.map([])), squares.square.for_each([1, 2]))
print([type(each).__name__ if isinstance(each, Exception) else each for each in squares.square.map([12, 13, 14], return_exceptions=True)])
try:
    list(squares.square.map([1, 13, 2]))
except squares.NoSquare as error:
    print("stopped", error)
endless = square.map(itertools.count())
print([next(endless) for _ in range(3)])
endless.close()
def broken():
    yield 1
    raise KeyError("of the inputs")
try:
    print(list(square.map(broken())))
except KeyError as error:
    print("inputs", error)
try:
    list(square.map([1, {2}]))
except berth.exceptions.InvalidError as error:
    print(error)
`);
  expect(stdout + stderr).toBe(
    [
      '[0, 1, 4, 9, 16]',
      '[0, 1, 4, 9, 16]',
      '[9, 16] [] None',
      "[144, 'NoSquare', 196]",
      'stopped 13 brings bad luck',
      '[0, 1, 4]',
      "inputs 'of the inputs'",
      'input 1 cannot be sent as JSON: Object of type set is not JSON serializable',
      '',
    ].join('\n'),
  );
});

test('a map within a map: containers call containers, and know what they run for', async () => {
  writeFileSync(
    join(folder, 'nested.py'),
    `
import berth, time
app = berth.App("nested")

@app.function(cpu=0.2, memory=128, max_containers=4, scaledown_window=5)
@berth.concurrent(max_inputs=8)
def leaf(x):
    time.sleep(0.2)
    return x

@app.function(cpu=0.2, memory=128, max_containers=1, scaledown_window=5)
@berth.batched(max_batch_size=4, wait_ms=500)
def several(numbers):
    return [ZeroDivisionError("none") if x == 0 else [x, len(numbers)] for x in numbers]

@app.function(cpu=0.2, memory=128, max_containers=3, scaledown_window=5)
def branch(n):
    return sum(leaf.map(range(n)))

@app.function(cpu=0.2, memory=128, scaledown_window=5)
async def tree(n):
    other = berth.Function.from_name("squares", "square")
    return {"sum": sum(branch.map([n] * 3)), "other": await other.remote.aio(6), "call": berth.current_function_call_id(), "input": berth.current_input_id()}
`,
  );
  expect((await platform.cli('deploy', join(folder, 'nested.py'))).code).toBe(0);
  const { stdout, stderr } = await local(`
import berth
call = berth.Function.from_name("nested", "tree").spawn(8)
found = call.get()
print(list(berth.Function.from_name("nested", "several").map([1, 0, 2, 3], return_exceptions=True)))
print(found["sum"], found["other"], found["call"] == call.object_id, found["input"][:3], berth.current_input_id())
`);
  expect(stdout + stderr).toBe("[[1, 4], ZeroDivisionError('none'), [2, 4], [3, 4]]\n84 36 True in- None\n");
});

test('what a generator yields comes as it is yielded, and its end is what it raised', async () => {
  writeFileSync(
    join(folder, 'streams.py'),
    `
import berth, time
app = berth.App("streams")

@app.function(cpu=0.2, memory=128)
def count(n, fail=False):
    for x in range(n):
        yield {"x": x}
    if fail:
        raise ValueError("no more")

@app.function(cpu=0.2, memory=128)
def endless():
    while True:
        yield time.time()
        time.sleep(0.05)

@app.function(cpu=0.2, memory=128)
def doubled(n):
    for item in count.remote_gen(n):
        yield 2 * item["x"]
`,
  );
  expect((await platform.cli('deploy', join(folder, 'streams.py'))).code).toBe(0);
  const { stdout, stderr } = await local(`
import berth, time
count, endless, doubled = [berth.Function.from_name("streams", name) for name in ("count", "endless", "doubled")]
print(list(count.remote_gen(3)), list(count.remote_gen(0)), list(doubled.remote_gen(4)))
seen = []
try:
    for item in count.remote_gen(2, fail=True):
        seen.append(item["x"])
except ValueError as error:
    print(seen, error)
items = endless.remote_gen()
print(time.time() - next(items) < 5, next(items) < next(items))
items.close()
`);
  expect(stdout + stderr).toBe("[{'x': 0}, {'x': 1}, {'x': 2}] [] [0, 2, 4, 6]\n[0, 1] no more\nTrue True\n");
});

test('a wait that is over leaves the call, which can then be cancelled', async () => {
  writeFileSync(
    join(folder, 'slow.py'),
    `
import berth, time
app = berth.App("slow")
@app.function(cpu=0.2, memory=128)
def sleep():
    time.sleep(60)
`,
  );
  expect((await platform.cli('deploy', join(folder, 'slow.py'))).code).toBe(0);
  const { stdout, stderr } = await local(`
import berth
call = berth.Function.from_name("slow", "sleep").spawn()
try:
    call.get(timeout=0.3)
except TimeoutError as error:
    print("late", error)
call.cancel()
try:
    call.get()
except berth.exceptions.CancelledError as error:
    print("cancelled", call.status())
`);
  expect(stdout + stderr).toMatch(
    /late the call fc-\w+ has not ended within 0.3 seconds\ncancelled terminated/,
  );
});

test("a user's own module of that name is theirs", async () => {
  const own = mkdtempSync(join(tmpdir(), 'berth-own-'));
  writeFileSync(join(own, 'berth.py'), 'WHO = "mine"');
  writeFileSync(join(own, 'main.py'), 'import berth\ndef run(): return berth.WHO');
  writeFileSync(
    join(own, 'berth.json'),
    JSON.stringify({ app: 'own', functions: [{ name: 'run', runtime: 'python', handler: 'main:run' }] }),
  );
  expect((await platform.cli('deploy', own)).code).toBe(0);
  expect((await platform.cli('invoke', 'own.run')).stdout).toBe('"mine"\n');
  rmSync(own, { recursive: true, force: true });
});

test('a file whose name is that of a module of Python itself is not mistaken for it', async () => {
  writeFileSync(
    join(folder, 'site.py'),
    'import berth\napp = berth.App("x")\n@app.function()\ndef f(): pass\n',
  );
  const { code, stderr } = await platform.cli('deploy', join(folder, 'site.py'));
  expect({ code, stderr }).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/Python knows another module named site .*: give .*site\.py another name/),
  });
});

describe('a file that cannot be deployed says why, and makes nothing', () => {
  test.each([
    [
      'a mistake',
      'import berth\napp = berth.App("x")\nprint(missing)\n',
      /line 3.*print\(missing\).*NameError/s,
    ],
    ['no app', 'import berth\n', /has no app: app = berth.App/],
    ['no functions', 'import berth\napp = berth.App("x")\n', /has no functions/],
    ['a function inside another', INNER(), /is not at the top of its module/],
    ['two of a name', TWO(), /two functions named f/],
    ['an option that does not exist', OPTION(), /unexpected keyword argument 'gpus'/],
    ['a wrong option', WRONG(), /memory/],
  ])('%s', async (_, source, message) => {
    const file = join(folder, 'broken.py');
    writeFileSync(file, source);
    const { code, stderr } = await platform.cli('deploy', file);
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringMatching(message) });
    expect(stderr).not.toContain('importlib');
  });

  function INNER() {
    return 'import berth\napp = berth.App("x")\ndef g():\n  @app.function()\n  def f(): pass\ng()\n';
  }
  function TWO() {
    return 'import berth\napp = berth.App("x")\n@app.function()\ndef f(): pass\n@app.function(name="f")\ndef g(): pass\n';
  }
  function OPTION() {
    return 'import berth\napp = berth.App("x")\n@app.function(gpus=1)\ndef f(): pass\n';
  }
  function WRONG() {
    return 'import berth\napp = berth.App("x")\n@app.function(memory=1)\ndef f(): pass\n';
  }
});
