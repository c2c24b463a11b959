/** Whether processes in these states, as `ps` or proc(5) spell them, are all stopped; those that have ended do not count. */
export function areStopped(states: readonly string[]): boolean {
  const live = states.filter((state) => !/^[ZX]/.test(state));
  return live.length > 0 && live.every((state) => /^[Tt]/.test(state));
}
