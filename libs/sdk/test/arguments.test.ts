import { argumentFields } from '../src/blobs';
import type { Http } from '../src/http';

const none = {} as Http; // Nothing is sent: small arguments stand in the request itself.

test('what goes with the arguments of a call is part of its request', async () => {
  const webhook = { url: 'https://example.com/hook' };
  const fields = await argumentFields(none, { args: [1], method: 'run', webhook });
  expect(JSON.parse(`{${fields}}`)).toEqual({ args: [1], kwargs: {}, method: 'run', webhook });
  expect(JSON.parse(`{${await argumentFields(none, {})}}`)).toEqual({ args: [], kwargs: {} });
});
