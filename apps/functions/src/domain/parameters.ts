import { BerthError } from '@berth/service-kit';

/** They are a key of the function that is bound to them, and travel with each of its containers. Bytes. */
const PARAMETERS_BYTES_MAX = 2048;

const refuse = (why: string) => new BerthError('invalid', `parameters ${why}.`, { field: 'parameters' });

/** Parameters in the one spelling that all equal ones have. Errors: `invalid`. */
export function canonicalParameters(json: Buffer): string {
  const values = JSON.parse(json.toString()) as unknown;
  if (typeof values !== 'object' || values === null || Array.isArray(values)) {
    throw refuse('must be an object, such as {"size": "large"}');
  }
  const text = JSON.stringify(values, (_, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)))
      : value,
  );
  if (Buffer.byteLength(text) > PARAMETERS_BYTES_MAX) {
    throw refuse(`are larger than ${PARAMETERS_BYTES_MAX} bytes`);
  }
  return text;
}
