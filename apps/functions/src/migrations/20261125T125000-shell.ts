import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Shell1795611000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // A row for each shell that may have a container, for as long as its gateway is heard.
    await runner.query(`
      CREATE TABLE shell (
        id text COLLATE "C" CONSTRAINT shell_pkey PRIMARY KEY,
        workspace_id text COLLATE "C" NOT NULL,
        spec bytea NOT NULL,
        heard_at timestamptz NOT NULL DEFAULT now()
      )`);
    await runner.query('CREATE INDEX shell_workspace ON shell (workspace_id)');
    await runner.query('CREATE INDEX shell_heard ON shell (heard_at)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE shell');
  }
}
