import { dirname, join } from 'node:path';
import { Berth, findCredentials, FunctionFailed, type InvocationResult } from '@berth/sdk';
import { deployFolder } from '../cli/deploy';
import { phaseLines } from '../cli/output';
import type { Step } from '../up/first-run';

const YEARS = [2012, 2013, 2014, 2015];

interface Summary {
  years: number[];
  days: number;
  rain_mm: number;
  hottest: { date: string; value: number };
  wettest: { date: string; value: number };
}

/** Of a bundle in `dist/berth/`. */
const repository = dirname(dirname(__dirname));

/** Deploys the example, spreads four years over containers by concurrent calls, combines them, prints the answer. */
export const prove: Step = async (env, say) => {
  const berth = new Berth(findCredentials({ BERTH_DATA_DIR: env.BERTH_DATA_DIR }));
  try {
    const { functions } = await deployFolder(berth, join(repository, 'examples/seattle-weather'));
    const byName = Object.fromEntries(functions.map(({ function: each }) => [each.name, each.function_id]));
    const invoke = async <R>(name: string, args: unknown[]): Promise<InvocationResult<R>> => {
      const invocation = await berth.functions.invoke<R>(byName[name]!, { args });
      if (invocation.status !== 'success') throw new FunctionFailed(invocation);
      return invocation;
    };

    say(`calling seattle-weather.summarize-year for ${YEARS.join(', ')} at once`);
    const years = await Promise.all(YEARS.map((year) => invoke<Summary>('summarize-year', [year])));
    const whole = await invoke<Summary>('combine', [years.map(({ result }) => result)]);

    const containers = new Set(years.map(({ container_id }) => container_id)).size;
    const { days, rain_mm, hottest, wettest } = whole.result!;
    say(`${days} days in ${containers} containers: ${rain_mm} mm of rain`);
    say(`hottest ${hottest.date} (${hottest.value} °C), wettest ${wettest.date} (${wettest.value} mm)`);
    const [first] = years;
    say(`the first call, phase by phase (${first!.call_id}):`);
    for (const line of phaseLines(first!.phases)) say(`  ${line}`);
  } finally {
    await berth.close();
  }
};
