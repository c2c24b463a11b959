import { IDEMPOTENCY_TABLE } from '@berth/database';
import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Initial1795543200000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE workspace (
        id text COLLATE "C" CONSTRAINT workspace_pkey PRIMARY KEY,
        organization_id text COLLATE "C" NOT NULL,
        name text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT workspace_organization_name UNIQUE (organization_id, name)
      )`);
    await runner.query('CREATE INDEX workspace_organization ON workspace (organization_id, id)');
    await runner.query(`
      CREATE TABLE environment (
        id text COLLATE "C" CONSTRAINT environment_pkey PRIMARY KEY,
        workspace_id text COLLATE "C" NOT NULL CONSTRAINT environment_workspace REFERENCES workspace,
        name text COLLATE "C" NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT environment_workspace_name UNIQUE (workspace_id, name)
      )`);
    await runner.query(IDEMPOTENCY_TABLE);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE idempotency, environment, workspace');
  }
}
