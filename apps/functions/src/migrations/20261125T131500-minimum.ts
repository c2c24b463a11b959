import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Versions that keep a minimum of containers are found without a look at all others. */
export class Minimum1795612500000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE INDEX function_version_minimum ON function_version (function_id, version)
        WHERE (definition->>'min_containers')::integer > 0`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP INDEX function_version_minimum');
  }
}
