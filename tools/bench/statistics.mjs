/** Quantile of numbers that need not be sorted; `q` from 0 to 1. */
export function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}

/** p50 and p99 of milliseconds. */
export const summary = (values) => ({
  n: values.length,
  p50_ms: round(quantile(values, 0.5)),
  p99_ms: round(quantile(values, 0.99)),
});

export const round = (value, digits = 3) => Number(value.toFixed(digits));

/** Milliseconds of each of `count` runs of `work`, one at a time, after `warmup` that do not count. */
export async function timed(count, warmup, work) {
  for (let run = 0; run < warmup; run++) await work();
  const values = [];
  for (let run = 0; run < count; run++) {
    const begin = performance.now();
    await work();
    values.push(performance.now() - begin);
  }
  return values;
}
