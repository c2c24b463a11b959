import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Initial1795595400000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE usage_interval (
        container_id text COLLATE "C" NOT NULL,
        sequence integer NOT NULL,
        organization_id text COLLATE "C" NOT NULL,
        workspace_id text COLLATE "C" NOT NULL,
        app_id text COLLATE "C" NOT NULL,
        function_id text COLLATE "C" NOT NULL,
        node_id text COLLATE "C" NOT NULL,
        started_at timestamptz NOT NULL,
        ended_at timestamptz NOT NULL,
        millicores integer NOT NULL,
        memory integer NOT NULL,
        gpu text[] NOT NULL DEFAULT '{}',
        last boolean NOT NULL DEFAULT false,
        received_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT usage_interval_pkey PRIMARY KEY (container_id, sequence),
        CONSTRAINT usage_interval_span CHECK (ended_at >= started_at),
        CONSTRAINT usage_interval_held CHECK (sequence >= 0 AND millicores >= 0 AND memory >= 0)
      )`);
    await runner.query(`
      CREATE INDEX usage_interval_workspace
        ON usage_interval (workspace_id, started_at, container_id, sequence)`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE usage_interval');
  }
}
