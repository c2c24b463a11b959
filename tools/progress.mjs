// Progress of long steps: what is being done, and how long it took. Plain lines, so that logs stay readable.

const label = (text) => text.padEnd(22);

/** Prints one finished step: `  postgres               ready on port 20001 (0.4 s)`. */
export function done(what, outcome, started) {
  const seconds = started === undefined ? '' : ` (${((performance.now() - started) / 1000).toFixed(1)} s)`;
  console.log(`  ${label(what)} ${outcome}${seconds}`);
}

/** Says that a step that takes a while has begun; on a terminal a dot shows every few seconds that it goes on. */
export function begin(what, doing) {
  console.log(`  ${label(what)} ${doing} …`);
  const beat = process.stdout.isTTY ? setInterval(() => process.stdout.write('.'), 3000) : undefined;
  const started = performance.now();
  return (outcome) => {
    clearInterval(beat);
    if (beat) process.stdout.write('\r');
    done(what, outcome, started);
  };
}

/** A reason to stop that is meant for the user: printed without a stack. */
export class Refusal extends Error {}

/** Runs a tool's main function; a `Refusal` is printed as it is. Every failure exits with 1. */
export async function runTool(main) {
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    console.error(error instanceof Refusal ? `\n${error.message}` : error);
    process.exitCode = 1;
  }
}
