import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What containers are made of: one row for each definition of a workspace. */
export class Images1795608000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE image (
        id text COLLATE "C" CONSTRAINT image_pkey PRIMARY KEY,
        workspace_id text COLLATE "C" NOT NULL,
        content_hash text COLLATE "C" NOT NULL,
        definition jsonb NOT NULL,
        state text NOT NULL DEFAULT 'queued',
        attempt integer NOT NULL DEFAULT 0,
        losses integer NOT NULL DEFAULT 0,
        node_id text COLLATE "C",
        lease_until timestamptz,
        error jsonb,
        created_at timestamptz NOT NULL DEFAULT now(),
        queued_at timestamptz NOT NULL DEFAULT now(),
        started_at timestamptz,
        finished_at timestamptz,
        CONSTRAINT image_content UNIQUE (workspace_id, content_hash),
        CONSTRAINT image_state CHECK (state IN ('queued', 'building', 'ready', 'failed')),
        CONSTRAINT image_lease CHECK ((state = 'building') = (lease_until IS NOT NULL)),
        CONSTRAINT image_final CHECK ((state IN ('ready', 'failed')) = (finished_at IS NOT NULL)),
        CONSTRAINT image_error CHECK ((state = 'failed') = (error IS NOT NULL))
      )`);
    await runner.query(`CREATE INDEX image_open ON image (queued_at) WHERE state IN ('queued', 'building')`);
    await runner.query('CREATE INDEX image_finished ON image (finished_at)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE image');
  }
}
