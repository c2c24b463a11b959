import type { BerthApp, Berth, DeployedFunction, Tree, UploadProgress } from '@berth/sdk';
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
  const tree = await berth.trees.upload(folder, onProgress);
  const app = await berth.apps.ensure(name, environment);
  const functions: DeployedFunction[] = [];
  for (const { name, ...definition } of wanted) {
    functions.push(await berth.functions.deploy(app.app_id, name, { ...definition, source: tree.tree_id }));
  }
  const { number } = await berth.apps.noteDeployment(app.app_id);
  return { app, tree, functions, number };
}
