import { collectDefaultMetrics, Counter, Gauge, Histogram, register } from 'prom-client';

export { Counter, Gauge, Histogram };

let started = false;

/** Process metrics, once per process. */
export function startMetrics(): void {
  if (started) return;
  started = true;
  collectDefaultMetrics({ register });
}

/** All metrics of this process in Prometheus' text format. */
export const metricsText = (): Promise<string> => register.metrics();

/** How long RPCs take, in seconds, by the service that serves them. */
export const rpcSeconds = new Histogram({
  name: 'berth_rpc_seconds',
  help: 'Duration of RPCs served, in seconds.',
  labelNames: ['service', 'method', 'code'] as const,
  buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60],
});
