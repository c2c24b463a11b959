import type { ListApiTokensRequest, ListApiTokensResponse } from '@berth/contracts/identity/v1/identity';
import { cutPage, readPage } from '@berth/database';
import { userOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { listApiTokenRows } from '../store/api-token-store';
import { apiTokenToProto } from './to-proto';

/** Lists the API tokens of the caller's organization, newest first, those that have ended too. */
export const listApiTokens =
  ({ db }: Context) =>
  async (request: ListApiTokensRequest, call: CallContext): Promise<ListApiTokensResponse> => {
    const page = readPage(request);
    const rows = await listApiTokenRows(db, userOf(call).organizationId, page);
    const { data, nextCursor } = cutPage(rows, page, ({ id }) => id);
    return { data: data.map(apiTokenToProto), nextCursor };
  };
