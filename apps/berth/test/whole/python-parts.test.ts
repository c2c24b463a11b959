/** What Python functions ask for beside their code: images, volumes, secrets. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Platform } from './platform';

jest.setTimeout(300_000);

let platform: Platform;
const folder = mkdtempSync(join(tmpdir(), 'berth-parts-'));
beforeAll(async () => {
  platform = await new Platform().start();
});
afterAll(async () => {
  await platform?.close();
  rmSync(folder, { recursive: true, force: true });
});

test('a deploy builds the image that a function describes, once, and shows its log', async () => {
  const home = join(folder, 'image');
  mkdirSync(join(home, 'words'), { recursive: true });
  writeFileSync(join(home, 'words/greeting.txt'), 'hello');
  writeFileSync(join(home, 'note.txt'), 'a note');
  writeFileSync(
    join(home, 'own_image.py'),
    `
import berth, os
image = (
    berth.Image.debian_slim()
    .run_commands("echo building here", "echo baked > /baked.txt")
    .env({"GREETING": "from the image"})
    .add_local_dir("words", "/words")
    .add_local_file("note.txt", "/notes/renamed.txt")
)
app = berth.App("own-image", image=image)

def read(path):
    with open(path) as file:
        return file.read().strip()

@app.function(cpu=0.2, memory=128)
def look():
    return [read("/baked.txt"), os.environ["GREETING"], read("/words/greeting.txt"), read("/notes/renamed.txt")]

@app.function(cpu=0.2, memory=128, image=image.run_commands("exit 0"))
def other(): pass
`,
  );
  const deployed = await platform.cli('deploy', join(home, 'own_image.py'));
  expect(deployed).toMatchObject({ code: 0, stderr: expect.stringContaining('building here') });
  const looked = await platform.cli('invoke', 'own-image.look');
  expect(JSON.parse(looked.stdout)).toEqual(['baked', 'from the image', 'hello', 'a note']);
  const again = await platform.cli('deploy', join(home, 'own_image.py'));
  expect(again.code).toBe(0);
  expect(again.stderr).not.toContain('building here');
});

test('an image that cannot be built says which step failed, and nothing is deployed', async () => {
  const file = join(folder, 'broken_image.py');
  writeFileSync(
    file,
    'import berth\napp = berth.App("broken-image", image=berth.Image.debian_slim().run_commands("echo no luck; exit 3"))\n' +
      '@app.function()\ndef f(): pass\n',
  );
  const { code, stderr } = await platform.cli('deploy', file);
  expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('no luck') });
  expect(stderr).toMatch(/could not be built|exit/);
});

test('a deploy makes the volume that may be missing; one container commits, another reloads', async () => {
  const file = join(folder, 'shelf.py');
  writeFileSync(
    file,
    `
import berth, os
app = berth.App("shelf")
books = berth.Volume.from_name("books", create_if_missing=True)

@app.function(cpu=0.2, memory=128, volumes={"/books": books})
def write(name: str, text: str):
    with open("/books/" + name, "w") as file:
        file.write(text)
    books.commit()

@app.function(cpu=0.2, memory=128, volumes={"/books": books})
def read():
    books.reload()
    return {name: open("/books/" + name).read() for name in sorted(os.listdir("/books"))}
`,
  );
  const deployed = await platform.cli('deploy', file);
  expect(deployed).toMatchObject({ code: 0 });
  expect((await platform.cli('invoke', 'shelf.read')).stdout).toBe('{}\n');
  await platform.cli('invoke', 'shelf.write', 'one', 'first');
  expect(JSON.parse((await platform.cli('invoke', 'shelf.read')).stdout)).toEqual({ one: 'first' });
});

test('a secret is there by its name; one that is missing keeps the function from being made', async () => {
  const file = join(folder, 'signed.py');
  writeFileSync(
    file,
    `
import berth, os
app = berth.App("signed")
@app.function(cpu=0.2, memory=128, secrets=[berth.Secret.from_name("signing")])
def sign(): return len(os.environ["SIGNING_KEY"])
`,
  );
  const refused = await platform.cli('deploy', file);
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('signing') });
  expect((await platform.cli('secret', 'create', 'signing', 'SIGNING_KEY=12345678')).code).toBe(0);
  expect((await platform.cli('deploy', file)).code).toBe(0);
  expect((await platform.cli('invoke', 'signed.sign')).stdout).toBe('8\n');
});
