import type { ListFunctionsRequest, ListFunctionsResponse } from '@berth/contracts/functions/v1/functions';
import { cutPage, readPage } from '@berth/database';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { findApp } from '../store/app-store';
import { listFunctionRows } from '../store/function-store';
import { noSuchApp } from './not-found';
import { functionToProto } from './to-proto';

/** Lists the functions of an app by name. */
export const listFunctions =
  ({ db, web }: Pick<Context, 'db' | 'web'>) =>
  async (request: ListFunctionsRequest, call: CallContext): Promise<ListFunctionsResponse> => {
    const page = readPage(request);
    const app = await findApp(db, workspaceOf(call), request.appId);
    if (!app) throw noSuchApp();
    const rows = await listFunctionRows(db, app.id, request.name || undefined, page);
    const { data, nextCursor } = cutPage(rows, page, ({ name }) => name);
    return { data: data.map((each) => functionToProto(each, web)), nextCursor };
  };
