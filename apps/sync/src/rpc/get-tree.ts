import type { GetTreeRequest, GetTreeResponse } from '@berth/contracts/sync/v1/sync';
import type { CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findTree } from '../store/tree-store';
import { noSuchTree, treeToProto } from './to-proto';
import { workspaceAsked } from './workspace-asked';

/** A tree of the caller's workspace. */
export const getTree =
  ({ db }: Context) =>
  async ({ treeId, workspaceId }: GetTreeRequest, call: CallContext): Promise<GetTreeResponse> => {
    const tree = await findTree(db, workspaceAsked(call, workspaceId), treeId);
    if (!tree) throw noSuchTree();
    return { tree: treeToProto(tree) };
  };
