import type {
  ListProxyTokensRequest,
  ListProxyTokensResponse,
} from '@berth/contracts/identity/v1/proxy_tokens';
import { cutPage, readPage } from '@berth/database';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { listProxyTokenRows } from '../store/proxy-token-store';
import { proxyTokenToProto } from './to-proto';

/** Lists the proxy tokens of the caller's workspace, newest first, those that have ended too. */
export const listProxyTokens =
  ({ db }: Context) =>
  async (request: ListProxyTokensRequest, call: CallContext): Promise<ListProxyTokensResponse> => {
    const page = readPage(request);
    const rows = await listProxyTokenRows(db, workspaceOf(call), page);
    const { data, nextCursor } = cutPage(rows, page, ({ id }) => id);
    return { data: data.map(proxyTokenToProto), nextCursor };
  };
