import type {
  ReportContainerRequest,
  ReportContainerResponse,
} from '@berth/contracts/scheduler/v1/scheduler';
import type { Context } from '../context';
import { REPORTS } from '../domain/container-state';
import { registerAgain } from '../domain/node-standing';
import { advance, wasPlacedOn } from '../store/container-store';
import { findNode } from '../store/node-store';
import { checkRunner, noSuchContainer, readReport } from './from-proto';

/** Records what became of a container. What it no longer can become (a repeat, a late word) changes nothing. */
export const reportContainer =
  ({ db, change }: Context) =>
  async (request: ReportContainerRequest): Promise<ReportContainerResponse> => {
    const { nodeId, incarnation, containerId } = request;
    checkRunner(request);
    const report = readReport(request);
    const advanced = await change(async ({ tx, now, say }) => {
      const ids = await advance(tx, [containerId], REPORTS[report.state], {
        now,
        by: { nodeId, incarnation },
        ...report.details(now),
      });
      say(ids);
      return ids;
    });
    if (advanced.length > 0) return {};

    const node = await findNode(db, nodeId);
    if (node?.incarnation !== incarnation) throw registerAgain();
    if (await wasPlacedOn(db, containerId, nodeId)) return {};
    throw noSuchContainer();
  };
