/** Which headers pass between a client and an app, and which are the connection's or the gate's. */
import type { Header } from '@berth/contracts/gateway/v1/web';

/** Of one connection (RFC 9110, 7.6.1); those that `Connection` names come to them. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
/** The gate's own; an app must not see what opens it. */
export const PROXY_TOKEN_HEADERS = [
  ['modal-key', 'modal-secret'],
  ['berth-key', 'berth-secret'],
] as const;
const GATE = new Set<string>(PROXY_TOKEN_HEADERS.flat());
/** Said by the gateway, so not by the client. */
const SAID_HERE = /^(x-forwarded-.*|forwarded|x-real-ip|x-request-id|host|expect)$/;

const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** What llhttp and the RFC allow in a value, one character a byte. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const HEADERS_MAX = 256;
const HEADERS_LENGTH_MAX = 64 * 1024;

const pairs = function* (raw: readonly string[]): Generator<[string, string]> {
  for (let at = 0; at + 1 < raw.length; at += 2) yield [raw[at]!, raw[at + 1]!];
};

const namedIn = (values: Iterable<string>): Set<string> =>
  new Set([...values].flatMap((value) => value.split(',').map((name) => name.trim().toLowerCase())));

export interface Origin {
  scheme: string;
  authority: string;
  rootPath: string;
  clientHost: string;
  requestId: string;
}

/** A request's headers as its app gets them. `keepUpgrade`: the app itself is asked to upgrade. */
export function requestHeaders(raw: readonly string[], origin: Origin, keepUpgrade: boolean): Header[] {
  const given = [...pairs(raw)].map(([name, value]) => ({ name: name.toLowerCase(), value }));
  const connection = namedIn(given.filter(({ name }) => name === 'connection').map(({ value }) => value));
  const upgrade = given.find(({ name }) => name === 'upgrade')?.value;
  return [
    { name: 'host', value: origin.authority },
    ...given.filter(
      ({ name }) =>
        !HOP_BY_HOP.has(name) &&
        // A length or a host that a client calls its connection's own would leave the request without one.
        (!connection.has(name) || name === 'content-length') &&
        !GATE.has(name) &&
        !SAID_HERE.test(name),
    ),
    ...(keepUpgrade && upgrade
      ? [
          { name: 'connection', value: 'Upgrade' },
          { name: 'upgrade', value: upgrade },
        ]
      : []),
    { name: 'x-forwarded-for', value: origin.clientHost },
    { name: 'x-forwarded-host', value: origin.authority },
    { name: 'x-forwarded-proto', value: origin.scheme },
    ...(origin.rootPath ? [{ name: 'x-forwarded-prefix', value: origin.rootPath }] : []),
    { name: 'x-request-id', value: origin.requestId },
  ];
}

/** What an app answered is no response: the words say why. */
export class BadResponse extends Error {
  override readonly name = 'BadResponse';
}

/** A response's headers as its client gets them, in raw pairs. Throws BadResponse. */
export function responseHeaders(
  given: readonly Header[],
  { sharesOrigin, keepUpgrade }: { sharesOrigin: boolean; keepUpgrade: boolean },
): string[] {
  if (given.length > HEADERS_MAX) throw new BadResponse(`a response has more than ${HEADERS_MAX} headers`);
  let length = 0;
  const connection = namedIn(
    given.filter(({ name }) => name.toLowerCase() === 'connection').map(({ value }) => value),
  );
  const kept: string[] = [];
  const lengths = new Set<string>();
  for (const { name, value } of given) {
    if (!NAME.test(name) || !VALUE.test(value)) throw new BadResponse('a response has a header that is none');
    length += name.length + value.length;
    const lower = name.toLowerCase();
    if (lower === 'content-length') {
      lengths.add(value.trim());
      continue;
    }
    const isUpgrade = keepUpgrade && (lower === 'upgrade' || lower === 'connection');
    if (!isUpgrade && (HOP_BY_HOP.has(lower) || connection.has(lower))) continue;
    // On a shared host a service worker stays below its own path.
    if (sharesOrigin && lower === 'service-worker-allowed') continue;
    kept.push(name, value);
  }
  if (length > HEADERS_LENGTH_MAX) throw new BadResponse('the headers of a response are larger than 64 KiB');
  if (lengths.size > 1) throw new BadResponse('a response has two lengths');
  for (const each of lengths) {
    if (!/^\d{1,15}$/.test(each)) throw new BadResponse('a response has a length that is no number');
    kept.push('content-length', each);
  }
  return kept;
}

/** The length that these raw pairs say; undefined: none. */
export function lengthIn(raw: readonly string[]): number | undefined {
  for (const [name, value] of pairs(raw)) if (name === 'content-length') return Number(value);
  return undefined;
}
