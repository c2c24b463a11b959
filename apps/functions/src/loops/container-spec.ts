import { ContainerSpec } from '@berth/contracts/scheduler/v1/scheduler';
import { RUNTIMES, webToProto } from '../rpc/to-proto';
import type { VersionInApp } from '../store/function-store';

/** What a runner needs to start a container of this version. */
export const specOf = ({ definition, ...version }: VersionInApp): ContainerSpec =>
  ContainerSpec.fromPartial({
    organizationId: version.organization_id,
    workspaceId: version.workspace_id,
    appId: version.app_id,
    functionId: version.function_id,
    version: version.version,
    runtime: RUNTIMES[definition.runtime],
    handler: definition.handler,
    image: definition.image,
    source: version.source,
    env: definition.env,
    cpu: definition.cpu,
    memory: definition.memory,
    gpu: definition.gpu,
    timeout: definition.timeout,
    slots: definition.max_concurrent_inputs,
    startupTimeout: definition.startup_timeout,
    batching: definition.batching
      ? { maxBatchSize: definition.batching.max_batch_size, waitMs: definition.batching.wait_ms }
      : undefined,
    secrets: definition.secrets,
    environment: version.environment,
    parameters: version.parameters ?? '',
    volumes: definition.volumes,
    web: definition.web ? webToProto(definition.web) : undefined,
  });
