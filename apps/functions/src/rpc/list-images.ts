import type { ListImagesRequest, ListImagesResponse } from '@berth/contracts/functions/v1/images';
import { cutPage, readPage } from '@berth/database';
import { workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { explainImage } from '../domain/image-waiting';
import { listImageRows } from '../store/image-store';
import { imageStatesFromProto, imageToProto } from './image-to-proto';

/** Lists the images of the caller's workspace, newest first. */
export const listImages =
  ({ db }: Pick<Context, 'db'>) =>
  async (request: ListImagesRequest, call: CallContext): Promise<ListImagesResponse> => {
    const page = readPage(request);
    const rows = await listImageRows(db, workspaceOf(call), imageStatesFromProto(request.state), page);
    const { data, nextCursor } = cutPage(rows, page, ({ id }) => id);
    return { data: data.map((row) => imageToProto(row, explainImage(row))), nextCursor };
  };
