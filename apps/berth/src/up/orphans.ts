import { ended, signal } from './process-identity';
import type { ChildRecord, PlatformState } from './state';

/** The processes of a platform whose supervisor is gone, as far as they still run: `isRunning` says. */
export const orphansOf = (
  state: PlatformState | undefined,
  isRunning: (child: ChildRecord) => boolean,
): ChildRecord[] => (state?.children ?? []).filter(isRunning);

/** Stops one as its supervisor would have: politely, then not. */
export async function stopOrphan({ process: orphan, stopSignal, graceMs }: ChildRecord): Promise<void> {
  if (!orphan || !signal(orphan, stopSignal)) return;
  if (await ended(orphan, graceMs)) return;
  signal(orphan, 'SIGKILL');
  await ended(orphan, 5000);
}
