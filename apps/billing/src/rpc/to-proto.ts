import type { UsageInterval as UsageIntervalMessage } from '@berth/contracts/billing/v1/billing';
import type { StoredInterval } from '../store/usage-store';

export const intervalToProto = (row: StoredInterval): UsageIntervalMessage => ({
  containerId: row.container_id,
  sequence: row.sequence,
  organizationId: row.organization_id,
  workspaceId: row.workspace_id,
  appId: row.app_id,
  functionId: row.function_id,
  nodeId: row.node_id,
  startedAt: row.started_at,
  endedAt: row.ended_at,
  cpu: row.millicores / 1000,
  memory: row.memory,
  gpu: row.gpu,
  last: row.last,
});
