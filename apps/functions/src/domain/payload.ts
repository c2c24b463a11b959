import { isUtf8 } from 'node:buffer';
import { BerthError } from '@berth/service-kit';

/** The only format so far: `{"args":[…],"kwargs":{…}}`. */
export const PAYLOAD_FORMAT = 'json';

/** Arguments and results travel in one message and one row; larger things go through sync. Bytes. */
export const PAYLOAD_BYTES_MAX = 16 * 1024 * 1024;

const startsWith = (json: Uint8Array, character: string): boolean => {
  for (const byte of json) {
    if (byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d) continue;
    return byte === character.charCodeAt(0);
  }
  return false;
};

/**
 * The arguments as a container gets them. The JSON inside is put together, never parsed: a number that JavaScript
 * cannot hold arrives as it was sent. `at` names the input among several. Errors: `invalid`, `too_large`.
 */
export function composePayload(
  args: Uint8Array | undefined,
  kwargs: Uint8Array | undefined,
  at = '',
): Buffer {
  // The gateway has checked that each is JSON; here only which kind.
  if (args && !startsWith(args, '[')) {
    throw new BerthError('invalid', `${at}args must be a list, such as [2012].`, { field: `${at}args` });
  }
  if (kwargs && !startsWith(kwargs, '{')) {
    throw new BerthError('invalid', `${at}kwargs must be an object, such as {"year": 2012}.`, {
      field: `${at}kwargs`,
    });
  }
  const payload = Buffer.concat([
    Buffer.from('{"args":'),
    args ?? Buffer.from('[]'),
    Buffer.from(',"kwargs":'),
    kwargs ?? Buffer.from('{}'),
    Buffer.from('}'),
  ]);
  if (payload.length > PAYLOAD_BYTES_MAX) {
    throw new BerthError(
      'too_large',
      `The arguments are larger than ${PAYLOAD_BYTES_MAX} bytes: upload them as a tree and pass its id.`,
      { field: `${at}args` },
    );
  }
  return payload;
}

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
