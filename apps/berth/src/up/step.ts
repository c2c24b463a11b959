/** `step.js <name>`: one step of `berth up`, in a process of its own. See first-run.ts. */
import type { AFTER_SERVICES, BEFORE_SERVICES, Step } from './first-run';

/** The last two are for machines where nobody runs `berth up`: keys beside what `migrate` does, and the base image. */
type StepName = (typeof BEFORE_SERVICES)[number] | (typeof AFTER_SERVICES)[number] | 'provision' | 'images';

/** Each is loaded when it is asked for. */
const steps: Record<StepName, () => Promise<Step>> = {
  async migrate() {
    const [{ migrateAll }, { modules }] = await Promise.all([import('../migrate'), import('../modules')]);
    return (env, say) => migrateAll(env, modules, say);
  },
  provision: async () => (await import('../steps/provision')).provision,
  images: async () => (await import('../steps/images')).images,
  bootstrap: async () => (await import('../steps/bootstrap')).bootstrap,
  prove: async () => (await import('../steps/prove')).prove,
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
