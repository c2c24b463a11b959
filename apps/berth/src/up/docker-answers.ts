import { existsSync } from 'node:fs';
import { request } from 'node:http';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** The Docker Engine that is asked first: the one that the environment names, or the usual sockets. */
export function usualDockerHost(named: string | undefined): string {
  if (named) return named;
  const sockets = ['/var/run/docker.sock', join(homedir(), '.docker/run/docker.sock')];
  return `unix://${sockets.find((path) => existsSync(path)) ?? sockets[0]}`;
}

/** Whether a Docker Engine answers there, within two seconds. */
export function dockerAnswers(host: string): Promise<boolean> {
  const target = host.startsWith('unix://')
    ? { socketPath: host.slice('unix://'.length) }
    : { hostname: new URL(host).hostname, port: new URL(host).port || 2375 };
  return new Promise((resolve) => {
    const ping = request({ ...target, path: '/_ping', timeout: 2000 }, (response) => {
      response.resume();
      // A port that wants TLS says so with a 400: its client will know the certificates.
      resolve((response.statusCode ?? 500) < 500);
    });
    ping.once('timeout', () => ping.destroy());
    ping.once('error', () => resolve(false));
    ping.end();
  });
}
