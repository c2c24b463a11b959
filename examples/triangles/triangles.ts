/** Functions in TypeScript, typed from the call to its result: one calls the other from inside its container. */
import { App } from '@berth/sdk';

export const app = new App('triangles');

interface Triangle {
  a: number;
  b: number;
}

/** A right triangle's longest side. */
export const hypotenuse = app.function(
  { cpu: 0.2, memory: 128, scaledown_window: 5 },
  async ({ a, b }: Triangle) => {
    if (a <= 0 || b <= 0) throw new RangeError('sides are longer than nothing');
    console.log('a triangle', a, b);
    return Math.hypot(a, b);
  },
);

/** The sum of many, each found in a container. */
export const total = app.function(
  { cpu: 0.2, memory: 128, scaledown_window: 5, timeout: 120 },
  async (...triangles: Triangle[]) => {
    let sum = 0;
    for await (const side of hypotenuse.map(triangles)) sum += side;
    return { sum, count: triangles.length };
  },
);
