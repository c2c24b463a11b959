import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Volumes: a head each, whose files are rows, so that commits which change different files do not meet. */
export class Volume1795606200000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE volume (
        id text COLLATE "C" CONSTRAINT volume_pkey PRIMARY KEY,
        workspace_id text COLLATE "C" NOT NULL,
        environment text COLLATE "C" NOT NULL,
        name text COLLATE "C" NOT NULL,
        revision bigint NOT NULL DEFAULT 0,
        files bigint NOT NULL DEFAULT 0,
        bytes bigint NOT NULL DEFAULT 0,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT volume_environment_name UNIQUE (workspace_id, environment, name),
        CONSTRAINT volume_counts CHECK (revision >= 0 AND files >= 0 AND bytes >= 0)
      )`);
    await runner.query('CREATE INDEX volume_workspace_id ON volume (workspace_id, id)');
    await runner.query(`
      CREATE TABLE volume_file (
        volume_id text COLLATE "C" NOT NULL CONSTRAINT volume_file_volume REFERENCES volume ON DELETE CASCADE,
        path text COLLATE "C" NOT NULL,
        executable boolean NOT NULL,
        size bigint NOT NULL,
        chunks text[] NOT NULL,
        link text,
        revision bigint NOT NULL,
        modified_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT volume_file_pkey PRIMARY KEY (volume_id, path),
        CONSTRAINT volume_file_link CHECK (link IS NULL OR (size = 0 AND chunks = '{}')),
        CONSTRAINT volume_file_size CHECK ((size = 0) = (chunks = '{}'))
      )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE volume_file, volume');
  }
}
