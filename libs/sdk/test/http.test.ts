import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Http } from '../src/http';

const listen = (port = 0): Promise<Server> =>
  new Promise((resolve) => {
    const server = createServer((_, response) => response.end('{"is":"here"}'));
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
const portOf = (server: Server) => (server.address() as AddressInfo).port;
const close = (server: Server) =>
  new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
const clientOf = (port: number, patience: { known: number; unknown: number }) =>
  new Http({ apiUrl: `http://127.0.0.1:${port}`, apiKey: 'bk_test_x' } as never, patience);

test('a platform that has answered before is waited for over its restart', async () => {
  const first = await listen();
  const port = portOf(first);
  const http = clientOf(port, { known: 30_000, unknown: 0 });
  await http.json('GET', '/');
  await close(first);

  const asked = http.json('POST', '/', { body: {} });
  await expect(fetch(`http://127.0.0.1:${port}`)).rejects.toThrow('fetch failed');
  const again = await listen(port);
  expect(await asked).toEqual({ is: 'here' });
  await Promise.all([http.close(), close(again)]);
});

test('a platform that has never answered is soon said to be missing', async () => {
  const gone = await listen();
  const port = portOf(gone);
  await close(gone);
  const http = clientOf(port, { known: 3_600_000, unknown: 0 });
  await expect(http.json('GET', '/')).rejects.toThrow('is it running (npm run status)?');
  await http.close();
});

test('a platform that stays away is given up, and a signal ends the wait before', async () => {
  const server = await listen();
  const port = portOf(server);
  const http = clientOf(port, { known: 200, unknown: 0 });
  await http.json('GET', '/');
  await close(server);
  await expect(http.json('GET', '/')).rejects.toThrow('is it running');

  const patient = clientOf(port, { known: 0, unknown: 3_600_000 });
  const asked = patient.json('GET', '/', { signal: AbortSignal.timeout(50) });
  await expect(asked).rejects.toThrow(/abort/i);
  await Promise.all([http.close(), patient.close()]);
});
