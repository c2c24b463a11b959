import type { BerthApp, Berth, BerthFunction } from '@berth/sdk';

/** An app by id or by name. Throws, with what to do, when there is none. */
export async function findApp(berth: Berth, nameOrId: string): Promise<BerthApp> {
  if (nameOrId.startsWith('ap-')) return berth.apps.get(nameOrId);
  const app = await berth.apps.find(nameOrId);
  if (app) return app;
  throw new Error(
    `There is no app named ${nameOrId}. berth app list shows what there is; berth deploy makes one.`,
  );
}

/** A function by id, or as `app.function`; a name may hold dots too, so every cut is tried. */
export async function findFunction(berth: Berth, nameOrId: string): Promise<BerthFunction> {
  if (nameOrId.startsWith('fu-')) return berth.functions.get(nameOrId);
  const parts = nameOrId.split('.');
  if (parts.length < 2)
    throw new Error(`${nameOrId} does not name a function: write app.function, or its id (fu-…).`);
  let seen: BerthApp | undefined;
  for (let cut = 1; cut < parts.length; cut++) {
    const app = await berth.apps.find(parts.slice(0, cut).join('.'));
    if (!app) continue;
    seen = app;
    const found = await berth.functions.find(app.app_id, parts.slice(cut).join('.'));
    if (found) return found;
  }
  if (!seen) throw new Error(`There is no app named ${parts[0]}. berth app list shows what there is.`);
  const names: string[] = [];
  for await (const { name } of berth.functions.list(seen.app_id)) names.push(name);
  throw new Error(`The app ${seen.name} has no such function. It has: ${names.join(', ') || 'none'}.`);
}
