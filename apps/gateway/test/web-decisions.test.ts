import { webBounds } from '../src/web/bounds';
import { lengthIn, requestHeaders, responseHeaders } from '../src/web/headers';
import { webTarget } from '../src/web/target';

describe('the target', () => {
  test.each([
    ['/w/app-fn-1', '/', ''],
    ['/w/app-fn-1/', '/', ''],
    ['/w/app-fn-1/a/../b//c', '/a/../b//c', ''],
    ['/w/app-fn-1/%2e%2e/x?q=/w/other', '/%2e%2e/x', 'q=/w/other'],
    ['/w/app-fn-1?q=1', '/', 'q=1'],
    ['http://other.example/w/app-fn-1/x', '/x', ''],
  ])('%s is for the app', (url, path, query) => {
    expect(webTarget(url, 'localhost:4600', undefined)).toMatchObject({
      label: 'app-fn-1',
      rootPath: '/w/app-fn-1',
      path,
      query,
    });
  });

  test('an absolute target names the host, whatever Host says', () => {
    expect(webTarget('http://a.run.test/x', 'b.run.test', 'run.test')).toMatchObject({
      label: 'a',
      authority: 'a.run.test',
      path: '/x',
    });
  });

  test.each([
    ['/v1/apps', 'localhost'],
    ['/w/', 'localhost'],
    ['/w/-bad-/x', 'localhost'],
    ['/w/a b/x', 'localhost'],
    ['/w/app#x', 'localhost'],
    ['/../w/app', 'localhost'],
    ['//w/app', 'localhost'],
    ['*', 'localhost'],
    ['/w/app', 'local host'],
    ['/w/app', 'a@b'],
    ['/w/app', undefined],
    [`/w/${'a'.repeat(64)}`, 'localhost'],
  ])('%s at %s is not', (url, host) => {
    expect(webTarget(url, host, undefined)).toBeUndefined();
  });

  test('with a domain each label is a host, and the paths are closed', () => {
    expect(webTarget('/x?y', 'App-Fn-1.Run.Test:8443', 'run.test')).toEqual({
      label: 'app-fn-1',
      rootPath: '',
      path: '/x',
      query: 'y',
      authority: 'app-fn-1.run.test:8443',
    });
    for (const host of ['run.test', 'localhost', 'a.run.test.evil.com', 'evilrun.test']) {
      expect(webTarget('/w/app-fn-1/x', host, 'run.test')).toBeUndefined();
    }
  });
});

describe('headers of a request', () => {
  const origin = {
    scheme: 'https',
    authority: 'example.com',
    rootPath: '/w/x',
    clientHost: '192.0.2.7',
    requestId: 'id',
  };
  const names = (raw: string[], keepUpgrade = false) =>
    Object.fromEntries(
      requestHeaders(raw, origin, keepUpgrade).map(({ name, value }) => [name, value] as const),
    );
  const added = {
    host: 'example.com',
    'x-forwarded-for': '192.0.2.7',
    'x-forwarded-host': 'example.com',
    'x-forwarded-proto': 'https',
    'x-forwarded-prefix': '/w/x',
    'x-request-id': 'id',
  };

  test('those of the connection, of the gate, and what a client says of itself stay here', () => {
    const raw = Object.entries({
      Host: 'spoofed',
      Connection: 'close, X-Secret-Hop',
      'X-Secret-Hop': '1',
      'Keep-Alive': '5',
      TE: 'trailers',
      Trailer: 'X-T',
      'Transfer-Encoding': 'chunked',
      Upgrade: 'h2c',
      'Proxy-Authorization': 'Basic x',
      'Proxy-Connection': 'x',
      'Modal-Key': 'wk-1',
      'Modal-Secret': 'ws-1',
      'Berth-Key': 'wk-1',
      'BERTH-SECRET': 'ws-1',
      'X-Forwarded-For': '10.0.0.1',
      'X-Forwarded-Port': '1',
      Forwarded: 'for=10.0.0.1',
      'X-Real-IP': '10.0.0.1',
      'X-Request-Id': 'other',
      Expect: '100-continue',
      Authorization: 'Bearer the-apps-own',
      Cookie: 'a=1',
    }).flat();
    expect(names(raw)).toEqual({ ...added, authorization: 'Bearer the-apps-own', cookie: 'a=1' });
  });

  test('a length cannot be called the connection’s own', () => {
    expect(names(['Connection', 'content-length', 'Content-Length', '5'])['content-length']).toBe('5');
  });

  test('an upgrade is kept for the app that speaks it', () => {
    const raw = ['Connection', 'keep-alive, Upgrade', 'Upgrade', 'websocket', 'Sec-WebSocket-Key', 'k'];
    expect(names(raw, true)).toEqual({
      ...added,
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-key': 'k',
    });
  });
});

