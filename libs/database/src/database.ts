/**
 * One service's Postgres: TypeORM holds the pool, the migrations and the entities; queries are plain SQL.
 *
 * A service connects as its own role and sees its own schema only.
 */
import 'reflect-metadata';
import type { Pool, PoolClient } from 'pg';
import { DataSource } from 'typeorm';
import { BerthError, type ServiceSchema } from '@berth/service-kit';

export type Row = Record<string, unknown>;

/** What runs SQL: the database itself, or one transaction in it. */
export interface Sql {
  /** Rows of any statement, RETURNING included. Errors: `unavailable` when Postgres went away. */
  query<R = Row>(text: string, values?: unknown[]): Promise<R[]>;
  /** As query, but planned once per connection under `name`: for statements on a hot path. */
  prepared<R = Row>(name: string, text: string, values: unknown[]): Promise<R[]>;
}

export interface Database extends Sql, AsyncDisposable {
  /** All or nothing. `work` may be run once only; a failed commit throws. */
  transact<T>(work: (tx: Sql) => Promise<T>): Promise<T>;
  readonly dataSource: DataSource;
}

export interface DatabaseOptions extends ServiceSchema {
  /** The service's own role. */
  url: string;
  connectionsMax?: number;
  onError?: (error: Error) => void;
}

/** The TypeORM view of a service's schema: what migrations run on and what the drift test compares. */
export const dataSourceOf = ({
  url,
  schema,
  entities,
  migrations,
  connectionsMax = 10,
  onError,
}: DatabaseOptions): DataSource =>
  new DataSource({
    type: 'postgres',
    url,
    schema,
    entities,
    migrations: migrations as never,
    migrationsTableName: 'migration',
    synchronize: false,
    migrationsRun: false,
    installExtensions: false,
    // An idle connection that Postgres closes (a restart) is an event of the pool, not a crash of the service.
    poolErrorHandler: (error: Error) => onError?.(error),
    extra: { max: connectionsMax, options: `-c search_path=${schema}`, connectionTimeoutMillis: 5000 },
  });

/** Connects; does not migrate. Errors: `unavailable`. */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const dataSource = await dataSourceOf(options)
    .initialize()
    .catch((error: unknown) => {
      throw translate(error);
    });
  const pool = (dataSource.driver as unknown as { master: Pool }).master;
  return {
    dataSource,
    ...sqlOn(pool),
    async transact(work) {
      const client = await pool.connect().catch((error: unknown) => {
        throw translate(error);
      });
      let broken: Error | undefined;
      try {
        const sql = sqlOn(client);
        await sql.query('BEGIN');
        const result = await work(sql);
        await sql.query('COMMIT');
        return result;
      } catch (error) {
        await client.query('ROLLBACK').catch((failure: Error) => (broken = failure));
        throw error;
      } finally {
        client.release(broken);
      }
    },
    [Symbol.asyncDispose]: () => dataSource.destroy(),
  };
}

function sqlOn(target: Pool | PoolClient): Sql {
  const run = async <R>(config: { name?: string; text: string; values: unknown[] }): Promise<R[]> => {
    try {
      return (await target.query(config)).rows as R[];
    } catch (error) {
      throw translate(error);
    }
  };
  return {
    query: (text, values = []) => run({ text, values }),
    prepared: (name, text, values) => run({ name, text, values }),
  };
}

const LOST_CODES = /^(08...|57P0[123]|53300|ECONNREFUSED|ECONNRESET|EPIPE|ENOENT|ETIMEDOUT)$/;
const LOST_MESSAGES =
  /Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|not queryable/;

/** Text of a caller that Postgres cannot keep: a NUL, in text or in JSON. */
const UNKEEPABLE_CODES = ['22021', '22P05'];

/**
 * A lost connection becomes `unavailable`, which callers retry; a text that Postgres cannot keep becomes `invalid`, for
 * what no service checked before; anything else stays what it is.
 */
function translate(error: unknown): unknown {
  const { code, message } = error as { code?: string; message?: string };
  if (UNKEEPABLE_CODES.includes(code ?? '')) {
    return new BerthError('invalid', 'A text has the character NUL in it: leave it out.', { cause: error });
  }
  if (LOST_CODES.test(code ?? '') || LOST_MESSAGES.test(message ?? '')) {
    return new BerthError('unavailable', 'The database does not answer right now: try again.', {
      cause: error,
    });
  }
  return error;
}

/** Applies the migrations that are missing, each in its own transaction. Safe to run from several places at once. */
export async function migrate(options: DatabaseOptions): Promise<string[]> {
  const dataSource = await dataSourceOf({ ...options, connectionsMax: 2 }).initialize();
  try {
    // One migrator at a time per schema; the lock falls with the session.
    const lock = dataSource.createQueryRunner();
    await lock.query('SELECT pg_advisory_lock(hashtextextended($1, 0))', [`migrate ${options.schema}`]);
    try {
      const applied = await dataSource.runMigrations({ transaction: 'each' });
      return applied.map(({ name }) => name);
    } finally {
      await lock.query('SELECT pg_advisory_unlock(hashtextextended($1, 0))', [`migrate ${options.schema}`]);
      await lock.release();
    }
  } finally {
    await dataSource.destroy();
  }
}

/** What TypeORM would change to make the schema fit the entities: empty when migrations and entities agree. */
export async function drift(options: DatabaseOptions): Promise<string[]> {
  const dataSource = await dataSourceOf(options).initialize();
  try {
    const { upQueries } = await dataSource.driver.createSchemaBuilder().log();
    return upQueries.map(({ query }) => query);
  } finally {
    await dataSource.destroy();
  }
}
