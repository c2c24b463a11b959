export * from './assignment-event';
export * from './consume';
export * from './container-event';
export * from './input-message';
export * from './log-message';
export * from './nats';
export * from './outbox';
export * from './usage-event';
