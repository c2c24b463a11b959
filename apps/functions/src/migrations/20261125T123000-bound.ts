import type { MigrationInterface, QueryRunner } from 'typeorm';

/** A class with parameters is a function of its own, which follows the one that it is bound from. */
export class Bound1795609800000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE function ADD base_id text COLLATE "C" CONSTRAINT function_base REFERENCES function (id),
        ADD parameters text,
        ADD CONSTRAINT function_bound CHECK ((base_id IS NULL) = (parameters IS NULL))`);
    await runner.query(
      'CREATE UNIQUE INDEX function_parameters ON function (base_id, parameters) WHERE base_id IS NOT NULL',
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE function DROP base_id, DROP parameters');
  }
}
