import type { MigrationInterface, QueryRunner } from 'typeorm';

/** A call may have many inputs, put one after the other while their outcomes are read in the order of a log. */
export class Map1795606200000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE call
        ADD kind text NOT NULL DEFAULT 'single',
        ADD num_inputs integer NOT NULL DEFAULT 1,
        ADD num_succeeded integer NOT NULL DEFAULT 0,
        ADD num_failed integer NOT NULL DEFAULT 0,
        ADD num_terminated integer NOT NULL DEFAULT 0,
        ADD first_started_at timestamptz,
        ADD last_finished_at timestamptz,
        ADD closed_at timestamptz,
        ADD cancelled_at timestamptz,
        ADD ending boolean NOT NULL DEFAULT false,
        ADD CONSTRAINT call_kind CHECK (kind IN ('single', 'map')),
        ADD CONSTRAINT call_counts CHECK (num_succeeded + num_failed + num_terminated <= num_inputs),
        ADD CONSTRAINT call_ending CHECK (NOT ending OR closed_at IS NOT NULL)`);
    await runner.query('CREATE INDEX call_in_ending ON call (id) WHERE ending');
    await runner.query(`
      ALTER TABLE input
        ADD in_map boolean NOT NULL DEFAULT false,
        ADD entry integer,
        ADD CONSTRAINT input_entry_final CHECK (entry IS NULL OR finished_at IS NOT NULL)`);
    // Plain calls are in neither index: what maps need costs them nothing.
    await runner.query('CREATE UNIQUE INDEX input_entry ON input (call_id, entry) WHERE entry IS NOT NULL');
    await runner.query(
      'CREATE INDEX input_unnumbered ON input (call_id) WHERE in_map AND finished_at IS NOT NULL AND entry IS NULL',
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP INDEX input_unnumbered, input_entry, call_in_ending');
    await runner.query('ALTER TABLE input DROP in_map, DROP entry');
    await runner.query(`
      ALTER TABLE call DROP kind, DROP num_inputs, DROP num_succeeded, DROP num_failed, DROP num_terminated,
        DROP first_started_at, DROP last_finished_at, DROP closed_at, DROP cancelled_at, DROP ending`);
  }
}
