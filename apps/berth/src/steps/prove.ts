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

/** A node that is full of the user's own work starts nothing for us: the platform is no worse for that. */
const PROVE_WITHIN_MS = 30_000;
const WAITING_EVERY_MS = 5_000;

async function pendingOf(berth: Berth, functionId: string): Promise<string[]> {
  const pending: string[] = [];
  for await (const { status, call_id } of berth.functions.invocations(functionId)) {
    if (status === 'pending') pending.push(call_id);
    if (pending.length >= YEARS.length) break;
  }
  return pending;
}

async function sayWaiting(berth: Berth, functionId: string, say: (line: string) => void): Promise<void> {
  try {
    const [callId] = await pendingOf(berth, functionId);
    const waiting = callId && (await berth.calls.get(callId)).waiting;
    if (waiting) say(`waiting: ${waiting}`);
  } catch {
    // The call itself says what is wrong.
  }
}

async function cancelPending(berth: Berth, functionId: string): Promise<void> {
  for (const callId of await pendingOf(berth, functionId)) await berth.calls.cancel(callId);
}

/** Deploys the example, spreads four years over containers by concurrent calls, combines them, prints the answer. */
export const prove: Step = async (env, say) => {
  const berth = new Berth(findCredentials({ BERTH_DATA_DIR: env.BERTH_DATA_DIR }));
  try {
    const { functions } = await deployFolder(berth, join(repository, 'examples/seattle-weather'));
    const byName = Object.fromEntries(functions.map(({ function: each }) => [each.name, each.function_id]));
    const invoke = async <R>(name: string, args: unknown[]): Promise<InvocationResult<R>> => {
      const told = setInterval(() => void sayWaiting(berth, byName[name]!, say), WAITING_EVERY_MS);
      try {
        const signal = AbortSignal.timeout(PROVE_WITHIN_MS);
        const invocation = await berth.functions.invoke<R>(byName[name]!, { args }, { signal });
        if (invocation.status !== 'success') throw new FunctionFailed(invocation);
        return invocation;
      } catch (error) {
        if ((error as Error).name !== 'TimeoutError') throw error;
        await cancelPending(berth, byName[name]!);
        throw new Error(`${name} was called and did not end within ${PROVE_WITHIN_MS / 1000} s.`);
      } finally {
        clearInterval(told);
      }
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
