import { readFileSync } from 'node:fs';
import { join } from 'node:path';

interface DryRun {
  from: string;
  to: string;
  days: number;
}

/** The longest run of days without rain in one year. */
export function longestDryRun(year: number): DryRun {
  const text = readFileSync(join(import.meta.dirname, 'data/seattle-weather.csv'), 'utf8');
  const days = text
    .split('\n')
    .filter((line) => line.startsWith(`${year}-`))
    .map((line) => line.split(','));
  if (days.length === 0)
    throw new RangeError(`there is no weather of ${year}: the data goes from 2012 to 2015`);
  console.log(`${year}: ${days.length} days`);

  let longest: DryRun = { from: '', to: '', days: 0 };
  let current: DryRun | undefined;
  for (const [date = '', rain] of days) {
    if (Number(rain) > 0) {
      current = undefined;
      continue;
    }
    current = current
      ? { from: current.from, to: date, days: current.days + 1 }
      : { from: date, to: date, days: 1 };
    if (current.days > longest.days) longest = current;
  }
  return longest;
}
