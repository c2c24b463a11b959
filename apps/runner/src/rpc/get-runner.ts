import type { GetRunnerRequest, GetRunnerResponse } from '@berth/contracts/runner/v1/runner';
import type { Context } from '../context';

/** What runs here right now, as this runner sees it. */
export const getRunner =
  ({ node, incarnation, engine, containers }: Context) =>
  async (_: GetRunnerRequest): Promise<GetRunnerResponse> => ({
    nodeId: node.nodeId,
    incarnation,
    engine: engine.kind,
    isolated: engine.isolated,
    containers: containers.list().map(({ containerId, spec, inputsRunning, beganAt, isReady }) => ({
      containerId,
      functionId: spec.functionId,
      version: spec.version,
      inputsRunning,
      startedAt: beganAt,
      ready: isReady,
    })),
  });
