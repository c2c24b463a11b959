import { isUtf8 } from 'node:buffer';
import { BerthError } from '@berth/service-kit';

/**
 * What a payload is. Arguments are `{"args":[…],"kwargs":{…}}` as `json`, or a pickled pair of both; results are a
 * document or a pickle. Nothing but JSON is ever read here: all else is bytes with a name.
 */
export type PayloadFormat = 'json' | 'pickle';
const FORMATS: readonly PayloadFormat[] = ['json', 'pickle'];

export const isFormat = (name: string): name is PayloadFormat =>
  (FORMATS as readonly string[]).includes(name);

/** Arguments and results that travel in one message and one row; larger ones are blobs of sync. Bytes. */
export const PAYLOAD_BYTES_MAX = 16 * 1024 * 1024;

/** As handlers are spelled: what begins with _ is nobody's to call. */
const METHOD = /^[\p{L}$][\p{L}\p{N}_$]{0,127}$/u;

const startsWith = (json: Uint8Array, character: string): boolean => {
  for (const byte of json) {
    if (byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d) continue;
    return byte === character.charCodeAt(0);
  }
  return false;
};

/** What a blob may hold: a container has to have it in its memory. Bytes. */
export const BLOB_BYTES_MAX = 512 * 1024 * 1024;

/** Whether a tree with these entries is a blob. */
export const isBlob = (entries: readonly { size: bigint }[]): boolean =>
  entries.length === 1 && entries[0]!.size <= BLOB_BYTES_MAX;

/** Arguments as a caller gives them: as two documents of JSON, or as bytes of a format. */
export interface GivenArguments {
  args?: Buffer | undefined;
  kwargs?: Buffer | undefined;
  payload?: Buffer | undefined;
  format?: string;
  /** The tree that holds the payload. */
  blob?: string;
  /** What is called of a class. */
  method?: string | undefined;
}

export interface Payload {
  format: PayloadFormat;
  /** Empty where a blob holds it. */
  payload: Buffer;
  blob: string | undefined;
}

/** The arguments as a container gets them. `at` goes before the names of fields. Errors: `invalid`, `too_large`. */
export function composePayload(given: GivenArguments, at = ''): Payload {
  if (given.blob) return fromBlob(given, given.blob, at);
  const composed =
    given.payload === undefined ? fromDocuments(given, at) : fromBytes(given, given.payload, at);
  if (composed.payload.length > PAYLOAD_BYTES_MAX) {
    throw new BerthError(
      'too_large',
      `The arguments are larger than ${PAYLOAD_BYTES_MAX} bytes: upload them as a tree of one file and give its id as blob.`,
      { field: `${at}${given.payload === undefined ? 'args' : 'payload'}` },
    );
  }
  return composed;
}

/** The JSON inside is put together, never parsed: a number that JavaScript cannot hold arrives as it was sent. */
function fromDocuments({ args, kwargs, format, method }: GivenArguments, at: string): Payload {
  if (method && !METHOD.test(method)) throw invalid(`${at}method`, 'is no name of a method.');
  if (format) throw invalid(`${at}format`, 'says what payload is, and there is none: leave it out.');
  // The gateway has checked that each is JSON; here only which kind.
  if (args && !startsWith(args, '[')) throw invalid(`${at}args`, 'must be a list, such as [2012].');
  if (kwargs && !startsWith(kwargs, '{')) {
    throw invalid(`${at}kwargs`, 'must be an object, such as {"year": 2012}.');
  }
  const payload = Buffer.concat([
    Buffer.from('{"args":'),
    args ?? Buffer.from('[]'),
    Buffer.from(',"kwargs":'),
    kwargs ?? Buffer.from('{}'),
    Buffer.from(method ? `,"method":${JSON.stringify(method)}}` : '}'),
  ]);
  return { format: 'json', payload, blob: undefined };
}

function fromBytes(
  { args, kwargs, format = '', method }: GivenArguments,
  payload: Buffer,
  at: string,
): Payload {
  if (args || kwargs || method) {
    throw invalid(`${at}payload`, 'holds all arguments, and the method: leave args, kwargs and method out.');
  }
  const named = formatNamed(format, at);
  if (named === 'json' && !(startsWith(payload, '{') && isJson(payload))) {
    throw invalid(`${at}payload`, 'must be JSON of the form {"args": [...], "kwargs": {...}}.');
  }
  return { format: named, payload, blob: undefined };
}

function fromBlob(
  { args, kwargs, payload, format = '', method }: GivenArguments,
  blob: string,
  at: string,
): Payload {
  if (args || kwargs || payload || method) {
    throw invalid(
      `${at}blob`,
      'holds all arguments, and the method: leave args, kwargs, payload and method out.',
    );
  }
  return { format: formatNamed(format, at), payload: Buffer.alloc(0), blob };
}

function formatNamed(name: string, at: string): PayloadFormat {
  const named = name || 'json';
  if (!isFormat(named)) throw invalid(`${at}format`, `must be one of ${FORMATS.join(', ')}.`);
  return named;
}

const invalid = (field: string, what: string) => new BerthError('invalid', `${field} ${what}`, { field });

/** Whether these bytes are one JSON document. What is kept is the bytes: a number keeps all its digits. */
export function isJson(bytes: Buffer): boolean {
  if (!isUtf8(bytes)) return false;
  try {
    JSON.parse(bytes.toString('utf8'));
    return true;
  } catch {
    return false;
  }
}
