/** What user code can do from inside its container with the credential of its own run, and what it cannot. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { eventually } from '@berth/testing';
import type { BerthApp, Berth, FunctionDefinition } from '@berth/sdk';
import { makeFunction, Platform, python, root } from './platform';

jest.setTimeout(300_000);

let platform: Platform;
let berth: Berth;
let app: BerthApp;
beforeAll(async () => {
  platform = await new Platform().start();
  berth = platform.berth();
  app = await berth.apps.create('inside');
});
afterAll(() => platform?.close());

/** `ask(method, path, body)` over the socket, as any HTTP client can. */
const ASK = `
import http.client, json, os, socket

class Api(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["BERTH_API_SOCKET"])

def ask(method, path, body=None, headers={}):
    api = Api("berth")
    api.request(method, path, json.dumps(body) if body is not None else None,
                {"content-type": "application/json", **headers})
    answer = api.getresponse()
    text = answer.read()
    return [answer.status, json.loads(text) if text else None]
`;
const asking = (body: string, options: Partial<FunctionDefinition> = {}) =>
  python(`${ASK}\ndef run(*args):\n${body.replace(/^/gm, '    ')}`, options);

test('a function calls another, which calls a third; no variable of a container is a secret', async () => {
  const double = await makeFunction(berth, app.app_id, python('def run(x): return 2 * x'));
  const middle = await makeFunction(
    berth,
    app.app_id,
    asking(
      `return ask("POST", f"/v1/functions/{args[0]}/invocations", {"args": [args[1] + 1]})[1]["result"]`,
    ),
  );
  const outer = await makeFunction(
    berth,
    app.app_id,
    asking(`
_, found = ask("GET", "/v1/apps/" + os.environ["BERTH_APP_ID"])
status, answer = ask("POST", f"/v1/functions/{args[0]}/invocations", {"args": [args[1], 20]})
return {"app": found["name"], "result": answer["result"], "environment": dict(os.environ)}`),
  );
  const result = await berth.call<{ app: string; result: number; environment: Record<string, string> }>(
    outer.function_id,
    { args: [middle.function_id, double.function_id] },
  );
  expect(result).toMatchObject({ app: 'inside', result: 42 });
  const { environment } = result;
  expect(environment.BERTH_RUN_TOKEN).toBeUndefined();
  expect(JSON.stringify(environment)).not.toMatch(/eyJ|ak-|bk_live_/);
});

test('what is not about calling functions is refused, whatever the request says of itself', async () => {
  const { admin_api_key, token_id } = platform.credentials();
  const curious = await makeFunction(
    berth,
    app.app_id,
    asking(`
refused = {}
for method, path in [("GET", "/v1/api-tokens"), ("POST", "/v1/api-tokens"), ("GET", "/v1/nodes"), ("GET", "/v1/workspaces"),
                     ("POST", "/v1/apps"), ("DELETE", "/v1/apps/" + os.environ["BERTH_APP_ID"]), ("GET", "/v1/containers"),
                     ("GET", "/openapi.json"), ("GET", "/healthz"), ("GET", "/runtime/x")]:
    refused[method + " " + path.replace(os.environ["BERTH_APP_ID"], "own")] = ask(method, path, {"name": "x"} if method == "POST" else None)[0]
return {"refused": refused,
        "as admin": ask("GET", "/v1/api-tokens", None, {"x-api-key": args[0]})[0],
        "as owner": ask("GET", "/v1/nodes", None, {"Authorization": "Bearer " + args[1]})[0],
        "who": ask("GET", "/v1/whoami")[1]["principal"]}`),
  );
  const { token_secret } = platform.credentials();
  const result = await berth.call(curious.function_id, {
    args: [admin_api_key, `${token_id}.${token_secret}`],
  });
  expect(result).toMatchObject({
    refused: {
      'GET /v1/api-tokens': 403,
      'POST /v1/api-tokens': 403,
      'GET /v1/nodes': 403,
      'GET /v1/workspaces': 403,
      'POST /v1/apps': 403,
      'DELETE /v1/apps/own': 403,
      'GET /v1/containers': 403,
      'GET /openapi.json': 404,
      'GET /healthz': 404,
      'GET /runtime/x': 404,
    },
    // Even a credential that a container has from elsewhere opens nothing on its own socket.
    'as admin': 403,
    'as owner': 403,
    who: { credential_kind: 'container', app_id: app.app_id, function_id: curious.function_id },
  });
});

test("another workspace's functions are not there", async () => {
  const { organization_id } = platform.credentials();
  const made = await platform.request('POST', '/v1/workspaces', {
    auth: false,
    headers: { 'x-api-key': platform.credentials().admin_api_key },
    body: JSON.stringify({ name: 'another', organization_id }),
  });
  const { workspace_id } = made.body as { workspace_id: string };
  const token = await platform.request('POST', '/v1/api-tokens', {
    auth: false,
    headers: { 'x-api-key': platform.credentials().admin_api_key },
    body: JSON.stringify({ workspace_id, name: 'another' }),
  });
  const { token_id, token_secret } = token.body as { token_id: string; token_secret: string };
  const { api_url } = platform.credentials();
  const other = platform.client({ apiUrl: api_url, tokenId: token_id, tokenSecret: token_secret });
  const theirApp = await other.apps.create('theirs');
  const theirs = await makeFunction(other, theirApp.app_id, python('def run(): return 1'));

  const curious = await makeFunction(
    berth,
    app.app_id,
    asking(`
app_id, function_id = args
return [ask("GET", "/v1/apps/" + app_id)[0], ask("GET", "/v1/functions/" + function_id)[0],
        ask("POST", f"/v1/functions/{function_id}/spawn", {})[0],
        [each["name"] for each in ask("GET", "/v1/apps")[1]["data"] if each["name"] == "theirs"]]`),
  );
  expect(await berth.call(curious.function_id, { args: [theirApp.app_id, theirs.function_id] })).toEqual([
    404,
    404,
    404,
    [],
  ]);
});

test('a Node function calls with the SDK as it is: nothing to configure', async () => {
  const double = await makeFunction(berth, app.app_id, python('def run(x): return 2 * x'));
  const { outputFiles } = await build({
    stdin: {
      contents: `import { Berth } from '@berth/sdk';
        export async function run(functionId, x) {
          const berth = new Berth();
          const results = await Promise.all([x, x + 1].map((each) => berth.call(functionId, { args: [each] })));
          await berth.close();
          return results;
        }`,
      resolveDir: root,
    },
    bundle: true,
    write: false,
    platform: 'node',
    format: 'cjs',
    target: 'node18',
    tsconfig: join(root, 'tsconfig.json'),
  });
  const outer = await makeFunction(berth, app.app_id, {
    runtime: 'node',
    handler: 'main:run',
    files: { 'main.cjs': outputFiles[0]!.text },
  });
  expect(await berth.call(outer.function_id, { args: [double.function_id, 20] })).toEqual([40, 42]);
});

test('the socket is for its container alone, and gone with it', async () => {
  const echo = await makeFunction(berth, app.app_id, python('def run(): return 1', { scaledown_window: 1 }));
  const { container_id } = await berth.functions.invoke(echo.function_id);
  const runFolders = join(platform.dataDir, 'runner/run');
  const socket = join(runFolders, container_id, 'api.sock');
  // Whoever is not the runner's own user cannot pass the folder above.
  expect(statSync(runFolders).mode & 0o077).toBe(0);
  expect(readdirSync(join(runFolders, container_id))).toContain('api.sock');
  await eventually(() => !existsSync(socket), 20_000);
});
