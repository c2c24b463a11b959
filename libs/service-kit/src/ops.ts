import { createServer, type Server } from 'node:http';
import { metricsText, startMetrics } from './metrics';

/** The operators' port: `/metrics`, `/healthz` (the process lives), `/readyz` (its services serve). */
export async function openOpsPort(listen: string, ready: () => boolean | Promise<boolean>): Promise<Server> {
  startMetrics();
  const server = createServer((request, response) => {
    void (async () => {
      const answer = (status: number, body: string, type = 'text/plain; charset=utf-8') =>
        response.writeHead(status, { 'content-type': type }).end(body);
      if (request.url === '/healthz') return answer(200, 'ok\n');
      if (request.url === '/readyz')
        return (await ready()) ? answer(200, 'ready\n') : answer(503, 'not ready\n');
      if (request.url === '/metrics') return answer(200, await metricsText(), 'text/plain; version=0.0.4');
      return answer(404, 'Here are /metrics, /healthz and /readyz.\n');
    })().catch(() => response.destroy());
  });
  const [host, port] = splitAddress(listen);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  server.unref();
  return server;
}

/** `host:port` in two. */
export function splitAddress(address: string): [string, number] {
  const colon = address.lastIndexOf(':');
  return [address.slice(0, colon), Number(address.slice(colon + 1))];
}
