import type { BerthApp, Berth, DeployedFunction, FunctionDefinition, Tree, UploadProgress } from '@berth/sdk';
import { buildImages, type Described } from './deploy-images';
import { deployFolder, type DeployedFolder } from './deploy';
import { describeFile, readTarget, type DescribedApp } from './user-file';

export interface Deployed {
  app: BerthApp;
  tree: Tree;
  functions: DeployedFunction[];
}

/** Deploys a file with an app in it, or a folder with a `berth.json`. Repeatable. */
export async function deployWhat(
  berth: Berth,
  what: string,
  onProgress?: (progress: UploadProgress) => void,
): Promise<DeployedFolder> {
  const target = readTarget(what);
  if (!target) return deployFolder(berth, what, onProgress);
  const described = await describeFile(target.file);
  const { app: name, environment } = described;
  const ensure = () => berth.apps.ensure(name, environment ?? undefined);
  const deployed = await deployApp(berth, described, ensure, onProgress);
  const { number } = await berth.apps.noteDeployment(deployed.app.app_id);
  return { ...deployed, number };
}

/** Uploads what an app's file lies in, and makes the app's functions what the file says. Repeatable. */
export async function deployApp(
  berth: Berth,
  described: DescribedApp,
  appOf: () => Promise<BerthApp>,
  onProgress?: (progress: UploadProgress) => void,
): Promise<Deployed> {
  if (described.functions.length === 0) {
    throw new Error(`The app ${described.app} has no functions: write @app.function() above one.`);
  }
  const functions = await buildImages(
    berth,
    described.functions.map(({ name, definition }) => ({ ...definition, name }) as Described),
    described.folder,
  );
  const tree = await berth.trees.upload(described.folder, onProgress);
  const app = await appOf();
  // What is there already is found: a repeat is harmless.
  for (const name of described.volumes) await berth.volumes.create(name, app.environment);
  const deployed: DeployedFunction[] = [];
  for (const { name, ...definition } of functions) {
    const whole = { ...definition, source: tree.tree_id } as FunctionDefinition;
    deployed.push(await berth.functions.deploy(app.app_id, name, whole));
  }
  return { app, tree, functions: deployed };
}

/** Shows an upload on a terminal, in one line. */
export function showUpload({ files, bytesMoved, bytesTotal }: UploadProgress): void {
  if (!process.stderr.isTTY) return;
  process.stderr.write(`\r${files} files, ${bytesMoved}/${bytesTotal} bytes uploaded\x1b[K`);
  if (bytesMoved === bytesTotal) process.stderr.write('\n');
}
