import { argumentFields } from '../src/blobs';
import type { Http } from '../src/http';

const none = {} as Http; // Nothing is sent: small arguments stand in the request itself.

test('what goes with the arguments of a call is part of its request', async () => {
  const webhook = { url: 'https://example.com/hook' };
  const fields = await argumentFields(none, { args: [1], method: 'run', webhook });
  expect(JSON.parse(`{${fields}}`)).toEqual({ args: [1], kwargs: {}, method: 'run', webhook });
  expect(JSON.parse(`{${await argumentFields(none, {})}}`)).toEqual({ args: [], kwargs: {} });
});

test('arguments up to what one request carries stand in it, by their bytes; larger ones are a blob', async () => {
  const stored: string[] = [];
  const http = {
    json: async (method: string, path: string) => {
      stored.push(`${method} ${path}`);
      return path === '/v1/trees' ? { tree_id: 'tr-1' } : { missing: [] };
    },
  } as unknown as Http;
  const large = 'x'.repeat(15 * 1024 * 1024);
  expect(JSON.parse(`{${await argumentFields(http, { args: [large] })}}`)).toEqual({
    args: [large],
    kwargs: {},
  });
  expect(stored).toEqual([]);
  // Two bytes each: as many characters as half of what a request carries, and more bytes than it carries.
  const wide = 'é'.repeat(8 * 1024 * 1024);
  expect(JSON.parse(`{${await argumentFields(http, { args: [wide], method: 'run' })}}`)).toEqual({
    blob: 'tr-1',
    format: 'json',
    method: 'run',
  });
  expect(stored).toContain('POST /v1/trees');
});
