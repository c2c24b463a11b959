import {
  idempotent,
  IDEMPOTENCY_TABLE,
  isId,
  newId,
  readPage,
  cutPage,
  type Database,
} from '@berth/database';
import { GetWorkspaceRequest } from '@berth/contracts/workspace/v1/workspace';
import { defineService } from '@berth/service-kit';
import { testBed, type TestBed } from '@berth/testing';
import fc from 'fast-check';

class Initial20260101T000000 {
  name = 'Initial20260101T000000';
  async up(runner: { query(sql: string): Promise<unknown> }) {
    await runner.query(IDEMPOTENCY_TABLE);
    await runner.query('CREATE TABLE made (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)');
  }
  async down() {}
}

const service = defineService('workspace', () => Promise.reject(new Error('only its store is used here')), {
  schema: 'workspace',
  entities: [],
  migrations: [Initial20260101T000000 as never],
});

let bed: TestBed;
let db: Database;
beforeAll(async () => {
  bed = await testBed();
  db = await bed.database(service);
});
afterAll(() => bed?.close());

describe('ids', () => {
  test('have their form, and none is made twice', () => {
    const ids = Array.from({ length: 10_000 }, () => newId('fc'));
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.every((id) => /^fc-[0-9A-Za-z]{22}$/.test(id) && isId('fc', id))).toBe(true);
  });

  test('sort as text by the time of their making', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 45), fc.integer({ min: 1, max: 2 ** 40 }), (now, later) => {
        expect(newId('ap', now) < newId('ap', now + later)).toBe(true);
      }),
    );
  });

  test('of containers never end in V, which a vendor reads as something else', () => {
    const ids = Array.from({ length: 5_000 }, () => newId('ta'));
    expect(ids.filter((id) => id.endsWith('V'))).toEqual([]);
  });

  test.each([
    'fc-',
    'fc-short',
    'ap-0000000000000000000000',
    'fc-000000000000000000000_',
    'fc-00000000000000000000000',
  ])('%s is not the id of a call', (text) => expect(isId('fc', text)).toBe(false));
});

describe('a repeated request', () => {
  const request = (workspaceId: string) => GetWorkspaceRequest.encode({ workspaceId }).finish();
  const make = (key: string | undefined, asks = 'wo-1') =>
    db.transact((tx) =>
      idempotent(
        tx,
        { scope: 'or-1', method: 'Make', key, request: request(asks) },
        GetWorkspaceRequest,
        async () => {
          const [row] = await tx.query<{ id: string }>('INSERT INTO made DEFAULT VALUES RETURNING id');
          return { workspaceId: row!.id };
        },
      ),
    );
  const count = async () => Number((await db.query<{ n: string }>('SELECT count(*) AS n FROM made'))[0]!.n);

  test('gets the first answer, also when ten come at once', async () => {
    const before = await count();
    const answers = await Promise.all(Array.from({ length: 10 }, () => make('race')));
    expect(new Set(answers.map(({ workspaceId }) => workspaceId)).size).toBe(1);
    expect(await count()).toBe(before + 1);
  });

  test('with another content is refused', async () => {
    await make('changed');
    await expect(make('changed', 'wo-2')).rejects.toMatchObject({
      kind: 'precondition',
      field: 'Idempotency-Key',
    });
  });

  test('whose first try failed starts anew', async () => {
    const failing = db.transact((tx) =>
      idempotent(
        tx,
        { scope: 'or-1', method: 'Make', key: 'failed', request: request('wo-1') },
        GetWorkspaceRequest,
        () => Promise.reject(new Error('no')),
      ),
    );
    await expect(failing).rejects.toThrow('no');
    await expect(make('failed')).resolves.toMatchObject({ workspaceId: expect.any(String) });
  });

  test('without a key is a request of its own', async () => {
    expect(await make(undefined)).not.toEqual(await make(undefined));
  });
});

describe('pages', () => {
  test('of any size give every row once, in order', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 0, max: 60 }), (limit, total) => {
        const rows = Array.from({ length: total }, (_, index) => `id-${String(index).padStart(3, '0')}`);
        const seen: string[] = [];
        let cursor = '';
        do {
          const page = readPage({ limit, cursor });
          const from = page.after === undefined ? 0 : rows.indexOf(page.after) + 1;
          const cut = cutPage(rows.slice(from, from + page.limit + 1), page, (row) => row);
          seen.push(...cut.data);
          cursor = cut.nextCursor;
        } while (cursor);
        expect(seen).toEqual(rows);
      }),
    );
  });

  test.each([
    [{ limit: 101, cursor: '' }, 'limit'],
    [{ limit: -1, cursor: '' }, 'limit'],
    [{ limit: 0, cursor: 'not ours!' }, 'cursor'],
    [{ limit: 0, cursor: 'AA' }, 'cursor'],
  ])('%p is refused by its field', (request, field) => {
    expect(() => readPage(request)).toThrow(expect.objectContaining({ kind: 'invalid', field }));
  });
});

test('a failed transaction leaves nothing', async () => {
  const before = await db.query('SELECT id FROM made');
  const failing = db.transact(async (tx) => {
    await tx.query('INSERT INTO made DEFAULT VALUES');
    throw new Error('no');
  });
  await expect(failing).rejects.toThrow('no');
  expect(await db.query('SELECT id FROM made')).toEqual(before);
});

test('a lost connection is unavailable, and the next query is served', async () => {
  const lost = db.query('SELECT pg_terminate_backend(pg_backend_pid())');
  await expect(lost).rejects.toMatchObject({ kind: 'unavailable' });
  expect(await db.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('a NUL in a text is the caller\u2019s to leave out, not a fault of ours', async () => {
  await expect(db.query('SELECT $1::text', ['a\0b'])).rejects.toMatchObject({ kind: 'invalid' });
  await expect(db.query('SELECT $1::jsonb', ['"a\\u0000b"'])).rejects.toMatchObject({ kind: 'invalid' });
});
