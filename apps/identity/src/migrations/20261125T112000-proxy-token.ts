import type { MigrationInterface, QueryRunner } from 'typeorm';

export class ProxyToken1795605600000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE proxy_token (
        id text COLLATE "C" CONSTRAINT proxy_token_pkey PRIMARY KEY,
        secret_hash bytea NOT NULL CONSTRAINT proxy_token_secret_hash CHECK (octet_length(secret_hash) = 32),
        organization_id text COLLATE "C" NOT NULL,
        workspace_id text COLLATE "C" NOT NULL,
        name text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz,
        revoked_at timestamptz
      )`);
    await runner.query('CREATE INDEX proxy_token_workspace ON proxy_token (workspace_id, id)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE proxy_token');
  }
}
