import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Large payloads are in sync: an input names the trees that hold them. */
export class Blob1795608900000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      'ALTER TABLE input ADD payload_blob text COLLATE "C", ADD result_blob text COLLATE "C"',
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE input DROP payload_blob, DROP result_blob');
  }
}
