/** What is said on the connection of one web request. Payloads are the pieces of bodies and the messages themselves. */
import { ProtocolError } from './frame';

/** The request, as the runner says it first. */
export interface SessionRequest {
  type: 'request';
  method: string;
  scheme: string;
  authority: string;
  root_path: string;
  path: string;
  query: string;
  http_version: string;
  headers: [name: string, value: string][];
  client_host: string;
  client_port: number;
  /** `websocket`: messages follow, not a body. `raw`: the app may accept with 101, then bytes follow. */
  upgrade: 'none' | 'websocket' | 'raw';
}

/** What a worker says. Its container runs hostile code: nothing is believed before `parseSessionMessage`. */
export type SessionWorkerMessage =
  | { type: 'response'; status: number; headers: [name: string, value: string][] }
  | { type: 'body' }
  | { type: 'end' }
  | { type: 'message'; text: boolean }
  | { type: 'close'; code: number; reason: string };

const HEADERS_MAX = 1000;

/** The message in a header. Throws ProtocolError. */
export function parseSessionMessage(header: string): SessionWorkerMessage {
  let read: Record<string, unknown>;
  try {
    read = Object(JSON.parse(header)) as Record<string, unknown>;
  } catch {
    throw new ProtocolError('a header is not JSON');
  }
  switch (read.type) {
    case 'body':
    case 'end':
      return { type: read.type };
    case 'message':
      return { type: 'message', text: read.text === true };
    case 'response':
      if (!isStatus(read.status) || !areHeaders(read.headers)) break;
      return { type: 'response', status: read.status, headers: read.headers };
    case 'close':
      if (!isCode(read.code) || typeof read.reason !== 'string') break;
      return { type: 'close', code: read.code, reason: read.reason };
  }
  throw new ProtocolError('a header of a session is none that there is');
}

const isStatus = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 100 && (value as number) <= 599;

const isCode = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 65_535;

const areHeaders = (value: unknown): value is [string, string][] =>
  Array.isArray(value) &&
  value.length <= HEADERS_MAX &&
  value.every(
    (pair) =>
      Array.isArray(pair) && pair.length === 2 && typeof pair[0] === 'string' && typeof pair[1] === 'string',
  );
