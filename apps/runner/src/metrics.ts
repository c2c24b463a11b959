import { Counter, Gauge, Histogram } from '@berth/service-kit';

export const containersGauge = new Gauge({
  name: 'berth_runner_containers',
  help: 'Containers of this runner that have begun and not ended.',
});

export const inputsCounter = new Counter({
  name: 'berth_runner_inputs_total',
  help: 'Inputs that ended here, by outcome. returned: given back to the queue. stale: somebody else has them.',
  labelNames: ['outcome'] as const,
});

export const coldStartSeconds = new Histogram({
  name: 'berth_runner_cold_start_seconds',
  help: 'From the assignment to a container that takes inputs, in seconds.',
  buckets: [0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30, 60, 300],
});

export const logLinesDropped = new Counter({
  name: 'berth_runner_log_lines_dropped_total',
  help: 'Lines that user code printed faster than they could be sent.',
});
