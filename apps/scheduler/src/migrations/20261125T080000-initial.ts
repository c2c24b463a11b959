import { OUTBOX_TABLE } from '@berth/events';
import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Initial1795593600000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE node (
        id text COLLATE "C" CONSTRAINT node_pkey PRIMARY KEY,
        incarnation text NOT NULL,
        name text NOT NULL,
        organization_id text COLLATE "C",
        engine text NOT NULL,
        millicores integer NOT NULL,
        memory_mib integer NOT NULL,
        state text NOT NULL,
        last_heartbeat_at timestamptz NOT NULL,
        CONSTRAINT node_state CHECK (state IN ('ready', 'down')),
        CONSTRAINT node_engine CHECK (engine IN ('docker', 'process', 'kubernetes')),
        CONSTRAINT node_size CHECK (millicores > 0 AND memory_mib > 0)
      )`);
    await runner.query(`
      CREATE TABLE wish (
        owner text COLLATE "C" CONSTRAINT wish_pkey PRIMARY KEY,
        containers integer NOT NULL,
        revision bigint NOT NULL,
        CONSTRAINT wish_containers CHECK (containers >= 0)
      )`);
    await runner.query(`
      CREATE TABLE container (
        id text COLLATE "C" CONSTRAINT container_pkey PRIMARY KEY,
        owner text COLLATE "C" NOT NULL CONSTRAINT container_owner REFERENCES wish,
        organization_id text COLLATE "C" NOT NULL,
        workspace_id text COLLATE "C" NOT NULL,
        app_id text COLLATE "C" NOT NULL,
        function_id text COLLATE "C" NOT NULL,
        version integer NOT NULL,
        spec bytea NOT NULL,
        millicores integer NOT NULL,
        memory_mib integer NOT NULL,
        gpu jsonb NOT NULL,
        state text NOT NULL,
        node_id text COLLATE "C" CONSTRAINT container_node REFERENCES node,
        created_at timestamptz NOT NULL,
        placed_at timestamptz,
        started_at timestamptz,
        ready_at timestamptz,
        stopping_at timestamptz,
        ended_at timestamptz,
        reason text,
        phases jsonb NOT NULL DEFAULT '[]',
        error jsonb,
        CONSTRAINT container_state CHECK (
          state IN ('pending', 'assigned', 'starting', 'ready', 'stopping', 'stopped', 'failed', 'lost')),
        CONSTRAINT container_size CHECK (millicores > 0 AND memory_mib > 0),
        CONSTRAINT container_place CHECK ((node_id IS NULL) = (placed_at IS NULL)),
        CONSTRAINT container_placed CHECK (state IN ('pending', 'stopped') OR placed_at IS NOT NULL),
        CONSTRAINT container_pending CHECK (state <> 'pending' OR placed_at IS NULL),
        CONSTRAINT container_ready CHECK (state <> 'ready' OR ready_at IS NOT NULL),
        CONSTRAINT container_stopping CHECK (state <> 'stopping' OR stopping_at IS NOT NULL),
        CONSTRAINT container_ended CHECK ((state IN ('stopped', 'failed', 'lost')) = (ended_at IS NOT NULL)),
        CONSTRAINT container_error CHECK (state <> 'failed' OR error IS NOT NULL)
      )`);
    await runner.query('CREATE INDEX container_workspace ON container (workspace_id, id)');
    await runner.query('CREATE INDEX container_function ON container (function_id, id)');
    await runner.query('CREATE INDEX container_live_owner ON container (owner) WHERE ended_at IS NULL');
    await runner.query('CREATE INDEX container_live_node ON container (node_id) WHERE ended_at IS NULL');
    await runner.query(`CREATE INDEX container_line ON container (id) WHERE state = 'pending'`);
    await runner.query('CREATE INDEX container_end ON container (ended_at) WHERE ended_at IS NOT NULL');
    await runner.query(`
      CREATE TABLE device (
        id text COLLATE "C" CONSTRAINT device_pkey PRIMARY KEY,
        node_id text COLLATE "C" NOT NULL CONSTRAINT device_node REFERENCES node,
        index integer NOT NULL,
        model text NOT NULL,
        memory_mib integer NOT NULL,
        uuid text NOT NULL,
        simulated boolean NOT NULL,
        container_id text COLLATE "C" CONSTRAINT device_container REFERENCES container,
        gone boolean NOT NULL DEFAULT false,
        CONSTRAINT device_node_index UNIQUE (node_id, index),
        CONSTRAINT device_size CHECK (index >= 0 AND memory_mib >= 0)
      )`);
    await runner.query('CREATE INDEX device_holder ON device (container_id) WHERE container_id IS NOT NULL');
    await runner.query(OUTBOX_TABLE);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE outbox, device, container, wish, node');
  }
}
