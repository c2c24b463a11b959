import { Counter, Histogram } from '@berth/service-kit';

export const containerStates = new Counter({
  name: 'berth_scheduler_container_states_total',
  help: 'Containers that came into a state.',
  labelNames: ['state'] as const,
});

export const placementSeconds = new Histogram({
  name: 'berth_scheduler_placement_seconds',
  help: 'How long containers waited for their place, in seconds.',
  buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1, 10, 60, 600, 3600],
});
