import type { Sql } from '@berth/database';

export interface NewWish {
  owner: string;
  containers: number;
  revision: bigint;
}

/** Whether this is the newest word of its owner; whoever is first holds the owner until the transaction ends. */
export async function recordWish(tx: Sql, { owner, containers, revision }: NewWish): Promise<boolean> {
  const rows = await tx.prepared(
    'record-wish',
    `INSERT INTO wish AS w (owner, containers, revision) VALUES ($1, $2, $3)
     ON CONFLICT (owner) DO UPDATE SET containers = excluded.containers, revision = excluded.revision
       WHERE w.revision < excluded.revision
     RETURNING owner`,
    [owner, containers, String(revision)],
  );
  return rows.length > 0;
}
