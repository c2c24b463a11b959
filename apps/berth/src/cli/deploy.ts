import type { BerthApp, Berth, DeployedFunction, FunctionDefinition, Tree, UploadProgress } from '@berth/sdk';
import { buildImages, type Described } from './deploy-images';
import { readManifest } from './manifest';

export interface DeployedFolder {
  app: BerthApp;
  tree: Tree;
  functions: DeployedFunction[];
  /** Of the deployment that a rollback can go back to. */
  number: number;
}

/** Uploads a folder that has a `berth.json`, and makes its app and functions what that says. Repeatable. */
export async function deployFolder(
  berth: Berth,
  folder: string,
  onProgress?: (progress: UploadProgress) => void,
): Promise<DeployedFolder> {
  const { app: name, environment, functions: wanted } = readManifest(folder);
  const resolved = await buildImages(berth, wanted as Described[], folder);
  const tree = await berth.trees.upload(folder, onProgress);
  const app = await berth.apps.ensure(name, environment);
  const functions: DeployedFunction[] = [];
  for (const { name, ...definition } of resolved) {
    const whole = { ...definition, source: tree.tree_id } as FunctionDefinition;
    functions.push(await berth.functions.deploy(app.app_id, name, whole));
  }
  const { number } = await berth.apps.noteDeployment(app.app_id);
  return { app, tree, functions, number };
}