describe('headers of a response', () => {
  const of = (headers: [string, string][], options = { sharesOrigin: true, keepUpgrade: false }) =>
    responseHeaders(
      headers.map(([name, value]) => ({ name, value })),
      options,
    );

  test('those of the connection stay here; a service worker stays below its own path', () => {
    expect(
      of([
        ['Content-Type', 'text/html'],
        ['Set-Cookie', 'a=1'],
        ['Set-Cookie', 'b=2'],
        ['Connection', 'x-hop'],
        ['X-Hop', '1'],
        ['Transfer-Encoding', 'chunked'],
        ['Service-Worker-Allowed', '/'],
        ['Content-Length', '5'],
        ['content-length', '5'],
      ]),
    ).toEqual(['Content-Type', 'text/html', 'Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'content-length', '5']);
    expect(of([['Service-Worker-Allowed', '/']], { sharesOrigin: false, keepUpgrade: false })).toHaveLength(
      2,
    );
  });

  test.each([
    ['a line break', [['X-A', 'b\r\nSet-Cookie: c']]],
    ['NUL', [['X-A', 'b\0']]],
    ['a name that is none', [['X A', 'b']]],
    ['an empty name', [['', 'b']]],
    ['what no byte is', [['X-A', '\u0100']]],
    [
      'two lengths',
      [
        ['Content-Length', '5'],
        ['Content-Length', '6'],
      ],
    ],
    ['a length that is no number', [['Content-Length', '+5']]],
    ['a length below nothing', [['Content-Length', '-5']]],
    ['too many', Array.from({ length: 300 }, (_, i) => [`X-${i}`, ''])],
    ['too much', [['X-A', 'x'.repeat(70_000)]]],
  ])('%s makes it no response', (_, headers) => {
    expect(() => of(headers as [string, string][])).toThrow(/response/);
  });

  test('the length is read back', () => {
    expect(lengthIn(['A', 'b', 'content-length', '12'])).toBe(12);
    expect(lengthIn(['A', 'b'])).toBeUndefined();
  });
});

describe('bounds', () => {
  test('so many at a time, each for itself', () => {
    const bounds = webBounds({ heldMax: 2, ratePerSecond: 1000 });
    const [one, two] = [bounds.enter('a'), bounds.enter('a')];
    expect(bounds.enter('a')).toBeUndefined();
    expect(bounds.enter('b')).toBeDefined();
    one!();
    one!(); // Leaving twice is leaving once.
    expect(bounds.enter('a')).toBeDefined();
    expect(bounds.enter('a')).toBeUndefined();
    two!();
    expect(bounds.enter('a')).toBeDefined();
  });

  test('so many in a second, and what is refused does not count', () => {
    let now = 0;
    const bounds = webBounds({ heldMax: 1000, ratePerSecond: 10 }, () => now);
    const enter = () => {
      const leave = bounds.enter('a');
      leave?.();
      return leave !== undefined;
    };
    expect(Array.from({ length: 20 }, enter).filter(Boolean)).toHaveLength(10);
    now = 100;
    expect([enter(), enter()]).toEqual([true, false]);
    now = 10_000;
    expect(Array.from({ length: 20 }, enter).filter(Boolean)).toHaveLength(10);
  });
});
