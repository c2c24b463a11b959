import type { Context } from '../context';
import { holdSecretsOfOtherKeys, resealSecret, type SealedSecret } from '../store/secret-store';

const BATCH = 100;

/**
 * Seals under the current key what an older one sealed, batch by batch; done when it has looked at all, and safe to run
 * from several places at once. One that cannot be opened stays as it is, and how many there are of these is said.
 */
export async function resealSecrets({ db, seal, log }: Context): Promise<void> {
  let resealed = 0;
  let lost = 0;
  const openIfPossible = ({ id, sealed, key_id }: SealedSecret): Buffer | undefined => {
    try {
      return seal.open(id, { keyId: key_id, sealed });
    } catch (err) {
      if (lost++ === 0)
        log.error({ err, secretId: id }, 'a secret cannot be opened, so it keeps its old key');
      return undefined;
    }
  };
  for (let after: string | undefined = ''; after !== undefined;) {
    const from: string = after;
    after = await db.transact(async (tx) => {
      const batch = await holdSecretsOfOtherKeys(tx, seal.keyId, from, BATCH);
      for (const secret of batch) {
        const plain = openIfPossible(secret);
        if (!plain) continue;
        await resealSecret(tx, secret.id, seal.close(secret.id, plain));
        resealed++;
      }
      return batch.length < BATCH ? undefined : batch.at(-1)!.id;
    });
  }
  if (resealed + lost > 0) log.info({ resealed, lost }, 'secrets were sealed under the current key');
}
