/** Posts to an address that a tenant named: where it leads is checked where it is connected to, not before. */
import { lookup } from 'node:dns';
import { request as requestHttp, type RequestOptions } from 'node:http';
import { request as requestHttps } from 'node:https';
import { isIP, type BlockList, type LookupFunction } from 'node:net';
import { mayReach } from '../domain/networks';

const WITHIN_MS = 10_000;

export class Refused extends Error {}

const refusal = (host: string) =>
  new Refused(
    `${host} is an address of this machine or a private network, and the platform does not allow that.`,
  );

/**
 * The status of the answer; its body is not read, redirects are not followed. Throws what kept it from coming, without a
 * word of the URL's path.
 */
export function post(
  target: string,
  headers: Record<string, string>,
  body: Buffer,
  allowed: BlockList,
): Promise<number> {
  const url = new URL(target);
  // A literal address is never looked up; a URL has an IPv6 one in brackets.
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (isIP(host) && !mayReach(host, allowed)) return Promise.reject(refusal(host));

  const checkedLookup: LookupFunction = (hostname, options, callback) =>
    lookup(hostname, { ...options, all: true }, (error, found) => {
      if (error) return callback(error, []);
      const reachable = found.filter(({ address }) => mayReach(address, allowed));
      if (reachable.length === 0) return callback(refusal(hostname), []);
      const [first] = reachable;
      if (options.all) callback(null, reachable);
      else callback(null, first!.address, first!.family);
    });
  const deadline = AbortSignal.timeout(WITHIN_MS);
  const options: RequestOptions = {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json', 'content-length': body.length },
    lookup: checkedLookup,
    // One connection each, so that none that was checked for one host serves another.
    agent: false,
    signal: deadline,
  };
  return new Promise((resolve, reject) => {
    const send = url.protocol === 'https:' ? requestHttps : requestHttp;
    const request = send(url, options, (response) => {
      resolve(response.statusCode ?? 0);
      response.on('error', () => undefined);
      response.destroy();
    });
    request.on('error', (error) =>
      reject(deadline.aborted ? new Error(`no answer within ${WITHIN_MS / 1000} s`) : error),
    );
    request.end(body);
  });
}
