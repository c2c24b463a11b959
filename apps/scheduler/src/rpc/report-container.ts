import type {
  ReportContainerRequest,
  ReportContainerResponse,
} from '@berth/contracts/scheduler/v1/scheduler';
import { BerthError } from '@berth/service-kit';
import type { Context } from '../context';
import { REPORTS } from '../domain/container-state';
import { registerAgain } from '../domain/node-standing';
import { advance, wasPlacedOn, type Happening } from '../store/container-store';
import { findNode } from '../store/node-store';
import { readReportedState } from './from-proto';

/** Records what became of a container. What it no longer can become (a repeat, a late word) changes nothing. */
export const reportContainer =
  ({ db, change }: Context) =>
  async (request: ReportContainerRequest): Promise<ReportContainerResponse> => {
    const { nodeId, incarnation, containerId } = request;
    const state = readReportedState(request.state);
    const advanced = await change(async ({ tx, now, say }) => {
      const ids = await advance(tx, [containerId], REPORTS[state], {
        now,
        by: { nodeId, incarnation },
        phases: request.phases.map(({ name, startedAt, durationMs }) => ({
          name,
          started_at: (startedAt ?? now).toISOString(),
          duration_ms: durationMs,
        })),
        ...(state === 'failed' ? failureOf(request) : {}),
      });
      say(ids);
      return ids;
    });
    if (advanced.length > 0) return {};

    const node = await findNode(db, nodeId);
    if (node?.incarnation !== incarnation) throw registerAgain();
    if (await wasPlacedOn(db, containerId, nodeId)) return {};
    throw new BerthError('not_found', 'No such container was placed on this node: end it.', {
      field: 'container_id',
    });
  };

const failureOf = ({ error }: ReportContainerRequest): Pick<Happening, 'reason' | 'error'> => {
  const said = error ?? {
    type: 'infrastructure',
    message: 'The container failed, and its runner does not say why.',
  };
  return { error: said, reason: said.message };
};
