import type { App, Berth, DeployedFunction, Tree, UploadProgress } from '@berth/sdk';
import { readManifest } from './manifest';

export interface Deployment {
  app: App;
  tree: Tree;
  functions: DeployedFunction[];
}

/** Uploads a folder that has a `berth.json`, and makes its app and functions what that says. Repeatable. */
export async function deployFolder(
  berth: Berth,
  folder: string,
  onProgress?: (progress: UploadProgress) => void,
): Promise<Deployment> {
  const { app: name, environment, functions: wanted } = readManifest(folder);
  const tree = await berth.trees.upload(folder, onProgress);
  const app = await berth.apps.ensure(name, environment);
  const functions: DeployedFunction[] = [];
  for (const { name, ...definition } of wanted) {
    functions.push(await berth.functions.deploy(app.app_id, name, { ...definition, source: tree.tree_id }));
  }
  return { app, tree, functions };
}
