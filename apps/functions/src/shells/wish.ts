import {
  ContainerSpec,
  SetWishRequest,
  type Container,
  type Shell as ShellOfSpec,
} from '@berth/contracts/scheduler/v1/scheduler';
import type { Context } from '../context';
import { specOf } from '../loops/container-spec';
import { removeShell, type NewShell } from '../store/shell-store';
import type { VersionInApp } from '../store/function-store';

/** A container as this version's are, for one shell; of no version's pool. */
export const shellSpecOf = (version: VersionInApp, shell: ShellOfSpec): ContainerSpec => ({
  ...specOf(version),
  version: 0,
  slots: 1,
  batching: undefined,
  web: undefined,
  shell,
});

/** A shell is wished for once, and once not any more. */
const OPENED = 1n;
const CLOSED = 2n;

const wish = (shell: NewShell, containers: number, revision: bigint) =>
  SetWishRequest.fromPartial({
    owner: `shell/${shell.id}`,
    spec: ContainerSpec.decode(shell.spec),
    containers,
    revision,
  });

/** Asks for its container, or says how the one that was asked for does; undefined once that has ended. */
export async function wishForShell(
  { scheduler }: Pick<Context, 'scheduler'>,
  shell: NewShell,
): Promise<Container | undefined> {
  return (await scheduler.setWish(wish(shell, 1, OPENED))).containers[0];
}

/** Ends its container. Safe to repeat; where the scheduler does not answer, the shell is left to the next who looks. */
export async function closeShell(
  { scheduler, db }: Pick<Context, 'scheduler' | 'db'>,
  shell: NewShell,
): Promise<void> {
  await scheduler.setWish(wish(shell, 0, CLOSED));
  await removeShell(db, shell.id);
}
