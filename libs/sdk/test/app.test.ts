import { App } from '../src/app';

const app = new App('shapes');
interface Sides {
  a: number;
  b: number;
}
const longest = app.function({ cpu: 1 }, async ({ a, b }: Sides) => Math.hypot(a, b));
const count = app.function({ name: 'how-many' }, (...all: Sides[]) => ({ count: all.length }));

test('a function that an app describes is called here as it always was', async () => {
  expect(await longest({ a: 3, b: 4 })).toBe(5);
  expect(await count({ a: 1, b: 2 }, { a: 3, b: 4 })).toEqual({ count: 2 });
  expect(app.functions).toEqual([longest, count]);
  expect(count.options).toEqual({ name: 'how-many' });
});

test('arguments and results have the types of the function', () => {
  // Never called: what it says is checked by the compiler.
  const typed = async () => {
    const length: number = await longest.remote({ a: 3, b: 4 });
    const found: { count: number } = await (await count.spawn({ a: 1, b: 2 }, { a: 3, b: 4 })).get();
    for await (const each of longest.map([{ a: 1, b: 1 }])) each.toFixed();
    // @ts-expect-error -- A side is missing.
    await longest.remote({ a: 3 });
    // @ts-expect-error -- A number is no text.
    const text: string = await longest.remote({ a: 3, b: 4 });
    // @ts-expect-error -- These have no sides.
    longest.map([1, 2]);
    return [length, found, text];
  };
  expect(typed).toBeDefined();
});
