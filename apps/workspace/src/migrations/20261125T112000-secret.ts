import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Variables for containers, sealed: this schema alone opens none. */
export class Secret1795605600000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE secret (
        id text COLLATE "C" CONSTRAINT secret_pkey PRIMARY KEY,
        workspace_id text COLLATE "C" NOT NULL CONSTRAINT secret_workspace REFERENCES workspace,
        environment_id text COLLATE "C" NOT NULL CONSTRAINT secret_environment REFERENCES environment,
        name text COLLATE "C" NOT NULL,
        variables text[] NOT NULL,
        sealed bytea NOT NULL,
        key_id text COLLATE "C" NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT secret_environment_name UNIQUE (environment_id, name),
        CONSTRAINT secret_variables CHECK (cardinality(variables) > 0)
      )`);
    await runner.query('CREATE INDEX secret_workspace_id ON secret (workspace_id, id)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE secret');
  }
}
