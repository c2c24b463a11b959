import type { OpenSecretsRequest, OpenSecretsResponse } from '@berth/contracts/workspace/v1/secret';
import type { Context } from '../context';
import { secretsAreMissing } from '../domain/secret';
import { listSealedSecrets } from '../store/secret-store';

/** The variables of secrets for a container that starts; of two with the same one, the later secret's. */
export const openSecrets =
  ({ db, seal }: Context) =>
  async ({ workspaceId, environment, names }: OpenSecretsRequest): Promise<OpenSecretsResponse> => {
    const found = await listSealedSecrets(db, { workspaceId, environment, names });
    const byName = new Map(found.map((row) => [row.name, row]));
    const missing = names.filter((name) => !byName.has(name));
    if (missing.length > 0) throw secretsAreMissing(missing, environment);
    const env: Record<string, string> = {};
    for (const name of names) {
      const { id, sealed, key_id } = byName.get(name)!;
      const plain = seal.open(id, { keyId: key_id, sealed });
      Object.assign(env, JSON.parse(plain.toString()) as Record<string, string>);
    }
    return { env };
  };
