export * from './consume';
export * from './input-message';
export * from './log-message';
export * from './nats';
export * from './outbox';
