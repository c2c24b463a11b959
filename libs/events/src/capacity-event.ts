/**
 * Containers wait for room that others hold: said by `scheduler` when it finds so, and again every few seconds for as long
 * as it is so. Whoever keeps idle containers may let them go.
 */

export const CAPACITY_SHORT = 'berth.events.capacity.v1.short';

export interface CapacityShort {
  /** How many wait that a node could run, if there were room on it. */
  containers: number;
}

export const encodeCapacityShort = (short: CapacityShort): { subject: string; payload: Uint8Array } => ({
  subject: CAPACITY_SHORT,
  payload: Buffer.from(JSON.stringify(short)),
});

export const decodeCapacityShort = (json: unknown): CapacityShort => {
  const { containers } = json as Partial<CapacityShort>;
  return { containers: typeof containers === 'number' && containers > 0 ? containers : 0 };
};
