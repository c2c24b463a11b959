import { BerthError } from '@berth/service-kit';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;
const VARIABLE_LENGTH_MAX = 255;
/** Of all variables together; they travel with each container. Bytes. */
const ENV_BYTES_MAX = 64 * 1024;

const refuse = (field: string, why: string) => new BerthError('invalid', `${field} ${why}.`, { field });

/** Errors: `invalid`. Names of secrets stand in commands and in the definitions of functions, so they are plain. */
export function checkSecretName(name: string): void {
  if (NAME.test(name)) return;
  throw refuse('name', "must be 1 to 63 of a-z, A-Z, 0-9, '-', '_', '.', beginning with a letter or digit");
}

/** Errors: `invalid`, without a word of a value. */
export function checkSecretEnv(env: Readonly<Record<string, string>>): void {
  const variables = Object.entries(env);
  if (variables.length === 0) throw refuse('env', 'is empty: give at least one variable, as {NAME: value}');
  let bytes = 0;
  for (const [name, value] of variables) {
    // Who writes `value=NAME` by mistake must not find the value in an error.
    if (name.length > VARIABLE_LENGTH_MAX || !VARIABLE.test(name)) {
      throw refuse('env', 'has a name that is not letters, digits and _, or begins with a digit');
    }
    if (name.startsWith('BERTH_')) {
      throw refuse('env', `may not set ${name}: BERTH_ names are the platform's`);
    }
    if (value.includes('\0')) throw refuse('env', `has a value with NUL in it (${name})`);
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
  }
  if (bytes > ENV_BYTES_MAX) throw refuse('env', `is larger than ${ENV_BYTES_MAX} bytes`);
}

/** The names of variables as lists show them. */
export const variablesOf = (env: Readonly<Record<string, string>>): string[] => Object.keys(env).sort();

/** What a secret that is not there gets, and one of another workspace. */
export const noSuchSecret = () =>
  new BerthError('not_found', 'No such secret in this workspace: GET /v1/secrets lists those there are.', {
    field: 'secret_id',
  });

/** What a container is told that cannot start without them. */
export const secretsAreMissing = (names: readonly string[], environment: string) =>
  new BerthError(
    'not_found',
    `The environment ${environment} has no secret ${names.join(', ')}: make it again, or leave it out of the function.`,
    { field: 'names' },
  );
