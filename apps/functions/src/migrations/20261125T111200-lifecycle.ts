import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Retries that wait, deletion of a function alone, deployments of an app, and apps that end with their client. */
export class Lifecycle1795605120000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE input ADD due_at timestamptz, ADD last_error jsonb,
        ADD CONSTRAINT input_due CHECK (due_at IS NULL OR state = 'pending')`);
    await runner.query('CREATE INDEX input_due_at ON input (due_at) WHERE due_at IS NOT NULL');

    await runner.query('ALTER TABLE function ADD deleted_at timestamptz, DROP CONSTRAINT function_app_name');
    await runner.query(
      'CREATE UNIQUE INDEX function_live_name ON function (app_id, name) WHERE deleted_at IS NULL',
    );
    await runner.query(`
      CREATE TABLE deployment (
        app_id text COLLATE "C" NOT NULL CONSTRAINT deployment_app REFERENCES app,
        number integer NOT NULL,
        functions jsonb NOT NULL,
        rollback_of integer,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT deployment_pkey PRIMARY KEY (app_id, number),
        CONSTRAINT deployment_rollback CHECK (rollback_of < number)
      )`);

    await runner.query('ALTER TABLE app ADD heartbeat_at timestamptz');
    await runner.query(`UPDATE app SET heartbeat_at = now() WHERE state = 'ephemeral'`);
    await runner.query(`
      ALTER TABLE app ADD CONSTRAINT app_heartbeat CHECK (state <> 'ephemeral' OR heartbeat_at IS NOT NULL)`);
    await runner.query(`CREATE INDEX app_silent ON app (heartbeat_at) WHERE state = 'ephemeral'`);
    // Ephemeral apps are named by their id: somebody's trial does not take the name of what is deployed.
    await runner.query('DROP INDEX app_live_name');
    await runner.query(
      `CREATE UNIQUE INDEX app_live_name ON app (workspace_id, environment, name) WHERE state = 'deployed'`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP INDEX app_live_name, app_silent');
    await runner.query(
      'CREATE UNIQUE INDEX app_live_name ON app (workspace_id, environment, name) WHERE stopped_at IS NULL',
    );
    await runner.query('ALTER TABLE app DROP heartbeat_at');
    await runner.query('DROP TABLE deployment');
    await runner.query('DROP INDEX function_live_name');
    await runner.query(
      'ALTER TABLE function DROP deleted_at, ADD CONSTRAINT function_app_name UNIQUE (app_id, name)',
    );
    await runner.query('DROP INDEX input_due_at');
    await runner.query('ALTER TABLE input DROP due_at, DROP last_error');
  }
}
