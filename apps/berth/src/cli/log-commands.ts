import { InvalidArgumentError, type Command } from 'commander';
import colors from 'picocolors';
import type { Berth, LogLine, LogRange } from '@berth/sdk';
import { findApp, findFunction } from './find';
import { wholeNumber, withJson } from './listing';
import { withBerth } from './with-berth';

interface Options {
  follow?: boolean;
  since?: string;
  until?: string;
  tail?: number;
  json?: boolean;
}

const UNIT_MS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `10m` ago, or a time such as 2026-11-25T10:00:00Z; as the API wants it. */
export function readMoment(text: string, now = Date.now()): string {
  const [, count, unit] = /^(\d+)([smhd])$/.exec(text) ?? [];
  const moment = count ? now - Number(count) * UNIT_MS[unit!]! : Date.parse(text);
  if (!Number.isFinite(moment)) {
    throw new InvalidArgumentError(
      'It must be how long ago (30s, 10m, 2h, 1d) or a time (2026-11-25T10:00Z).',
    );
  }
  return new Date(moment).toISOString();
}

const withRange = (command: Command): Command =>
  withJson(command)
    .option('-f, --follow', 'go on with what comes')
    .option('--since <when>', 'from 30s, 10m, 2h, 1d ago or a time on', (text: string) => readMoment(text))
    .option('--until <when>', 'before then', (text: string) => readMoment(text))
    .option('-n, --tail <count>', 'only the last so many of those that are there', wholeNumber);

const rangeOf = ({ follow, since, until, tail }: Options): LogRange => ({
  ...(follow ? { follow } : {}),
  ...(since ? { since } : {}),
  ...(until ? { until } : {}),
  ...(tail ? { tail } : {}),
});

/** Prints lines as they come, until they end or Ctrl-C. */
async function print(
  options: Options,
  lines: (range: LogRange, signal: AbortSignal) => AsyncIterable<LogLine>,
): Promise<void> {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  try {
    for await (const line of lines(rangeOf(options), stop.signal)) {
      if (options.json) {
        console.log(JSON.stringify(line));
        continue;
      }
      const where = colors.dim(`${line.time} ${line.container_id.slice(-6)}`);
      console.log(`${where} ${line.stream === 'stderr' ? colors.yellow(line.text) : line.text}`);
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  }
}

type AppOptions = Options & { function?: string; call?: string; container?: string };

async function printApp(berth: Berth, name: string, options: AppOptions): Promise<void> {
  const app = await findApp(berth, name);
  const one = options.function && (await findFunction(berth, `${app.name}.${options.function}`));
  const filter = {
    ...(one ? { function_id: one.function_id } : {}),
    ...(options.call ? { call_id: options.call } : {}),
    ...(options.container ? { container_id: options.container } : {}),
  };
  await print(options, (range, signal) => berth.apps.logs(app.app_id, { ...filter, ...range }, signal));
}

/** `berth logs` and `berth app logs`, which are the same, and `berth call logs`. After the groups were added. */
export function addLogCommands(program: Command): void {
  const groups = Object.fromEntries(program.commands.map((each) => [each.name(), each]));
  for (const [group, words] of [
    [program, 'berth logs'],
    [groups.app!, 'berth app logs'],
  ] as const) {
    withRange(group.command('logs'))
      .description('print what an app prints')
      .argument('<app>', 'its name or id')
      .option('--function <name>', 'of one function')
      .option('--call <id>', 'of one call')
      .option('--container <id>', 'of one container')
      .addHelpText(
        'after',
        `\nExamples:\n  ${words} seattle-weather --follow\n  ${words} seattle-weather --function summarize-year --since 10m`,
      )
      .action((name: string, options: AppOptions) => withBerth((berth) => printApp(berth, name, options)));
  }
  withRange(groups.call!.command('logs'))
    .description('print what a call prints')
    .argument('<call>', 'its id (fc-…)')
    .addHelpText('after', '\nExample:\n  berth call logs fc-0353d24z7hoIulucaedFJh --follow')
    .action((id: string, options: Options) =>
      withBerth((berth) => print(options, (range, signal) => berth.calls.logs(id, range, signal))),
    );
}
