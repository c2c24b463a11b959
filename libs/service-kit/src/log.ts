import pino, { type Logger } from 'pino';

export type { Logger };

/** Structured logs on stdout, one JSON object per line. Secrets are redacted by key wherever one slips in. */
export function createLogger(service: string, level: string): Logger {
  return pino({
    level,
    base: { service },
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: {
      paths: ['secret', 'token', 'authorization', '*.secret', '*.token', '*.authorization', '*.env'],
      censor: '[secret]',
    },
  });
}
