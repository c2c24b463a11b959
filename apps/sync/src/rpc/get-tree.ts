import type { GetTreeRequest, GetTreeResponse } from '@berth/contracts/sync/v1/sync';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findTree } from '../store/tree-store';
import { noSuchTree, treeToProto } from './to-proto';

/** A tree of the caller's workspace. */
export const getTree =
  ({ db }: Context) =>
  async ({ treeId }: GetTreeRequest, call: CallContext): Promise<GetTreeResponse> => {
    const tree = await findTree(db, workspaceOf(call), treeId);
    if (!tree) throw noSuchTree();
    return { tree: treeToProto(tree) };
  };
