import type { MigrationInterface, QueryRunner } from 'typeorm';

export class SchedulesAndWebhooks1795606500000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // A row for each function that is called by itself. That each moment becomes one call is seen to by call_repeat.
    await runner.query(`
      CREATE TABLE schedule (
        function_id text COLLATE "C" CONSTRAINT schedule_pkey PRIMARY KEY
          CONSTRAINT schedule_function REFERENCES function,
        schedule jsonb NOT NULL,
        next_at timestamptz NOT NULL
      )`);
    await runner.query('CREATE INDEX schedule_next ON schedule (next_at)');
    await runner.query(`
      CREATE TABLE webhook (
        call_id text COLLATE "C" CONSTRAINT webhook_pkey PRIMARY KEY CONSTRAINT webhook_call REFERENCES call,
        workspace_id text COLLATE "C" NOT NULL,
        host text NOT NULL,
        sealed bytea NOT NULL,
        state text NOT NULL DEFAULT 'waiting',
        attempts integer NOT NULL DEFAULT 0,
        ended_at timestamptz,
        next_at timestamptz,
        last_error text,
        CONSTRAINT webhook_state CHECK (state IN ('waiting', 'pending', 'delivered', 'failed')),
        CONSTRAINT webhook_next CHECK ((state = 'pending') = (next_at IS NOT NULL))
      )`);
    await runner.query(`CREATE INDEX webhook_waiting ON webhook (call_id) WHERE state = 'waiting'`);
    await runner.query('CREATE INDEX webhook_due ON webhook (next_at) WHERE next_at IS NOT NULL');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE webhook, schedule');
  }
}
