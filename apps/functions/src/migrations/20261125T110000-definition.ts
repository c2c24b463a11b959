import type { MigrationInterface, QueryRunner } from 'typeorm';

/** A version's definition is one document: only a few of its parts are ever asked for by SQL. */
export class Definition1795604400000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE function_version ADD definition jsonb');
    await runner.query(`
      UPDATE function_version SET definition = jsonb_build_object(
        'runtime', runtime, 'handler', handler, 'image', image, 'gpu', to_jsonb(gpu), 'cpu', cpu, 'memory', memory,
        'timeout', timeout, 'startup_timeout', least(greatest(timeout, 60), 3600), 'retries', retries,
        'retry_delay', '{"first": 1, "backoff": 2, "max": 60}'::jsonb, 'min_containers', min_containers,
        'max_containers', max_containers, 'buffer_containers', 0, 'scaledown_window', scaledown_window,
        'max_concurrent_inputs', 1, 'batching', NULL, 'env', env, 'secrets', '[]'::jsonb, 'volumes', '{}'::jsonb,
        'schedule', NULL, 'web', NULL)`);
    await runner.query(`
      ALTER TABLE function_version ALTER definition SET NOT NULL, DROP runtime, DROP handler, DROP image, DROP gpu,
        DROP cpu, DROP memory, DROP timeout, DROP retries, DROP min_containers, DROP max_containers, DROP env,
        DROP scaledown_window`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE function_version ADD runtime text, ADD handler text, ADD image text,
        ADD gpu text[] NOT NULL DEFAULT '{}', ADD cpu double precision, ADD memory integer, ADD timeout integer,
        ADD retries integer, ADD min_containers integer, ADD max_containers integer,
        ADD env jsonb NOT NULL DEFAULT '{}', ADD scaledown_window integer`);
    await runner.query(`
      UPDATE function_version SET (runtime, handler, image, cpu, memory, timeout, retries, min_containers,
        max_containers, env, scaledown_window, gpu) = (
        SELECT runtime, handler, image, cpu, memory, timeout, retries, min_containers, max_containers, env,
          scaledown_window, gpu
          FROM jsonb_to_record(definition) AS d (runtime text, handler text, image text, cpu double precision,
            memory integer, timeout integer, retries integer, min_containers integer, max_containers integer,
            env jsonb, scaledown_window integer, gpu text[]))`);
    await runner.query(`
      ALTER TABLE function_version DROP definition, ALTER runtime SET NOT NULL, ALTER handler SET NOT NULL,
        ALTER image SET NOT NULL, ALTER cpu SET NOT NULL, ALTER memory SET NOT NULL, ALTER timeout SET NOT NULL,
        ALTER retries SET NOT NULL, ALTER min_containers SET NOT NULL, ALTER max_containers SET NOT NULL,
        ALTER scaledown_window SET NOT NULL,
        ADD CONSTRAINT function_version_containers CHECK (min_containers >= 0 AND min_containers <= max_containers)`);
  }
}
