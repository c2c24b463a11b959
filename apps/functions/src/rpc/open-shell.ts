import type { OpenShellRequest, OpenShellResponse } from '@berth/contracts/functions/v1/shell';
import { ContainerSpec, ContainerState, type Container } from '@berth/contracts/scheduler/v1/scheduler';
import { isId } from '@berth/database';
import { BerthError, workspaceOf, type CallContext } from '@berth/service-kit';
import type { Context } from '../context';
import { explainImageOfCall, imageFailure } from '../domain/image-waiting';
import { hearShellContainers } from '../shells/hear-container';
import { closeShell, shellSpecOf, wishForShell } from '../shells/wish';
import { findFunction, findVersion, type VersionInApp } from '../store/function-store';
import { findImage } from '../store/image-store';
import { hearShell, recordShell, type NewShell } from '../store/shell-store';
import { appIsStopped, functionIsDeleted, noSuchFunction } from './not-found';

/** How often a shell is looked after where nothing is heard of it. Well below what makes it silent. */
const LOOK_MS = 10_000;
const TIMEOUT_MAX = 86_400;
const ENDED = new Set([
  ContainerState.CONTAINER_STATE_STOPPED,
  ContainerState.CONTAINER_STATE_FAILED,
  ContainerState.CONTAINER_STATE_LOST,
]);

/** A repeat goes on with the same container: so a shell outlives a restart of this service. */
export const openShell = (context: Context) =>
  async function* (request: OpenShellRequest, call: CallContext): AsyncGenerator<OpenShellResponse> {
    const { db, bus, config, stopping, log } = context;
    checkRequest(request);
    const { functionId, shellId, gatewayAddress, timeout } = request;
    const version = await usableVersion(context, workspaceOf(call), functionId);
    const spec = shellSpecOf(version, { shellId, gatewayAddress, timeout });
    const shell: NewShell = {
      id: shellId,
      workspace_id: version.workspace_id,
      spec: Buffer.from(ContainerSpec.encode(spec).finish()),
    };
    if (!(await db.transact((tx) => recordShell(tx, shell, config.shellsMax)))) {
      throw new BerthError(
        'exhausted',
        `The workspace has ${config.shellsMax} shells already: close one of them first.`,
      );
    }
    const signal = AbortSignal.any([call.signal, stopping.signal]);
    using hearing = hearShellContainers(bus, functionId);
    try {
      let container = await wishForShell(context, shell);
      while (!signal.aborted) {
        yield responseOf(container);
        if (!container || ENDED.has(container.state)) return;
        await hearing.more(LOOK_MS, signal);
        const { containerId } = container;
        const heard = hearing.take().findLast((each) => each.containerId === containerId);
        container = heard ?? (signal.aborted ? container : await look(context, version, shell));
      }
      if (stopping.signal.aborted) throw new BerthError('unavailable', 'The service functions restarts.');
    } finally {
      // Who goes on elsewhere says so within a minute; else SilentShells ends it.
      if (!stopping.signal.aborted) {
        await closeShell(context, shell).catch((error: unknown) =>
          log.warn({ err: error, functionId }, 'a shell could not be closed: trying again soon'),
        );
      }
    }
  };

/** How it does, where no event said so; undefined when it has ended, or its function takes no more. */
async function look(
  context: Context,
  { function_id, version }: VersionInApp,
  shell: NewShell,
): Promise<Container | undefined> {
  await hearShell(context.db, shell.id);
  const now = await findVersion(context.db, function_id, version);
  return now && !now.ended ? wishForShell(context, shell) : undefined;
}

const responseOf = (container: Container | undefined): OpenShellResponse => ({
  containerId: container?.containerId ?? '',
  reason: container?.reason,
  ended: !container || ENDED.has(container.state),
  error: container?.error,
});

function checkRequest({ shellId, timeout }: OpenShellRequest): void {
  if (!/^[\w-]{16,100}$/.test(shellId)) {
    throw new BerthError('invalid', 'shell_id must be 16 to 100 letters, digits, _ and -.', {
      field: 'shell_id',
    });
  }
  if (timeout < 1 || timeout > TIMEOUT_MAX) {
    throw new BerthError('invalid', `timeout must be 1 to ${TIMEOUT_MAX} seconds.`, { field: 'timeout' });
  }
}

/** The current version, if containers can be made of it. Errors: `not_found`, `precondition`. */
async function usableVersion(
  { db }: Context,
  workspaceId: string,
  functionId: string,
): Promise<VersionInApp> {
  const found = await findFunction(db, workspaceId, functionId);
  const version = found && (await findVersion(db, functionId, found.version));
  if (!version) throw noSuchFunction();
  if (version.deleted) throw functionIsDeleted();
  if (version.ended) throw appIsStopped();
  const { image: imageId } = version.definition;
  if (!isId('im', imageId)) return version;
  const image = await findImage(db, workspaceId, imageId);
  if (image?.state === 'ready') return version;
  const waits = image && explainImageOfCall(image);
  throw new BerthError('precondition', waits ?? imageFailure(imageId, image).message);
}
