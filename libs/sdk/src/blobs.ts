/** Values that are too large for a request: trees of one file, moved a chunk at a time. */
import { createHash } from 'node:crypto';
import type { Arguments } from './failed';
import type { Http } from './http';
import type { FunctionOutput, Tree } from './types';
import { CHUNK_BYTES } from './upload';

/** Stores bytes in the workspace; the id is what `blob` of a call takes. The same bytes are the same blob. */
export async function putBlob(http: Http, bytes: Uint8Array): Promise<string> {
  const chunks: string[] = [];
  for (let start = 0; start < bytes.length; start += CHUNK_BYTES) {
    const chunk = bytes.subarray(start, start + CHUNK_BYTES);
    const hash = createHash('sha256').update(chunk).digest('hex');
    chunks.push(hash);
    const { missing } = await http.json<{ missing: string[] }>('POST', '/v1/chunks/missing', {
      body: { hashes: [hash] },
    });
    if (missing.length > 0) await http.json('PUT', `/v1/chunks/${hash}`, { bytes: chunk });
  }
  const entry = { path: 'value', executable: false, size: bytes.length, chunks };
  const { tree_id } = await http.json<Tree>('POST', '/v1/trees', { body: { entries: [entry] } });
  return tree_id;
}

/** The bytes of a blob, a chunk at a time, each checked. */
export async function* readBlob(http: Http, blob: string): AsyncGenerator<Buffer> {
  const { entries } = await http.json<Tree>('GET', `/v1/trees/${encodeURIComponent(blob)}`);
  for (const hash of entries.flatMap(({ chunks }) => chunks)) {
    const parts = [];
    for await (const part of await http.bytes(`/v1/chunks/${hash}`)) parts.push(part);
    const chunk = Buffer.concat(parts);
    if (createHash('sha256').update(chunk).digest('hex') !== hash) {
      throw new Error(`A chunk of ${blob} came damaged: read it again.`);
    }
    yield chunk;
  }
}

async function getBlob(http: Http, blob: string): Promise<Buffer> {
  const chunks = [];
  for await (const chunk of readBlob(http, blob)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/**
 * Arguments in JSON that are sent in a request itself. The platform takes 16 MiB, and what goes with them needs a little.
 * No less than that: functions in Node take arguments from requests alone. Bytes.
 */
const INLINE_BYTES_MAX = 16 * 1024 * 1024 - 64 * 1024;

/** Arguments as fields of a request, in JSON: as they are, or as a blob where they are too large; and what goes with them. */
export async function argumentFields(
  http: Http,
  { args = [], kwargs = {}, ...others }: Arguments,
): Promise<string> {
  const text = JSON.stringify({ args, kwargs });
  const fields =
    Buffer.byteLength(text) <= INLINE_BYTES_MAX
      ? text.slice(1, -1)
      : `"blob":"${await putBlob(http, Buffer.from(text))}","format":"json"`;
  const rest = JSON.stringify(others).slice(1, -1);
  return rest ? `${fields},${rest}` : fields;
}

/** The result of a success, wherever it is. */
export async function resultOf<R>(
  http: Http,
  { result, result_blob: blob }: Pick<FunctionOutput<R>, 'result' | 'result_blob'>,
): Promise<R> {
  return blob ? (JSON.parse((await getBlob(http, blob)).toString()) as R) : (result as R);
}
