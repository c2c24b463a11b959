import { IDEMPOTENCY_TABLE } from '@berth/database';
import { OUTBOX_TABLE } from '@berth/events';
import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Initial1795593600000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE app (
        id text COLLATE "C" CONSTRAINT app_pkey PRIMARY KEY,
        organization_id text COLLATE "C" NOT NULL,
        workspace_id text COLLATE "C" NOT NULL,
        environment text COLLATE "C" NOT NULL,
        name text COLLATE "C" NOT NULL,
        state text NOT NULL DEFAULT 'deployed',
        tags jsonb NOT NULL DEFAULT '{}',
        created_at timestamptz NOT NULL DEFAULT now(),
        stopped_at timestamptz,
        CONSTRAINT app_state CHECK (state IN ('ephemeral', 'deployed', 'stopped')),
        CONSTRAINT app_stopped CHECK ((state = 'stopped') = (stopped_at IS NOT NULL))
      )`);
    // A stopped app keeps its name in the history and leaves it to others.
    await runner.query(
      `CREATE UNIQUE INDEX app_live_name ON app (workspace_id, environment, name) WHERE stopped_at IS NULL`,
    );
    await runner.query('CREATE INDEX app_workspace ON app (workspace_id, id)');
    await runner.query(`
      CREATE TABLE function (
        id text COLLATE "C" CONSTRAINT function_pkey PRIMARY KEY,
        app_id text COLLATE "C" NOT NULL CONSTRAINT function_app REFERENCES app,
        workspace_id text COLLATE "C" NOT NULL,
        name text COLLATE "C" NOT NULL,
        version integer NOT NULL DEFAULT 1,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT function_app_name UNIQUE (app_id, name)
      )`);
    await runner.query(`
      CREATE TABLE function_version (
        function_id text COLLATE "C" NOT NULL CONSTRAINT function_version_function REFERENCES function,
        version integer NOT NULL,
        runtime text NOT NULL,
        handler text NOT NULL,
        image text NOT NULL,
        source text COLLATE "C" NOT NULL,
        gpu text[] NOT NULL DEFAULT '{}',
        cpu double precision NOT NULL,
        memory integer NOT NULL,
        timeout integer NOT NULL,
        retries integer NOT NULL,
        min_containers integer NOT NULL,
        max_containers integer NOT NULL,
        env jsonb NOT NULL DEFAULT '{}',
        scaledown_window integer NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT function_version_pkey PRIMARY KEY (function_id, version),
        CONSTRAINT function_version_containers CHECK (min_containers >= 0 AND min_containers <= max_containers)
      )`);
    // One row a version: how many containers it should have, and what the scheduler has heard of that.
    await runner.query(`
      CREATE TABLE pool (
        function_id text COLLATE "C" NOT NULL,
        version integer NOT NULL,
        wish integer NOT NULL DEFAULT 0,
        revision bigint NOT NULL DEFAULT 0,
        heard_revision bigint NOT NULL DEFAULT 0,
        needed_at timestamptz NOT NULL DEFAULT now(),
        failures integer NOT NULL DEFAULT 0,
        failed_at timestamptz NOT NULL DEFAULT now(),
        failed_by_user boolean NOT NULL DEFAULT false,
        retired_at timestamptz,
        CONSTRAINT pool_pkey PRIMARY KEY (function_id, version),
        CONSTRAINT pool_version FOREIGN KEY (function_id, version) REFERENCES function_version,
        CONSTRAINT pool_wish CHECK (wish >= 0 AND heard_revision <= revision),
        CONSTRAINT pool_retired CHECK (retired_at IS NULL OR wish = 0)
      )`);
    await runner.query(
      `CREATE INDEX pool_active ON pool (function_id) WHERE retired_at IS NULL AND wish > 0`,
    );
    await runner.query(`CREATE INDEX pool_unheard ON pool (function_id) WHERE heard_revision < revision`);
    // No foreign key to its version: a check of it would make every call lock the same row. Versions are never deleted,
    // and a call is inserted by selecting from the function.
    await runner.query(`
      CREATE TABLE call (
        id text COLLATE "C" CONSTRAINT call_pkey PRIMARY KEY,
        workspace_id text COLLATE "C" NOT NULL,
        function_id text COLLATE "C" NOT NULL,
        version integer NOT NULL,
        idempotency_key text COLLATE "C",
        request_hash bytea,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT call_request CHECK ((idempotency_key IS NULL) = (request_hash IS NULL))
      )`);
    await runner.query('CREATE INDEX call_function ON call (function_id, id)');
    await runner.query(
      `CREATE UNIQUE INDEX call_repeat ON call (function_id, idempotency_key) WHERE idempotency_key IS NOT NULL`,
    );
    await runner.query(`
      CREATE TABLE input (
        id text COLLATE "C" CONSTRAINT input_pkey PRIMARY KEY,
        call_id text COLLATE "C" NOT NULL CONSTRAINT input_call REFERENCES call,
        index integer NOT NULL DEFAULT 0,
        function_id text COLLATE "C" NOT NULL,
        version integer NOT NULL,
        state text NOT NULL DEFAULT 'pending',
        attempt integer NOT NULL DEFAULT 1,
        published_attempt integer NOT NULL DEFAULT 1,
        failures integer NOT NULL DEFAULT 0,
        format text NOT NULL,
        payload bytea NOT NULL,
        container_id text COLLATE "C",
        result bytea,
        result_format text,
        error jsonb,
        container_phases jsonb,
        traceparent text NOT NULL DEFAULT '',
        accepted_at timestamptz NOT NULL,
        started_at timestamptz,
        finished_at timestamptz,
        recorded_at timestamptz,
        CONSTRAINT input_call_index UNIQUE (call_id, index),
        CONSTRAINT input_state CHECK (state IN ('pending', 'running', 'success', 'failure', 'terminated')),
        CONSTRAINT input_attempt CHECK (attempt >= published_attempt AND published_attempt >= 1),
        CONSTRAINT input_final CHECK ((state IN ('success', 'failure', 'terminated')) = (finished_at IS NOT NULL)),
        CONSTRAINT input_success CHECK ((state = 'success') = (result IS NOT NULL)),
        CONSTRAINT input_failure CHECK (state <> 'failure' OR error IS NOT NULL),
        CONSTRAINT input_running CHECK (state <> 'running' OR container_id IS NOT NULL)
      )`);
    await runner.query(
      `CREATE INDEX input_open ON input (function_id, version, id) WHERE finished_at IS NULL`,
    );
    await runner.query(
      `CREATE INDEX input_container ON input (container_id) WHERE finished_at IS NULL AND container_id IS NOT NULL`,
    );
    await runner.query(OUTBOX_TABLE);
    await runner.query(IDEMPOTENCY_TABLE);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE idempotency, outbox, input, call, pool, function_version, function, app');
  }
}
