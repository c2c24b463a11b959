/** `step.js <name>`: one step of `berth up`, in a process of its own. See first-run.ts. */
import { migrateAll } from '../migrate';
import { modules } from '../modules';
import { AFTER_SERVICES, BEFORE_SERVICES, type Step } from './first-run';

type StepName = (typeof BEFORE_SERVICES)[number] | (typeof AFTER_SERVICES)[number];

/** Each is loaded when it is asked for. */
const steps: Record<StepName, () => Promise<Step>> = {
  migrate: async () => (env, say) => migrateAll(env, modules, say),
};

const load = steps[process.argv[2] as StepName];
if (!load) {
  console.error(`usage: step ${Object.keys(steps).join(' | ')}`);
  process.exit(2);
}
void load()
  .then((step) => step(process.env, (line) => console.log(line)))
  .then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(
        error instanceof Error
          ? process.env.BERTH_LOG_LEVEL === 'debug'
            ? error.stack
            : error.message
          : error,
      );
      process.exit(1);
    },
  );
