import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Initial1795543200000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE tree (
        id text COLLATE "C" CONSTRAINT tree_pkey PRIMARY KEY,
        workspace_id text COLLATE "C" NOT NULL,
        content_hash text COLLATE "C" NOT NULL
          CONSTRAINT tree_content_hash CHECK (content_hash ~ '^[0-9a-f]{64}$'),
        manifest jsonb NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT tree_workspace_content UNIQUE (workspace_id, content_hash)
      )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE tree');
  }
}
