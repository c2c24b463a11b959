/** Milliseconds between a runner's heartbeats: a few bytes and one small update each, so far below 1% of a core. */
export const HEARTBEAT_INTERVAL_MS = 2000;

/** Five heartbeats: one that is late, or a runner that its machine starves for a moment, loses nothing. */
export const SILENCE_LIMIT_MS = 10_000;

/** From its place to a worker that says hello: a first pull of a large image takes minutes, more than ten that nothing moves. */
const PULL_LIMIT_MS = 10 * 60_000;

/** What user code gets to load at least, also where its own limit is shorter. */
const INIT_MS_MIN = 60_000;

/** From the end of a container's last input to its own: the runner's graces, and an engine that is slow. */
const END_LIMIT_MS = 15 * 60_000;

/** From its place to ready, where its start may take `startupSeconds`, as its runner sees to. */
export const startLimitMs = (startupSeconds: number): number =>
  PULL_LIMIT_MS + Math.max(INIT_MS_MIN, startupSeconds * 1000);

/** From stopping to its end: what runs in it may run on to its own time limit, but not hold the node for ever. */
export const stopLimitMs = (timeoutSeconds: number): number =>
  END_LIMIT_MS + Math.max(0, timeoutSeconds * 1000);

/** How long what has ended can still be listed; as long as the event stream keeps events. */
export const KEPT_MS = 7 * 24 * 3600_000;

/** Containers that one owner may wish for. More is a slip, and every one of them would be a row. */
export const WISH_CONTAINERS_MAX = 1000;
