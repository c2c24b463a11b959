import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What generators yield: each item of an input once, by its index. */
export class Items1795607100000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE item (
        input_id text COLLATE "C" NOT NULL CONSTRAINT item_input REFERENCES input (id),
        index integer NOT NULL,
        payload bytea NOT NULL,
        CONSTRAINT item_pkey PRIMARY KEY (input_id, index),
        CONSTRAINT item_index CHECK (index >= 0)
      )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE item');
  }
}
