import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The name under which a function answers on the web; the rule is that of `webLabel` in domain/web.ts. */
export class WebLabel1795605300000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE function ADD web_label text COLLATE "C"');
    await runner.query(`
      UPDATE function f SET web_label =
        trim(BOTH '-' FROM left(regexp_replace(lower(a.name || '-' || f.name), '[^a-z0-9]+', '-', 'g'), 46))
        || '-' || left(encode(sha256(convert_to(f.id, 'UTF8')), 'hex'), 16)
        FROM app a WHERE a.id = f.app_id`);
    await runner.query(`
      ALTER TABLE function ALTER web_label SET NOT NULL, ADD CONSTRAINT function_web_label UNIQUE (web_label)`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE function DROP web_label');
  }
}
